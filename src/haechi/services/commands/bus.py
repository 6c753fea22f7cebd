"""Commands on the bus: to devices that hear them over MQTT, and their outcomes back to the log. Started by `app.py`."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import structlog

from haechi.core.errors import Unavailable
from haechi.core.mqtt.topics import to_subject
from haechi.core.times import to_us
from haechi.ports import Bus, Clock, Log

OUTCOMES = "command.done"
_events = structlog.get_logger("commands")
Stop = Callable[[], Awaitable[None]]


async def to_topics(bus: Bus, clock: Clock, link: str, topic: str) -> Stop:
    """Publishes each command of a link on its device's topic, `{id, field, channel, value}` in JSON, until stopped.

    The device's protocol acknowledges nothing that can be seen here: such a command is sent, then verified by what the
    device reports. A command told twice goes out twice with the same id.
    """

    async def heard(subject: str, payload: bytes) -> None:
        command = orjson.loads(payload)
        at = to_us(clock.now())
        outcome = {"id": command["id"], "ok": True, "at": at}
        if at > command["expires_at"]:
            outcome |= {"ok": False, "detail": "it came too late; nothing was sent"}
        else:
            name = topic.replace("{device}", command["device"]).replace("{field}", command["field"])
            name = name.replace("{channel}", command["channel"])
            body = {key: command[key] for key in ("id", "field", "channel", "value")}
            outcome["detail"] = f"published on {name}"
            await bus.publish(to_subject(name), orjson.dumps(body))
        await bus.publish(OUTCOMES, orjson.dumps(outcome))

    return await bus.listen(f"command.{link}", _careful(heard))


async def to_log(bus: Bus, log: Log) -> Stop:
    """Appends what adapters tell of commands to the log, each outcome once, until stopped."""

    async def heard(subject: str, payload: bytes) -> None:
        told = orjson.loads(payload)
        id, at = str(told.pop("id")), int(told["at"])
        word = "ok" if told.get("ok") else "unsure" if told.get("unsure") else "failed"
        record = {"id": f"{id}-{word}", "kind": "command.outcome", "user": "haechi", "at": at, "command": id, **told}
        await log.append("ops", orjson.dumps(record), str(record["id"]))

    return await bus.listen(OUTCOMES, _careful(heard))


def _careful(heard: Callable[[str, bytes], Awaitable[None]]) -> Callable[[str, bytes], Awaitable[None]]:
    """What cannot be passed on now is told again by the projection, until the command's time is over."""

    async def listener(subject: str, payload: bytes) -> None:
        try:
            await heard(subject, payload)
        except Unavailable as error:
            _events.warning("not_passed_on", subject=subject, error=str(error))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            _events.error("notice_skipped", subject=subject, error=repr(error))

    return listener


async def stop_all(stops: list[Stop]) -> None:
    """Ends listening."""
    await asyncio.gather(*(one() for one in stops))
