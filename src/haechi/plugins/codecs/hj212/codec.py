"""HJ 212 frames to samples: what the values of an upload are called and when they held. Created by ingest for a link.

Clause 6.2.3 of HJ 212-2017 (CP: `DataTime=…;<factor>-<kind>=value,<factor>-Flag=N;…`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import to_us
from haechi.plugins.codecs.hj212.framing import split
from haechi.plugins.codecs.hj212.packet import Packet, decode

DEFAULTS: Mapping[str, Any] = {
    "time_zone": "Asia/Shanghai",  # DataTime is local time
    "encoding": "utf-8",  # "gb18030" for devices that send Chinese text the old way
    "good_flags": ["N"],  # any other -Flag is the device's doubt: D fault, M maintenance, C calibration, T over range …
    "names": "factor",  # or "command": fields are "2061/a34004-Avg", so that hour, day and minutes map apart
}
_NAMES = ("factor", "command")
_GOOD_AIR_2005 = frozenset({"1", "3"})  # HJ/T 212-2005, air stations: 1 weather value, 3 normal value
_UNITS = {"mg/L": "M1", "ug/m3": "GQ", "μg/m3": "GQ", "mg/m3": "GP", "℃": "CEL", "pH": "Q30", "%": "P1", "L/s": "G51"}
_NUMBER = re.compile(r" *[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
_WITH_UNIT = re.compile(r"([^()]*)\(([^()]*)\) *")
_DATA_TIME = re.compile(r"[0-9]{14}(?:[0-9]{3})?")
_REAL_TIME = "2011"
_INSTANTS_MAX = 1_024
_NAMES_MAX = 10_000  # words remembered: the factors of a city are some hundreds


def create(settings: Mapping[str, Any]) -> "Hj212Codec":
    """The codec; settings are those of `DEFAULTS`. `InvalidSettings` names what is wrong."""
    if unknown := sorted(set(settings) - set(DEFAULTS)):
        raise InvalidSettings(f"hj212 has no codec setting {unknown}; there are {sorted(DEFAULTS)}")
    chosen = {**DEFAULTS, **settings}
    if chosen["names"] not in _NAMES:
        raise InvalidSettings(f"names = {chosen['names']!r} in the hj212 codec settings is none of {_NAMES}")
    if not isinstance(chosen["good_flags"], list):
        raise InvalidSettings('good_flags in the hj212 codec settings is a list of letters, e.g. ["N", "S"]')
    try:
        zone = ZoneInfo(chosen["time_zone"])
        "".encode(chosen["encoding"])
    except (ZoneInfoNotFoundError, LookupError, ValueError, TypeError) as error:
        raise InvalidSettings(f"hj212 codec settings: {error}") from error
    return Hj212Codec(zone, chosen["encoding"], frozenset(chosen["good_flags"]), chosen["names"] == "command")


@dataclass(frozen=True, slots=True)
class _Upload:
    """What all values of one packet have in common."""

    mn: str | None
    prefix: str
    good: frozenset[str]


class Hj212Codec:
    """`ports.Codec`. A payload is one frame, or the frames of one divided upload in order (PNUM, PNO)."""

    def __init__(self, zone: ZoneInfo, encoding: str, good_flags: frozenset[str], with_command: bool) -> None:
        self._zone, self._encoding, self._good, self._with_command = zone, encoding, good_flags, with_command
        self._instants: dict[str, int] = {}  # the devices of a city tell the same minutes and hours
        self._words: dict[str, tuple[str, str]] = {}  # name -> factor, and what of Flag, SampleTime, Info it ends in

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples named `<factor>-<kind>` (`a34004-Rtd`) of device MN, at DataTime (or -SampleTime) in the zone.

        Numbers become floats; text stays text, and `-Info` always does. Commands and answers carry no samples: empty.
        `InvalidData`: bad_start, bad_length, bad_crc, bad_end, bad_text, bad_header, bad_pair, bad_time, no_time.
        """
        samples: list[Sample] = []
        observed_at: int | None = None
        for frame in split(message.payload):
            packet = decode(frame, self._encoding)
            if packet.carries_samples:
                observed_at = self._read(packet, observed_at, samples)
        return samples

    def _read(self, packet: Packet, observed_at: int | None, samples: list[Sample]) -> int | None:
        """Appends the samples of one packet; returns their instant, for the packets that continue it."""
        good = self._good | _GOOD_AIR_2005 if packet.st == "22" and not packet.edition else self._good
        upload = _Upload(packet.mn, f"{packet.cn}/" if self._with_command else "", good)
        for group in packet.body.split(";"):
            if group.startswith("DataTime="):
                observed_at = self._instant(group[9:])
            elif group:
                if observed_at is None and packet.cn != _REAL_TIME:  # only of a real-time value is "now" a fair guess
                    raise InvalidData(f"CN={packet.cn} without DataTime: nobody can say when it held", "no_time")
                self._read_group(group, upload, observed_at, samples)
        return observed_at

    def _read_group(self, group: str, upload: _Upload, observed_at: int | None, samples: list[Sample]) -> None:
        first, comma, second = group.partition(",")
        if comma and "," not in second and self._read_pair(first, second, upload, observed_at, samples):
            return
        items: list[tuple[str, str, bool, str]] = []
        doubts: dict[str, bool] = {}
        words = self._words
        for item in group.split(","):
            name, equals, text = item.partition("=")
            if not equals or not name:
                raise InvalidData(f"{item!r} is no name=value", "bad_pair")
            factor, kind = words[name] if name in words else self._word(name)
            if kind == "Flag":
                doubts[factor] = text not in upload.good
            elif kind == "SampleTime":
                observed_at = self._instant(text)
            else:
                items.append((name, factor, kind == "Info", text))
        for name, factor, is_text, text in items:
            value, unit = (text, None) if is_text else _value(text)
            doubt = factor in doubts and doubts[factor]
            samples.append(Sample(upload.prefix + name, value, observed_at, unit, doubt, upload.mn))

    def _read_pair(
        self, first: str, second: str, upload: _Upload, observed_at: int | None, samples: list[Sample]
    ) -> bool:
        """The shape nearly all groups have, a number and its flag, at half the price; False: it is another."""
        name, _, text = first.partition("=")
        flag, equals, letter = second.partition("=")
        words = self._words
        if name not in words or flag not in words or not text or not equals:
            return False
        (factor, kind), (flagged, flag_kind) = words[name], words[flag]
        if kind or flag_kind != "Flag" or factor != flagged:
            return False
        value, unit = _value(text)
        samples.append(Sample(upload.prefix + name, value, observed_at, unit, letter not in upload.good, upload.mn))
        return True

    def _word(self, name: str) -> tuple[str, str]:
        factor, dash, kind = name.rpartition("-")
        word = (factor, kind if kind in ("Flag", "SampleTime") or (dash and kind == "Info") else "")
        if len(self._words) < _NAMES_MAX:
            self._words[name] = word
        return word

    def _instant(self, text: str) -> int:
        if (known := self._instants.get(text)) is not None:
            return known
        if not _DATA_TIME.fullmatch(text):
            raise InvalidData(f"{text!r} is no yyyyMMddHHmmss (or with milliseconds)", "bad_time")
        try:
            day = (int(text[:4]), int(text[4:6]), int(text[6:8]))
            local = datetime(*day, int(text[8:10]), int(text[10:12]), int(text[12:14]), tzinfo=self._zone)
        except ValueError as error:
            raise InvalidData(f"{text!r} is no instant: {error}", "bad_time") from error
        instant = to_us(local) + int(text[14:] or 0) * 1000
        if len(self._instants) >= _INSTANTS_MAX:
            self._instants.clear()
        self._instants[text] = instant
        return instant


def _value(text: str) -> tuple[float | str, str | None]:
    """The value and the unit the text itself names; other than plain numbers (`nan`, `1_0`, ``) stays text."""
    if _NUMBER.fullmatch(text):
        return (value, None) if isfinite(value := float(text)) else (text, None)
    with_unit = _WITH_UNIT.fullmatch(text)
    if with_unit and _NUMBER.fullmatch(with_unit[1]) and isfinite(value := float(with_unit[1])):
        return value, _UNITS.get(with_unit[2].strip())
    return text, None
