"""Turns the conditions of a rule into closures, once; each is called with the series of one entity. Used by watchers.

Every closure answers True, False or None (unknown), combined as in three-valued logic. Compiled once a rule and not
once an entity: a million sensors under five rules would need 26 GB of closures.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from haechi.services.watch.rules import (
    All,
    AnyOf,
    Compare,
    Condition,
    Flagged,
    LevelRule,
    Other,
    Rate,
    Rule,
    Scalar,
    Silence,
    Stuck,
)  # fmt: skip
from haechi.services.watch.series import DOUBTFUL, Series

Slots = Sequence[Series]  # of one entity, in the order of `Program.names`
Test = Callable[[Slots], bool | None]

NEVER = 1 << 62
PAUSES = 64  # in which we did not listen; silence before the oldest is forgotten


class Arrivals:
    """Our clock as silence sees it: moved by ticks only, and never counting time in which we did not listen."""

    __slots__ = ("floor", "known", "now", "pauses")

    def __init__(self) -> None:
        """`now`: the last tick; `floor`: since when we listen; `pauses`: from when to when we did not, in order.
        Microseconds. `known`: the last record that was seen before this start; whoever said something after it is not
        silent, however far behind our clock it came."""
        self.now = 0
        self.floor = NEVER
        self.known = 0
        self.pauses: list[tuple[int, int]] = []

    def resume(self, now: int) -> None:
        """We listen again: at a start, when we had been away for a while, or when our clock was set."""
        if not self.now:
            self.floor = now
        elif now < self.now:
            self.floor = min(self.floor, now)
            self.pauses = [(start, min(end, now)) for start, end in self.pauses if start < now]
        else:
            self.pauses.append((self.now, now))
            if len(self.pauses) > PAUSES:
                self.floor = max(self.floor, self.pauses.pop(0)[1])
        self.now = now

    def silent_since(self, series: Series) -> int:
        """The instant from which silence of a series counts."""
        since = max(series.received, self.floor)
        for start, end in self.pauses:
            if end > since:
                since += end - max(start, since)
        return since


class Step(NamedTuple):
    """One level of a rule, compiled."""

    rule: LevelRule
    when: Test
    clear: Test | None


class Program:
    """One rule, compiled. `silences`, `windows` and `epsilons` say of a slot how long it may be silent and what it
    keeps."""

    def __init__(self, rule: Rule, arrivals: Arrivals) -> None:
        self.rule, self._arrivals = rule, arrivals
        self.names = rule.attributes()
        self.mask = 0 if rule.any_quality else DOUBTFUL
        self.heeds = not rule.any_quality and not rule.maintenance
        self.silences: list[tuple[int, int]] = []
        self.windows: dict[int, int] = {}
        self.epsilons: dict[int, float] = {}
        self.steps = [
            Step(one, self.test(one.when), None if one.clear is None else self.test(one.clear)) for one in rule.levels
        ]
        self.suppress = None if rule.suppress is None else self.test(rule.suppress)

    def prepare(self, slots: Slots) -> None:
        """Makes the series of an entity keep what the rule asks for."""
        for slot, window_us in self.windows.items():
            slots[slot].widen(window_us)
        for slot, epsilon in self.epsilons.items():
            slots[slot].epsilon = max(slots[slot].epsilon, epsilon)

    def _slot(self, attribute: str) -> int:
        return self.names.index(attribute)

    def test(self, condition: Condition) -> Test:
        """The closure of a condition."""
        makers: dict[type, Callable[[Any], Test]] = {
            Compare: self._compare,
            Rate: self._rate,
            Silence: self._silence,
            Stuck: self._stuck,
            Flagged: self._flagged,
            All: lambda one: _every([self.test(part) for part in one.parts]),
            AnyOf: lambda one: _some([self.test(part) for part in one.parts]),
        }
        return makers[type(condition)](condition)

    def _compare(self, condition: Compare) -> Test:
        slot = self._slot(condition.attribute)
        mask, heeds = self.mask, self.heeds
        if condition.op in {"equals", "differs"}:
            return _equality(slot, mask, heeds, condition)
        if len(condition.limits) == 1 and isinstance(condition.limits[0], float):
            return _fixed(slot, mask, heeds, condition)
        limits = [self.limit(one) for one in condition.limits]
        decide = _RANGES[condition.op]

        def test(slots: Slots) -> bool | None:
            series = slots[slot]
            value = series.value
            if value.__class__ is not float or not series.known(mask, heeds):
                return None
            now = [one(slots) for one in limits]
            return None if None in now else decide(value, *now)

        return test

    def limit(self, limit: Scalar | Other) -> Callable[[Slots], float | None]:
        """The number a comparison is made with, at the time of asking."""
        if not isinstance(limit, Other):
            fixed = limit if isinstance(limit, float) else None
            return lambda slots: fixed
        slot, other = self._slot(limit.attribute), limit

        def current(slots: Slots) -> float | None:
            series = slots[slot]
            value = series.value
            return (
                value * other.times + other.plus if value.__class__ is float and series.known(DOUBTFUL, False) else None
            )

        return current

    def _rate(self, condition: Rate) -> Test:
        slot, mask, heeds = self._slot(condition.attribute), self.mask, self.heeds
        self.windows[slot] = max(self.windows.get(slot, 0), condition.window_us)
        sign, limit = condition.sign, condition.limit * condition.sign
        window_us, per_us = condition.window_us, condition.per_us

        def test(slots: Slots) -> bool | None:
            series = slots[slot]
            if series.value.__class__ is not float or not series.known(mask, heeds):
                return None
            slope = series.slope(window_us, per_us)
            return None if slope is None else slope * sign > limit

        return test

    def _silence(self, condition: Silence) -> Test:
        slot, arrivals, for_us = self._slot(condition.attribute), self._arrivals, condition.for_us
        self.silences.append((slot, for_us))

        def test(slots: Slots) -> bool | None:
            series = slots[slot]
            if series.received < 0:
                return None
            if arrivals.now - arrivals.silent_since(series) >= for_us:
                return True
            heard = series.received >= arrivals.floor or series.seq > arrivals.known
            return False if heard else None  # not heard since we listen: cannot tell yet

        return test

    def _stuck(self, condition: Stuck) -> Test:
        slot, for_us = self._slot(condition.attribute), condition.for_us
        self.epsilons[slot] = max(self.epsilons.get(slot, 0.0), condition.epsilon)

        def test(slots: Slots) -> bool | None:
            series = slots[slot]
            return None if series.at < 0 else series.at - series.moved_at >= for_us

        return test

    def _flagged(self, condition: Flagged) -> Test:
        slot, mask = self._slot(condition.attribute), condition.mask
        return lambda slots: None if slots[slot].at < 0 else slots[slot].quality & mask != 0


_RANGES: dict[str, Callable[..., bool]] = {
    "above": lambda value, limit: value > limit,
    "below": lambda value, limit: value < limit,
    "at_least": lambda value, limit: value >= limit,
    "at_most": lambda value, limit: value <= limit,
    "between": lambda value, low, high: low <= value <= high,
    "outside": lambda value, low, high: value < low or value > high,
}


def _fixed(slot: int, mask: int, heeds: bool, condition: Compare) -> Test:
    """The hot path: one value against one number."""
    decide, limit = _RANGES[condition.op], condition.limits[0]

    def test(slots: Slots) -> bool | None:
        series = slots[slot]
        value = series.value
        if value.__class__ is not float or series.quality & mask or (heeds and series.doubts):
            return None
        return decide(value, limit)

    return test


def _equality(slot: int, mask: int, heeds: bool, condition: Compare) -> Test:
    exact = [(one.__class__, one) for one in condition.limits]  # 1.0 and true are not the same
    wanted = condition.op == "equals"

    def test(slots: Slots) -> bool | None:
        series = slots[slot]
        if not series.known(mask, heeds) or series.value is None:
            return None
        return ((series.value.__class__, series.value) in exact) is wanted

    return test


def _every(tests: list[Test]) -> Test:
    def test(slots: Slots) -> bool | None:
        unknown = False
        for one in tests:
            answer = one(slots)
            if answer is False:
                return False
            unknown = unknown or answer is None
        return None if unknown else True

    return test


def _some(tests: list[Test]) -> Test:
    def test(slots: Slots) -> bool | None:
        unknown = False
        for one in tests:
            answer = one(slots)
            if answer:
                return True
            unknown = unknown or answer is None
        return None if unknown else False

    return test
