"""JSON payloads to samples: objects flattened into dotted field names, one record or many; `json` in links.

A record is an object; `{"a": {"b": 1}}` is the field `a.b`, `{"value": 3, "unit": "BAR"}` one sample with its unit, a
list one JSON value, null nothing. A bare number, text or boolean is the field `value`. A payload that is a list holds
records.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import SECOND, parse_iso

DEEPEST = 16  # levels of nested objects; deeper is an attack or a mistake
LATEST_S = 253_402_300_800  # the year 10000: what RFC 3339 can no longer say
LEAVES = ({"value", "unit"}, {"value", "unitCode"})
PLAIN = frozenset((float, int, str, bool, list))


def _epoch(factor: int) -> Callable[[Any], int]:
    """Reads whole or broken seconds (`factor` SECOND) or milliseconds (1000) since 1970."""

    def clock(value: Any) -> int:
        if type(value) in (int, float) and 0 <= value * factor < LATEST_S * SECOND:
            instant: int = round(value * factor)
            return instant
        raise ValueError(f"{value!r} is no time since 1970 in the unit `time_format` names")

    return clock


CLOCKS: dict[str, Callable[[Any], int]] = {"iso": parse_iso, "epoch_s": _epoch(SECOND), "epoch_ms": _epoch(1000)}


@dataclass(frozen=True, slots=True)
class JsonSettings:
    """`codec_settings` of a link; dotted paths (`meta.ts`), looked up in each record and, failing that, around them."""

    time: str = ""  # where the instant is; empty or not in the payload: the time of arrival counts
    time_format: str = "iso"  # iso (with an offset) | epoch_s | epoch_ms
    samples: str = ""  # where the list of records is in a batch payload
    device: str = ""  # where a gateway names the sub-device
    channel: str = ""  # where the channel is named
    fields: tuple[str, ...] = ()  # only these; empty: all


def _settings(given: Mapping[str, Any]) -> JsonSettings:
    known = JsonSettings.__dataclass_fields__
    for name, value in given.items():
        if name not in known:
            raise InvalidSettings(
                f"codec_settings.{name}: the codec json has no such setting; it has {', '.join(known)}"
            )
        if name == "fields":
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
                raise InvalidSettings("codec_settings.fields: give a list of dotted field names")
        elif not isinstance(value, str):
            raise InvalidSettings(f"codec_settings.{name}: give a text, not {value!r}")
    settings = JsonSettings(**{**given, "fields": tuple(given.get("fields", ()))})
    if settings.time_format not in CLOCKS:
        raise InvalidSettings(f"codec_settings.time_format: {settings.time_format!r} is none of {', '.join(CLOCKS)}")
    return settings


def create(settings: Mapping[str, Any]) -> "JsonCodec":
    """The codec of a link; `InvalidSettings` names the setting that is wrong."""
    return JsonCodec(_settings(settings))


class JsonCodec:
    """`ports.Codec`. Refuses: malformed, bad_time, bad_device, bad_channel, bad_records, bad_unit, too_deep, empty."""

    def __init__(self, settings: JsonSettings) -> None:
        self._time, self._clock = settings.time, CLOCKS[settings.time_format]
        self._samples, self._device, self._channel = settings.samples, settings.device, settings.channel
        paths = [path for path in (self._time, self._samples, self._device, self._channel) if path]
        self._skip = frozenset(paths)
        self._at = _at if any("." in path for path in paths) else dict[str, Any].get  # a third of the time of _at
        self._fields = frozenset(settings.fields)

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples in the order of the payload, those around the records first; `InvalidData` with a stable reason."""
        try:
            payload = orjson.loads(message.payload)
        except orjson.JSONDecodeError as error:
            raise InvalidData(
                f"not JSON: {error}; the device must send one JSON value in UTF-8", "malformed"
            ) from error
        found: list[Sample] = []
        if type(payload) is dict:
            about = self._about(payload, NOTHING)
            self._flatten(payload, "", about, found)
            if self._samples and (records := self._at(payload, self._samples)) is not None:
                self._records(records, about, found)
        elif type(payload) is list:
            self._records(payload, NOTHING, found)
        elif payload is not None:
            found.append(Sample("value", payload))
        if self._fields:
            return [sample for sample in found if sample.field in self._fields]
        if not found:
            raise InvalidData("no value in the payload: every field is null or absent", "empty")
        return found

    def _records(self, records: Any, around: "About", found: list[Sample]) -> None:
        if type(records) is not list:
            raise InvalidData(f"{self._samples}: a list of objects is wanted, not {str(records)[:60]!r}", "bad_records")
        for record in records:
            if type(record) is not dict:
                raise InvalidData(f"a record must be an object, not {str(record)[:60]!r}", "bad_records")
            self._flatten(record, "", self._about(record, around), found)

    def _about(self, record: dict[str, Any], around: "About") -> "About":
        observed_at, device, channel = around
        if self._time and (value := self._at(record, self._time)) is not None:
            try:
                observed_at = self._clock(value)
            except (ValueError, TypeError, OverflowError) as error:
                raise InvalidData(
                    f"{self._time}: {error}; send it as `time_format` of the link says", "bad_time"
                ) from error
        if self._device:
            device = _name(self._at(record, self._device), self._device, "bad_device") or device
        if self._channel:
            channel = _name(self._at(record, self._channel), self._channel, "bad_channel") or channel
        return observed_at, device, channel

    def _flatten(
        self, record: dict[str, Any], prefix: str, about: "About", found: list[Sample], depth: int = 1
    ) -> None:
        observed_at, device, channel = about
        skip = self._skip
        for key, value in record.items():
            field = prefix + key
            if field in skip or value is None:
                continue
            if type(value) in PLAIN:
                found.append(Sample(field, value, observed_at, None, False, device, channel))
            elif value.keys() in LEAVES and value["value"] is not None:
                found.append(Sample(field, value["value"], observed_at, _unit(value, field), False, device, channel))
            elif depth == DEEPEST:
                raise InvalidData(f"{field}: objects nested deeper than {DEEPEST} levels", "too_deep")
            else:
                self._flatten(value, field + ".", about, found, depth + 1)


About = tuple[int | None, str | None, str | None]  # observed_at, device, channel
NOTHING: About = (None, None, None)


def _unit(leaf: dict[str, Any], field: str) -> str | None:
    unit = leaf.get("unit", leaf.get("unitCode"))
    if unit is not None and type(unit) is not str:
        raise InvalidData(f"{field}: the unit must be a text, not {str(unit)[:60]!r}", "bad_unit")
    return unit


def _at(record: dict[str, Any], path: str) -> Any:
    """The value under a dotted path, or under that very key; None where there is none."""
    if path in record:
        return record[path]
    here: Any = record
    for step in path.split("."):
        if type(here) is not dict:
            return None
        here = here.get(step)
    return here


def _name(value: Any, path: str, reason: str) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise InvalidData(f"{path}: a text or a whole number is wanted, not {str(value)[:60]!r}", reason)
