"""The temporal query language (clause 4.11) and how aggregation divides time (clause 4.5.19).

Used by the temporal API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from haechi.core.duration import Duration, parse_duration
from haechi.core.errors import InvalidData
from haechi.core.times import from_us, parse_iso
from haechi.ports import Periods

METHODS = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq")
PROPERTIES: Mapping[str, str] = {
    "observedAt": "observed_at",
    "createdAt": "created_at",
    "modifiedAt": "modified_at",
    "deletedAt": "deleted_at",
}
LAST_MOST = 1_000_000
PERIODS_MOST = 10_000
_LAST_INSTANT = 253_402_300_799_999_999  # the end of the year 9999, where RFC 3339 ends
NO_PERIODS = Duration()  # all of the time asked about is one


@dataclass(frozen=True, slots=True)
class TemporalQuery:
    """What a request asks of time. `start` inclusive, `end` exclusive (clause 4.11); `by`: the internal name."""

    timerel: str | None = None
    start: int | None = None
    end: int | None = None
    by: str = "observed_at"
    named: bool = False  # timeproperty was given
    last: int | None = None
    methods: tuple[str, ...] = ()
    duration: Duration = NO_PERIODS

    @property
    def stated(self) -> bool:
        """Whether only instances count that have the temporal property asked about."""
        return self.by == "observed_at" and (self.timerel is not None or self.named)


def parse(given: Callable[[str], str | None]) -> TemporalQuery:
    """The temporal query of a request, whatever of it is there; `InvalidData` names the parameter to mend."""
    timerel, property_ = given("timerel"), given("timeproperty")
    if property_ is not None and property_ not in PROPERTIES:
        raise _bad(f"timeproperty must be one of {', '.join(PROPERTIES)}, not {property_[:40]!r}")
    start, end = _span(timerel, given("timeAt"), given("endTimeAt"))
    return TemporalQuery(
        timerel,
        start,
        end,
        PROPERTIES[property_ or "observedAt"],
        property_ is not None,
        _last(given("lastN")),
        _methods(given("aggrMethods")),
        parse_duration("aggrPeriodDuration", given("aggrPeriodDuration") or "PT0S"),
    )


def _span(timerel: str | None, time_at: str | None, end_time_at: str | None) -> tuple[int | None, int | None]:
    if timerel is None:
        if time_at is not None or end_time_at is not None:
            raise _bad("timeAt and endTimeAt need timerel beside them: before, after or between")
        return None, None
    if timerel not in {"before", "after", "between"}:
        raise _bad(f"timerel must be before, after or between, not {timerel[:40]!r}")
    if time_at is None:
        raise _bad(f"timerel={timerel} needs timeAt, a date-time such as 2026-11-22T09:00:00Z")
    at = instant("timeAt", time_at)
    if timerel != "between":
        if end_time_at is not None:
            raise _bad(f"endTimeAt goes with timerel=between; leave it out with {timerel}")
        return (None, at) if timerel == "before" else (at, None)
    if end_time_at is None:
        raise _bad("timerel=between needs endTimeAt, a date-time such as 2026-11-22T10:00:00Z")
    end = instant("endTimeAt", end_time_at)
    if end <= at:
        raise _bad("endTimeAt must be later than timeAt: timeAt is inclusive, endTimeAt exclusive")
    return at, end


def instant(name: str, text: str) -> int:
    """Microseconds of a DateTime of clause 4.6.3: with a time, in UTC."""
    try:
        if "T" in text and text.endswith("Z"):
            found = parse_iso(text.replace(",", "."))
            from_us(found)
            return found
    except (ValueError, OverflowError):
        pass
    raise _bad(f"{name} must be a date-time in UTC such as 2026-11-22T09:00:00Z, not {text[:40]!r}")


def _last(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:12]) <= LAST_MOST or len(text) > 12:
        raise _bad(f"lastN must be a whole number from 1 to {LAST_MOST}, not {text[:40]!r}")
    return int(text)


def _methods(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    found = tuple(dict.fromkeys(one.strip() for one in text.split(",")))
    if unknown := [one for one in found if one not in METHODS]:
        raise _bad(f"aggrMethods has the unknown {unknown[0][:40]!r}; there are {', '.join(METHODS)}")
    return found


def periods(length: Duration, start: int, last: int) -> Periods:
    """Periods of that length from `start` that cover `last`."""
    if not length.months:
        if length.us and (last - start) // length.us > PERIODS_MOST:
            raise _bad(f"that is more than {PERIODS_MOST} periods; ask for longer ones, or a shorter time")
        return Periods(start, length.us or None)
    bounds = [start]
    while bounds[-1] <= last:
        if len(bounds) > PERIODS_MOST:
            raise _bad(f"that is more than {PERIODS_MOST} periods; ask for longer ones, or a shorter time")
        bounds.append(length.after(start, len(bounds)))
    return Periods(start, None, tuple(bounds))


def end_of(period_at: int, how: Periods, last: int) -> int:
    """Where a period ends; the only one with the last instance."""
    if how.bounds:
        return next((bound for bound in how.bounds if bound > period_at), last)
    return last if how.width_us is None else min(period_at + how.width_us, _LAST_INSTANT)


def flat(body: Mapping[str, Any]) -> dict[str, str]:
    """`temporalQ` and `aggrParams` of a Query (clauses 5.2.21, 5.2.44) as the parameters they stand for."""
    found: dict[str, str] = {}
    for member in ("temporalQ", "aggrParams"):
        part = body.get(member, {})
        if not isinstance(part, Mapping):
            raise _bad(f"{member} must be an object")
        for name, value in part.items():
            if name == "type":
                continue
            if name not in _MEMBERS:
                raise _bad(f"{member} has no member {name[:40]}; there are {', '.join(sorted(_MEMBERS))}")
            found[name] = _text(name, value)
    return found


_MEMBERS = frozenset({"timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration"})


def _text(name: str, value: object) -> str:
    if name == "aggrMethods" and isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ",".join(value)
    if name == "lastN":
        if isinstance(value, bool) or not isinstance(value, int):
            raise _bad(f"lastN must be a whole number from 1 to {LAST_MOST}, not {value!r}")
        return str(value)
    if not isinstance(value, str):
        raise _bad(f"{name} must be a text, not {str(value)[:40]}")
    return value


def _bad(message: str) -> InvalidData:
    return InvalidData(message, "bad_request")
