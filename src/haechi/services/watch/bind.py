"""Turns conditions into closures over the series of one entity. Used when a rule meets an entity; then it is only
calls.

Every closure answers True, False or None (unknown), combined as in three-valued logic.
"""

from collections.abc import Callable
from typing import Any

from haechi.services.watch.rules import (
    All,
    AnyOf,
    Compare,
    Condition,
    Flagged,
    Other,
    Rate,
    Rule,
    Scalar,
    Silence,
    Stuck,
)  # fmt: skip
from haechi.services.watch.series import DOUBTFUL, Series

Test = Callable[[], bool | None]
SeriesOf = Callable[[str], Series]


NEVER = 1 << 62


class Arrivals:
    """Our clock as silence sees it: moved by ticks only, and never counting time in which we did not listen."""

    __slots__ = ("floor", "now")

    def __init__(self) -> None:
        """`now`: the last tick; `floor`: since when we listen. Microseconds."""
        self.now = 0
        self.floor = NEVER

    def silent_since(self, series: Series) -> int:
        """The instant from which silence of a series counts."""
        return max(series.received, self.floor)


class Binder:
    """Binds conditions of one rule to one entity."""

    def __init__(self, series_of: SeriesOf, rule: Rule, arrivals: Arrivals) -> None:
        self._series_of, self._arrivals = series_of, arrivals
        self._mask = 0 if rule.any_quality else DOUBTFUL
        self._heeds = not rule.any_quality and not rule.maintenance
        self.silences: list[tuple[Series, int]] = []

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
        series = self._series_of(condition.attribute)
        mask, heeds = self._mask, self._heeds
        if condition.op in {"equals", "differs"}:
            return _equality(series, mask, heeds, condition)
        if len(condition.limits) == 1 and isinstance(condition.limits[0], float):
            return _fixed(series, mask, heeds, condition)
        limits = [self.limit(one) for one in condition.limits]
        decide = _RANGES[condition.op]

        def test() -> bool | None:
            value = series.value
            if value.__class__ is not float or not series.known(mask, heeds):
                return None
            now = [one() for one in limits]
            return None if None in now else decide(value, *now)

        return test

    def limit(self, limit: Scalar | Other) -> Callable[[], float | None]:
        """The number a comparison is made with, at the time of asking."""
        if not isinstance(limit, Other):
            fixed = limit if isinstance(limit, float) else None
            return lambda: fixed
        series, other = self._series_of(limit.attribute), limit

        def current() -> float | None:
            value = series.value
            return (
                value * other.times + other.plus if value.__class__ is float and series.known(DOUBTFUL, False) else None
            )

        return current

    def _rate(self, condition: Rate) -> Test:
        series, mask, heeds = self._series_of(condition.attribute), self._mask, self._heeds
        series.window_us = max(series.window_us, condition.window_us)
        sign, limit = condition.sign, condition.limit * condition.sign
        window_us, per_us = condition.window_us, condition.per_us

        def test() -> bool | None:
            if series.value.__class__ is not float or not series.known(mask, heeds):
                return None
            slope = series.slope(window_us, per_us)
            return None if slope is None else slope * sign > limit

        return test

    def _silence(self, condition: Silence) -> Test:
        series, arrivals, for_us = self._series_of(condition.attribute), self._arrivals, condition.for_us
        self.silences.append((series, for_us))

        def test() -> bool | None:
            if series.received < 0:
                return None
            if arrivals.now - max(series.received, arrivals.floor) >= for_us:
                return True
            return False if series.received >= arrivals.floor else None  # not heard since we listen: cannot tell yet

        return test

    def _stuck(self, condition: Stuck) -> Test:
        series, for_us = self._series_of(condition.attribute), condition.for_us
        series.epsilon = max(series.epsilon, condition.epsilon)
        return lambda: None if series.at < 0 else series.at - series.moved_at >= for_us

    def _flagged(self, condition: Flagged) -> Test:
        series, mask = self._series_of(condition.attribute), condition.mask
        return lambda: None if series.at < 0 else series.quality & mask != 0


_RANGES: dict[str, Callable[..., bool]] = {
    "above": lambda value, limit: value > limit,
    "below": lambda value, limit: value < limit,
    "at_least": lambda value, limit: value >= limit,
    "at_most": lambda value, limit: value <= limit,
    "between": lambda value, low, high: low <= value <= high,
    "outside": lambda value, low, high: value < low or value > high,
}


def _fixed(series: Series, mask: int, heeds: bool, condition: Compare) -> Test:
    """The hot path: one value against one number."""
    decide, limit = _RANGES[condition.op], condition.limits[0]

    def test() -> bool | None:
        value = series.value
        if value.__class__ is not float or series.quality & mask or (heeds and series.doubts):
            return None
        return decide(value, limit)

    return test


def _equality(series: Series, mask: int, heeds: bool, condition: Compare) -> Test:
    exact = [(one.__class__, one) for one in condition.limits]  # 1.0 and true are not the same
    wanted = condition.op == "equals"

    def test() -> bool | None:
        if not series.known(mask, heeds) or series.value is None:
            return None
        return ((series.value.__class__, series.value) in exact) is wanted

    return test


def _every(tests: list[Test]) -> Test:
    def test() -> bool | None:
        unknown = False
        for one in tests:
            answer = one()
            if answer is False:
                return False
            unknown = unknown or answer is None
        return None if unknown else True

    return test


def _some(tests: list[Test]) -> Test:
    def test() -> bool | None:
        unknown = False
        for one in tests:
            answer = one()
            if answer:
                return True
            unknown = unknown or answer is None
        return None if unknown else False

    return test
