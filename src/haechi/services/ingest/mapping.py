"""One link's samples to observations: resolves entity and attribute once per (device, channel, field), then checks
values.

The hot path of ingest: what can be known beforehand is kept in `Target`, so that an observation costs one
dictionary look-up.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
import structlog

from haechi.core import units
from haechi.core.errors import InvalidData
from haechi.core.message import Message, Sample
from haechi.core.quality import Quality
from haechi.core.times import SECOND
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan

STATUS_CHANNEL = "$status"  # where adapters tell that a device went on- or offline
_events = structlog.get_logger("ingest")
UNKNOWN: Any = object()  # a key that was not met yet
MAX_TARGETS, MAX_IGNORED = 4_000_000, 100_000
GOOD, OUT_OF_RANGE, CLOCK_SKEW, DEVICE_DOUBT = (
    int(one) for one in (Quality.GOOD, Quality.OUT_OF_RANGE, Quality.CLOCK_SKEW, Quality.DEVICE_DOUBT)
)  # plain numbers: a flag of an enumeration costs six times as much
OLDEST = 631_152_000 * SECOND  # 1990-01-01: a device clock before that was never set


class Place(NamedTuple):
    """What all observations of one target have in common."""

    entity: str
    attribute: str
    unit: str | None
    link: str


class Target(NamedTuple):
    """Where samples of one (device, channel, field, unit) go, and how their values are read."""

    place: Place
    read: Callable[[Any], tuple[float | None, str | None]]
    factor: float
    offset: float
    low: float
    high: float


Key = tuple[str, str, str, str | None]  # device, channel, field, unit
Row = tuple[Place, int, int, float | None, str | None, int]  # observed_at, received_at, value, text, quality
Failure = tuple[int, InvalidData]  # place of a sample among those given, and why it became no observation


class Mapper:
    """Maps the samples of one link. Not thread-safe; lives in the gateway's event loop."""

    def __init__(self, plan: LinkPlan) -> None:
        self._plan = plan
        self._decode = plan.codec.decode
        self._targets: dict[Key, Target | None] = {}
        self._ignored = 0  # of them None
        self._skew_us = int(plan.skew_s * SECOND)
        self._rules: dict[str, list[FieldRule]] = {}
        for rule in plan.fields:
            self._rules.setdefault(rule.field, []).append(rule)

    def samples(self, message: Message) -> Sequence[Sample]:
        """What the link's codec finds; `InvalidData` when it cannot be understood."""
        try:
            return self._decode(message)
        except InvalidData:
            raise
        except Exception as error:
            raise _bug(error, "codec_failed") from error

    def rows(self, samples: Sequence[Sample], message: Message, rows: list[Row]) -> Sequence[Failure]:
        """Appends the observations the samples become, none for those the link ignores; returns what failed, and why.

        The hot path of ingest: one call a message, no object a sample but its row.
        """
        failed: list[Failure] = []
        targets, received_at = self._targets, message.received_at
        latest = received_at + self._skew_us
        for index, sample in enumerate(samples):
            channel = message.channel if sample.channel is None else sample.channel
            key = (sample.device or message.device, channel, sample.field, sample.unit)
            try:
                target = targets.get(key, UNKNOWN)
                if target is UNKNOWN:
                    target = self._learn(key)
                if target is None:
                    continue
                place, read, factor, offset, low, high = target
                value, text = read(sample.value)
                quality = DEVICE_DOUBT if sample.doubt else GOOD
                if value is not None:
                    value = value * factor + offset
                    if not low <= value <= high:
                        quality |= OUT_OF_RANGE
                observed_at = received_at if sample.observed_at is None else sample.observed_at
                if observed_at > latest:
                    observed_at = received_at
                    quality |= CLOCK_SKEW
                elif observed_at < OLDEST:
                    raise _never_set(sample)
            except InvalidData as error:
                failed.append((index, error))
            except Exception as error:
                failed.append((index, _bug(error, "mapping_failed")))
            else:
                rows.append((place, observed_at, received_at, value, text, quality))
        return failed

    def _learn(self, key: Key) -> Target | None:
        if len(self._targets) >= MAX_TARGETS:  # a sender that invents units must not fill the memory
            self._targets.clear()
            self._ignored = 0
        target = self._resolve(*key)
        self._ignored += target is None
        if target is not None or self._ignored <= MAX_IGNORED:  # nor one that invents fields nobody wants
            self._targets[key] = target
        return target

    def _resolve(self, device: str, channel: str, field: str, unit: str | None) -> Target | None:
        plan = self._plan
        entity = plan.entities.get((device, channel)) or plan.entities.get((device, ""))
        if channel == STATUS_CHANNEL:
            place = Place(f"urn:ngsi-ld:Device:{plan.city}:{device}", field, None, plan.link)
            return _target(place, None, Attribute(datatype="json"))
        if entity is None:
            raise InvalidData(
                f"no entity for device {device!r} channel {channel!r} on link {plan.link!r}; add a row to devices.csv",
                "unknown_device",
            )
        type_name = plan.types.get(entity, "")
        rules = [one for one in self._rules.get(field, ()) if not one.types or type_name in one.types]
        if not rules:
            if plan.ignore_unmapped:
                return None
            raise InvalidData(
                f"link {plan.link!r} maps no field {field!r} for {type_name or entity}; add a [[map]]", "unmapped_field"
            )
        rule = rules[0]
        known = plan.attributes.get((type_name, rule.attribute), Attribute(unit=unit or rule.unit))
        sent = unit or rule.unit or known.unit
        return _target(Place(entity, rule.attribute, known.unit or sent, plan.link), sent, known)


