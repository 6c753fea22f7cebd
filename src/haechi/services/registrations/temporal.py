"""Whether a source has something of a time (clauses 4.11, 5.10.2.4): a temporal query against the intervals that its
registration names. Pure; used by discovery, registration subscriptions and temporal operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haechi.core.errors import InvalidData
from haechi.services.registrations.model import Registration, instant_of

RELATIONS = ("before", "after", "between")
PROPERTIES = ("observedAt", "createdAt", "modifiedAt", "deletedAt")


@dataclass(frozen=True, slots=True)
class Question:
    """Instants in microseconds; None: open on that side."""

    start: int | None
    end: int | None
    observed: bool


def question(given: object) -> Question | None:
    """A temporal query (clause 5.2.21) or its parameters as an object; None when there is none."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidData("temporalQ must be an object (clause 5.2.21)", "bad_request")
    relation, by = given.get("timerel"), given.get("timeproperty") or "observedAt"
    if relation not in RELATIONS:
        raise InvalidData(f"timerel is {relation!r}; there are {', '.join(RELATIONS)}", "bad_request")
    if by not in PROPERTIES:
        raise InvalidData(f"timeproperty is {by!r}; there are {', '.join(PROPERTIES)}", "bad_request")
    at, end = instant_of(given, "timeAt"), instant_of(given, "endTimeAt")
    if at is None:
        raise InvalidData(f"timerel={relation} needs timeAt", "bad_request")
    if relation == "between":
        if end is None or end <= at:
            raise InvalidData("timerel=between needs an endTimeAt after timeAt", "bad_request")
        return Question(at, end, by == "observedAt")
    start, stop = (None, at) if relation == "before" else (at, None)
    return Question(start, stop, by == "observedAt")


def fits(asked: Question | None, registration: Registration) -> bool:
    """Whether the source has something of that time; without a question, whether it has what is true now."""
    if asked is None:
        return not registration.intervals
    name = "observationInterval" if asked.observed else "managementInterval"
    return name in registration.intervals and _overlap(asked, registration.intervals[name])


def may_fit(asked: Question | None, registration: Registration) -> bool:
    """The same for operations on the past: a source that names no interval may have anything."""
    if asked is None or not registration.intervals:
        return True
    return fits(asked, registration)


def _overlap(asked: Question, interval: tuple[int, int | None]) -> bool:
    start, end = interval
    before_end = asked.end is None or start < asked.end
    return before_end and (asked.start is None or end is None or end > asked.start)


def from_parameters(given: Mapping[str, Any]) -> Question | None:
    """The question of request parameters; half of one is none."""
    named: dict[str, Any] = {
        name: given[name] for name in ("timerel", "timeAt", "endTimeAt", "timeproperty") if name in given
    }
    return question(named) if named else None
