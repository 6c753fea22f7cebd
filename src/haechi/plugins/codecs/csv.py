"""CSV payloads to samples: a header row, then wide rows (a column per field) or long ones (a column names it).

RFC 4180 in UTF-8. An empty cell is no sample; a cell that is a plain number is one, anything else is text.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import SECOND, to_us

EPOCHS = {"epoch_s": SECOND, "epoch_ms": 1000}
LATEST_S = 253_402_300_800  # the year 10000: what RFC 3339 can no longer say
_NUMBER = re.compile(r" *[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
_LISTS = ("fields", "text")


@dataclass(frozen=True, slots=True)
class CsvSettings:
    """`codec_settings` of a link; names of columns."""

    time: str = ""  # the instant; without it the time of arrival counts
    time_format: str = "iso"  # iso | epoch_s | epoch_ms | a pattern of strptime, e.g. "%Y-%m-%d %H:%M"
    time_zone: str = ""  # of instants that name no offset, e.g. "Asia/Seoul"; without it they are refused
    device: str = ""  # a gateway's sub-device
    channel: str = ""
    delimiter: str = ","
    layout: str = "wide"  # or "long": `field` names it, `value` holds it, `unit` (optional) its UN/CEFACT code
    field: str = "field"
    value: str = "value"
    unit: str = ""
    fields: tuple[str, ...] = ()  # only these; empty: all
    text: tuple[str, ...] = ()  # these stay text even where they look like a number ("007")


def create(settings: Mapping[str, Any]) -> "CsvCodec":
    """The codec of a link; `InvalidSettings` names the setting that is wrong."""
    known = CsvSettings.__dataclass_fields__
    for name, value in settings.items():
        if name not in known:
            raise InvalidSettings(
                f"codec_settings.{name}: the codec csv has no such setting; it has {', '.join(known)}"
            )
        if name in _LISTS and not (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)):
            raise InvalidSettings(f"codec_settings.{name}: give a list of columns")
        if name not in _LISTS and not isinstance(value, str):
            raise InvalidSettings(f"codec_settings.{name}: give a text, not {value!r}")
    given: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in settings.items()}
    chosen = CsvSettings(**given)
    if len(chosen.delimiter) != 1 or chosen.delimiter in '"\r\n':
        raise InvalidSettings(f"codec_settings.delimiter: {chosen.delimiter!r} is not one character")
    if chosen.layout not in ("wide", "long"):
        raise InvalidSettings(f"codec_settings.layout: {chosen.layout!r} is neither wide nor long")
    return CsvCodec(chosen, _clock(chosen))


def _clock(settings: CsvSettings) -> Callable[[str], int]:
    """Text of a cell to microseconds; raises ValueError."""
    try:
        zone = ZoneInfo(settings.time_zone) if settings.time_zone else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidSettings(f"codec_settings.time_zone: {settings.time_zone!r} is no time zone: {error}") from error
    if settings.time_format in EPOCHS:
        return lambda text: _epoch(text, EPOCHS[settings.time_format])
    if settings.time_format == "iso":
        return lambda text: _placed(datetime.fromisoformat(text), zone)
    if "%" not in settings.time_format:
        raise InvalidSettings(f"codec_settings.time_format: {settings.time_format!r} is no pattern of strptime")
    return lambda text: _placed(datetime.strptime(text, settings.time_format), zone)  # noqa: DTZ007 (placed next)


def _placed(instant: datetime, zone: tzinfo | None) -> int:
    if instant.tzinfo is None and zone is None:
        raise ValueError("it names no offset from UTC: set `time_zone`")
    return to_us(instant if instant.tzinfo else instant.replace(tzinfo=zone))


def _epoch(text: str, factor: int) -> int:
    whole = text.strip()
    value = int(whole) * factor if whole.isdecimal() else round(float(whole) * factor)
    if not 0 <= value < LATEST_S * SECOND:
        raise ValueError("it is no time since 1970 in the unit `time_format` names")
    return value


class CsvCodec:
    """`ports.Codec`. Refuses a whole payload: malformed, no_header, no_column, bad_row, bad_time, empty."""

    def __init__(self, settings: CsvSettings, clock: Callable[[str], int]) -> None:
        self._settings, self._clock = settings, clock
        self._text, self._only = frozenset(settings.text), frozenset(settings.fields)

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples row by row, in the order of the columns; `InvalidData` names the line."""
        rows = _rows(message.payload, self._settings.delimiter)
        header = rows[0]
        if len(set(header)) < len(header):
            raise InvalidData(f"two columns have the same name: {header}", "no_header")
        cells = self._long(header) if self._settings.layout == "long" else self._wide(header)
        about = {name: self._column(header, getattr(self._settings, name)) for name in ("time", "device", "channel")}
        found: list[Sample] = []
        for line, row in enumerate(rows[1:], start=2):
            if len(row) != len(header):
                raise InvalidData(f"row {line} has {len(row)} cells, the header {len(header)}", "bad_row")
            self._row(row, cells(row), about, found)
        if not found:
            raise InvalidData("no value: every cell is empty or no row follows the header", "empty")
        return found

    def _row(self, row: list[str], cells: "list[_Cell]", about: Mapping[str, int | None], found: list[Sample]) -> None:
        time, device, channel = (None if at is None else row[at] for at in about.values())
        observed_at = None if not time else self._instant(time)
        for field, text, unit in cells:
            if text and (not self._only or field in self._only):
                value = text if field in self._text else _value(text)
                found.append(Sample(field, value, observed_at, unit or None, False, device or None, channel or None))

    def _wide(self, header: list[str]) -> "Callable[[list[str]], list[_Cell]]":
        taken = {self._settings.time, self._settings.device, self._settings.channel}
        fields = [(at, name) for at, name in enumerate(header) if name not in taken]
        return lambda row: [(name, row[at], "") for at, name in fields]

    def _long(self, header: list[str]) -> "Callable[[list[str]], list[_Cell]]":
        field, value = self._column(header, self._settings.field), self._column(header, self._settings.value)
        unit = self._column(header, self._settings.unit)
        assert field is not None and value is not None, "their names are never empty"
        return lambda row: [(row[field], row[value], "" if unit is None else row[unit])]

    def _column(self, header: list[str], name: str) -> int | None:
        if not name:
            return None
        if name not in header:
            raise InvalidData(f"no column {name!r}; the header is {header}", "no_column")
        return header.index(name)

    def _instant(self, text: str) -> int:
        try:
            return self._clock(text)
        except (ValueError, OverflowError) as error:
            raise InvalidData(f"{text!r} in column {self._settings.time}: {error}", "bad_time") from error


_Cell = tuple[str, str, str]  # field, text, unit


def _rows(payload: bytes, delimiter: str) -> list[list[str]]:
    try:
        text = payload.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"no CSV in UTF-8: {error}", "malformed") from error
    if not rows:
        raise InvalidData("no header row", "no_header")
    return rows


def _value(text: str) -> float | str:
    if _NUMBER.fullmatch(text) and isfinite(value := float(text)):
        return value
    return text