def _target(place: Place, sent: str | None, known: Attribute) -> Target:
    factor, offset = (
        (1.0, 0.0) if sent == known.unit or known.unit is None else units.factor_offset(str(sent), known.unit)
    )
    low = -math.inf if known.low is None else known.low
    high = math.inf if known.high is None else known.high
    return Target(place, _READERS[known.datatype], factor, offset, low, high)


def _bug(error: Exception, reason: str) -> InvalidData:
    """A bug met by one message must not close the door to all: the message is kept, and the log tells of the bug."""
    _events.error("ingest_bug", reason=reason, exc_info=error)
    return InvalidData(f"{error!r}: a bug; report it with this message, then replay it", reason)


def _never_set(sample: Sample) -> InvalidData:
    return InvalidData(f"{sample.field}: observed before 1990; the device's clock was never set", "bad_time")


def _number(value: Any) -> tuple[float | None, str | None]:
    number = value if value.__class__ is float else _read_number(value)
    if not math.isfinite(number):
        raise InvalidData(f"a finite number is wanted, not {value!r}", "bad_type")
    return number, None


def _read_number(value: Any) -> float:
    if isinstance(value, bool):
        raise InvalidData(f"a number is wanted, not {value!r}", "bad_type")
    if isinstance(value, str) and "_" in value:  # Python would read 1_000; no device means that
        raise InvalidData(f"a number is wanted, not {value[:60]!r}", "bad_type")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"a number is wanted, not {str(value)[:60]!r}", "bad_type") from error


def _integer(value: Any) -> tuple[float | None, str | None]:
    number, _ = _number(value)
    if number is None or number != math.floor(number):
        raise InvalidData(f"a whole number is wanted, not {value!r}", "bad_type")
    return number, None


_BOOLEANS = {True: "true", False: "false", "true": "true", "false": "false", "1": "true", "0": "false"}


def _boolean(value: Any) -> tuple[float | None, str | None]:
    try:
        return None, _BOOLEANS[value if not isinstance(value, str) else value.lower()]
    except (KeyError, TypeError) as error:
        raise InvalidData(f"true or false is wanted, not {str(value)[:60]!r}", "bad_type") from error


def _text(value: Any) -> tuple[float | None, str | None]:
    if not isinstance(value, str):
        raise InvalidData(f"a text is wanted, not {str(value)[:60]!r}", "bad_type")
    return None, orjson.dumps(value).decode()


def _json(value: Any) -> tuple[float | None, str | None]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    return None, orjson.dumps(value).decode()


_READERS: dict[str, Callable[[Any], tuple[float | None, str | None]]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "json": _json,
}
