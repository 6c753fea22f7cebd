"""When a rule applies: hours of the day and weekdays in the city's time zone, and from which date. Used by rules and
watchers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from haechi.core.times import from_us, to_us

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Window:
    """From a time of day to another on these weekdays; `end` at or before `start` lies on the next day (24 h when
    equal)."""

    start: time
    end: time
    days: frozenset[int]  # 0 is Monday; the day the window begins


@dataclass(frozen=True, slots=True)
class Hours:
    """The instants at which a rule applies. No windows: at all times from `valid_from` on."""

    windows: tuple[Window, ...] = ()
    valid_from: date | None = None
    zone: str = "UTC"

    @property
    def always(self) -> bool:
        """Whether there is nothing to look at."""
        return not self.windows and self.valid_from is None

    def holds(self, at_us: int) -> bool:
        """Whether the rule applies at this instant; a window holds its start and not its end."""
        if self.always:
            return True
        if self.valid_from is not None and at_us < self._midnight(self.valid_from):
            return False
        return not self.windows or any(start <= at_us < end for start, end in self._spans(at_us))

    def next_change(self, at_us: int) -> int | None:
        """The next instant after `at_us` at which `holds` may change; None when it never does again."""
        edges = [edge for span in self._spans(at_us) for edge in span if edge > at_us]
        if self.valid_from is not None and (start := self._midnight(self.valid_from)) > at_us:
            edges.append(start)
        return min(edges, default=None)

    def _midnight(self, day: date) -> int:
        return _instant(day, time(), ZoneInfo(self.zone))

    def _spans(self, at_us: int) -> Iterator[tuple[int, int]]:
        """Windows that begin from yesterday to eight days on: enough for any weekday, and for the one still open."""
        if not self.windows:
            return
        zone = ZoneInfo(self.zone)
        today = from_us(at_us).astimezone(zone).date()
        for offset in range(-1, 9):
            day = today + timedelta(days=offset)
            for window in self.windows:
                if day.weekday() in window.days:
                    last = day if window.end > window.start else day + timedelta(days=1)
                    yield _instant(day, window.start, zone), _instant(last, window.end, zone)


def _instant(day: date, at: time, zone: ZoneInfo) -> int:
    return to_us(datetime.combine(day, at, zone).astimezone(UTC))


ALWAYS = Hours()
