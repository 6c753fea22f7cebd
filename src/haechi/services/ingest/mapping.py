"""One link's samples to observations: resolves entity and attribute once per (device, channel, field), then checks
values.

The hot path of ingest: what can be known beforehand is kept in `Target`, so that an observation costs one
dictionary look-up.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from haechi.core import units
from haechi.core.errors import InvalidData
from haechi.core.message import Message, Sample
from haechi.core.quality import Quality
from haechi.core.times import SECOND
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan

STATUS_CHANNEL = "$status"  # where adapters tell that a device went on- or offline
MAX_TARGETS = 4_000_000
OLDEST = 631_152_000 * SECOND  # 1990-01-01: a device clock before that was never set


class Target(NamedTuple):
    """Where samples of one (device, channel, field, unit) go, and how their values are read."""

    entity: str
    attribute: str
    unit: str | None
    read: Callable[[Any], tuple[float | None, str | None]]
    factor: float
    offset: float
    low: float
    high: float


class Row(NamedTuple):
    """One observation in the order of `core.observation.SCHEMA`, without the link."""

    entity: str
    attribute: str
    observed_at: int
    received_at: int
    value: float | None
    text: str | None
    unit: str | None
    quality: int


class Mapper:
    """Maps the samples of one link. Not thread-safe; lives in the gateway's event loop."""

    def __init__(self, plan: LinkPlan) -> None:
        self._plan = plan
        self._targets: dict[tuple[str, str, str, str | None], Target | None] = {}
        self._skew_us = int(plan.skew_s * SECOND)
        self._rules: dict[str, list[FieldRule]] = {}
        for rule in plan.fields:
            self._rules.setdefault(rule.field, []).append(rule)

    def samples(self, message: Message) -> list[Sample]:
        """What the link's codec finds; `InvalidData` when it cannot be understood."""
        return list(self._plan.codec.decode(message))

    def row(self, sample: Sample, message: Message) -> Row | None:
        """The observation a sample becomes; None when the link ignores that field; `InvalidData` with the cause
        otherwise."""
        device = sample.device or message.device
        channel = message.channel if sample.channel is None else sample.channel
        key = (device, channel, sample.field, sample.unit)
        try:
            target = self._targets[key]
        except KeyError:
            if len(self._targets) >= MAX_TARGETS:  # a sender that invents field names must not fill the memory
                self._targets.clear()
            target = self._targets[key] = self._resolve(*key)
        if target is None:
            return None
        value, text = target.read(sample.value)
        quality = Quality.DEVICE_DOUBT if sample.doubt else Quality.GOOD
        if value is not None:
            value = value * target.factor + target.offset
            if not target.low <= value <= target.high:
                quality |= Quality.OUT_OF_RANGE
        observed_at = message.received_at if sample.observed_at is None else sample.observed_at
        if observed_at > message.received_at + self._skew_us:
            observed_at = message.received_at
            quality |= Quality.CLOCK_SKEW
        elif observed_at < OLDEST:
            raise InvalidData(f"{sample.field}: observed before 1990; the device's clock was never set", "bad_time")
        return Row(
            target.entity, target.attribute, observed_at, message.received_at, value, text, target.unit, int(quality)
        )

    def _resolve(self, device: str, channel: str, field: str, unit: str | None) -> Target | None:
        plan = self._plan
        entity = plan.entities.get((device, channel)) or plan.entities.get((device, ""))
        if channel == STATUS_CHANNEL:
            entity = f"urn:ngsi-ld:Device:{plan.city}:{device}"
            return _target(entity, FieldRule(field, field), Attribute(datatype="json"), None)
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
        return _target(entity, rule, known, unit)


def _target(entity: str, rule: FieldRule, known: Attribute, unit: str | None) -> Target:
    sent = unit or rule.unit or known.unit
    factor, offset = (
        (1.0, 0.0) if sent == known.unit or known.unit is None else units.factor_offset(str(sent), known.unit)
    )
    low = -math.inf if known.low is None else known.low
    high = math.inf if known.high is None else known.high
    return Target(entity, rule.attribute, known.unit or sent, _READERS[known.datatype], factor, offset, low, high)


def _number(value: Any) -> tuple[float | None, str | None]:
    if isinstance(value, bool):
        raise InvalidData(f"a number is wanted, not {value!r}", "bad_type")
    if isinstance(value, str) and "_" in value:  # Python would read 1_000; no device means that
        raise InvalidData(f"a number is wanted, not {value[:60]!r}", "bad_type")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"a number is wanted, not {str(value)[:60]!r}", "bad_type") from error
    if not math.isfinite(number):
        raise InvalidData(f"a finite number is wanted, not {value!r}", "bad_type")
    return number, None


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
