"""The platform as an entity of its own city: what health sees becomes observations, so that rules raise real alarms.

Run by the pipeline role where the city has the domain `platform`.
"""

import asyncio
import hashlib
import uuid

import orjson
import structlog

from haechi.app.health import Health
from haechi.core.errors import Unavailable
from haechi.core.frame import EntityCommand, Frame, Tally, encode
from haechi.core.observation import Observation, to_batch
from haechi.core.times import to_us
from haechi.ports import Clock, Log
from haechi.services.cities.model import City

DOMAIN = LINK = "platform"
EACH_S = 10.0
NAME = {"ko": "통합플랫폼", "zh": "城市平台", "en": "City platform"}

_events = structlog.get_logger("selfwatch")


def urn(city: City) -> str:
    """The entity that stands for the platform of a city."""
    return f"urn:ngsi-ld:Platform:{city.id}:self"


def declared(city: City, at: int) -> Frame:
    """The entity with its name; said again at each start, it changes nothing."""
    name = {"type": "LanguageProperty", "languageMap": NAME}
    body = orjson.dumps({"id": urn(city), "type": ["Platform"], "attrs": {"name": [name]}})
    digest = hashlib.blake2b(body + str(at).encode(), digest_size=12).hexdigest()
    return Frame(commands=(EntityCommand(f"provision-{digest}", "upsert", urn(city), body, at=at),))


def observed(city: City, health: Health, at: int) -> Frame:
    """What health sees now, tallied like what a device sends."""
    values: list[tuple[str, float, str | None]] = [
        ("lateness", max(health.late_s().values(), default=0.0), "SEC"),
        ("lag", float(max(health.behind.values(), default=0)), None),
        ("diskFree", health.disk_free() / 1e9, "E34"),
        ("gatewaySilence", health.silent_s("gateway"), "SEC"),
        ("missing", float(health.missing()), None),
        ("logFill", health.log_fill(), None),
        ("upkeepStuck", health.upkeep_stuck_s(), "SEC"),
        ("clockJump", health.clock_jump_s(), "SEC"),
    ]
    if (left_s := health.certificate_s()) is not None:
        values.append(("certificateLeft", left_s / 86_400, "DAY"))
    rows = [Observation(urn(city), name, at, at, value, unit=unit, link=LINK) for name, value, unit in values]
    return Frame(tallies={LINK: Tally(len(rows), len(rows), 0)}, observations=to_batch(rows))


async def tell(city: City, health: Health, log: Log, clock: Clock) -> None:
    """Tells for ever, every ten seconds; does nothing in a city without the domain."""
    if DOMAIN not in city.domains:
        return
    await _append(log, "entity", declared(city, to_us(clock.now())))
    while True:
        await asyncio.sleep(EACH_S)
        await _append(log, "obs", observed(city, health, to_us(clock.now())))


async def _append(log: Log, subject: str, frame: Frame) -> None:
    try:
        await log.append(subject, encode(frame), uuid.uuid4().hex)
    except Unavailable as error:
        _events.warning("own_figures_not_stored", error=str(error))
