"""Durations of ISO 8601, such as PT1H, P1M or P1DT12H. Used by the NGSI-LD language and by registrations."""

import re
from dataclasses import dataclass
from datetime import datetime

from haechi.core.errors import InvalidData
from haechi.core.times import SECOND, from_us, to_us

_SHAPE = re.compile(
    r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Duration:
    """Months of the calendar (UTC), then microseconds."""

    months: int = 0
    us: int = 0

    def after(self, start: int, times: int = 1) -> int:
        """The instant that many durations after `start`, µs: months count from it, so none drifts off a short one."""
        begun = from_us(start)
        month = begun.year * 12 + begun.month - 1 + self.months * times
        if month // 12 > 9998:
            return to_us(datetime.max.replace(tzinfo=begun.tzinfo))
        moved = begun.replace(year=month // 12, month=month % 12 + 1, day=1)
        following = moved.replace(year=moved.year + moved.month // 12, month=moved.month % 12 + 1)
        days = min(begun.day, (following - moved).days) - 1
        return to_us(moved) + (days * 86_400 * SECOND) + self.us * times


def parse_duration(member: str, text: object) -> Duration:
    """`member` is what an `InvalidData` names: no duration, or one longer than 10,000 years."""
    match = _SHAPE.fullmatch(text) if isinstance(text, str) and len(text) <= 60 else None
    if match is None:
        raise InvalidData(f"{member} must be a duration such as PT1H or P1D, not {str(text)[:40]!r}", "bad_request")
    years, months, weeks, days, hours, minutes = (int(one or 0) for one in match.groups()[:6])
    us = round(float(match[7] or 0) * SECOND)
    us += (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 * SECOND
    if years * 12 + months > 120_000 or us > 1 << 60:
        raise InvalidData(f"{member} {str(text)[:40]} is longer than any history; use a shorter one", "bad_request")
    return Duration(years * 12 + months, us)
