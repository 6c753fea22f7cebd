"""The calm band of a series: between which values, and until when, its rules have nothing to decide. Used by the
evaluator, which then takes an observation in without asking them.

A series is calm while stepping any of its watchers would change nothing. The band is such that every condition of a
watcher that could move it answers the same as now, each by itself: so bands of the series of one entity may be worked
out at different times. What changes an answer from outside (another series that is a limit, a doubt, a silence, a
level that came or went) makes the series restless, and its next observation is evaluated.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from haechi.services.watch.bind import NEVER, Program, Slots
from haechi.services.watch.rules import Compare, Condition, Flagged, Other, Rate, Silence, Stuck, leaves
from haechi.services.watch.series import DOUBTFUL, Series
from haechi.services.watch.watcher import Watcher

INFINITE = math.inf
CAREFUL = 1 - 1e-9  # a slope is a quotient: what comes this near a limit is evaluated


class Reach:
    """How far values may go: narrowed by one condition after the other."""

    __slots__ = ("high", "low", "spread", "until")

    def __init__(self) -> None:
        self.low, self.high = -INFINITE, INFINITE
        self.until = NEVER
        self.spread = INFINITE  # how far the values of the window may lie apart

    def narrow(self, low: float, high: float) -> None:
        self.low, self.high = max(self.low, low), min(self.high, high)


Leaf = Callable[[Slots, Reach], bool]  # narrows; False: must be evaluated each time


class Level(NamedTuple):
    """What keeps a level (or a suppression) where it is. `on` None: while it is on, each observation counts."""

    off: tuple[Leaf, ...]
    on: tuple[Leaf, ...] | None


class Bands:
    """Of one rule: what narrows the band of each of its attributes."""

    def __init__(self, program: Program) -> None:
        slots = range(len(program.names))
        self._levels = [
            [_level(program, slot, [one.when], [one.clear] if one.clear else []) for one in program.rule.levels]
            for slot in slots
        ]
        suppress = program.rule.suppress
        self._suppress = [None if suppress is None else _level(program, slot, [suppress], []) for slot in slots]
        self.limits = {
            program.names.index(limit.attribute)
            for condition in program.rule.conditions()
            for one in leaves(condition)
            if isinstance(one, Compare)
            for limit in one.limits
            if isinstance(limit, Other)
        }
        """Slots whose values others are compared with."""

    def narrow(self, watcher: Watcher, series: Series, reach: Reach) -> bool:
        """False: the watcher needs the next observation."""
        slots = watcher.slots
        slot = slots.index(series)
        applies = watcher.simple or watcher.rule.hours.holds(watcher.at)
        if watcher.due is not None:  # the next change of its hours: nothing else is awaited, see below
            reach.until = min(reach.until, watcher.due)
        for latch, level in zip(watcher.latches, self._levels[slot], strict=True):
            if latch.since is not None or (latch.on and not applies):
                return False
            if applies and not _narrow(level.on if latch.on else level.off, slots, reach):
                return False
        suppress = self._suppress[slot]
        return suppress is None or _narrow(suppress.on if watcher.suppressed else suppress.off, slots, reach)


def _narrow(found: tuple[Leaf, ...] | None, slots: Slots, reach: Reach) -> bool:
    return found is not None and all(one(slots, reach) for one in found)


def ease(series: Series, bands: Mapping[Program, Bands]) -> bool:
    """Gives the series its band; False: there is none now. Its watchers must just have been stepped."""
    value, reach = series.value, Reach()
    if not all(bands[watcher.program].narrow(watcher, series, reach) for watcher in series.watchers):
        return False
    if value.__class__ is float:
        if series.moved_from.__class__ is not float or (series.window_us and not _within(series, value, reach)):
            return False
        if not reach.low <= value <= reach.high:
            return False
        series.low, series.high = reach.low, reach.high
    else:
        series.low, series.high = INFINITE, -INFINITE  # calm while it says the same
    series.until = reach.until
    return True


def _within(series: Series, value: float, reach: Reach) -> bool:
    """Narrows so that no two values of the window, present or to come, lie further apart than `spread`."""
    if series.quality & DOUBTFUL:
        return False  # such values do not enter the window
    if reach.spread == INFINITE:
        return True
    values = [one for _, one in series.window]
    lowest, highest = min(values, default=value), max(values, default=value)
    lowest, highest = min(lowest, value), max(highest, value)
    room = reach.spread - (highest - lowest)
    if not room >= 0:
        return False
    reach.narrow(lowest - room / 2, highest + room / 2)
    return True


def _level(program: Program, slot: int, when: Sequence[Condition], clear: Sequence[Condition]) -> Level:
    off = _leaves(program, slot, when)
    moving = any(isinstance(leaf, Rate | Silence) for one in (*when, *clear) for leaf in leaves(one))
    return Level(off, None if moving else (*off, *_leaves(program, slot, clear)))


def _leaves(program: Program, slot: int, conditions: Sequence[Condition]) -> tuple[Leaf, ...]:
    found = (_leaf(program, slot, leaf) for one in conditions for leaf in leaves(one))
    return tuple(one for one in found if one is not None)


def _leaf(program: Program, slot: int, leaf: Compare | Rate | Silence | Stuck | Flagged) -> Leaf | None:
    """What a condition asks of the values of a slot; None: nothing. Quality does not change in a band, and a silence
    that an observation cannot end lasts until the clock ends it."""
    name = program.names[slot]
    if isinstance(leaf, Compare) and any(isinstance(one, Other) and one.attribute == name for one in leaf.limits):
        return lambda slots, reach: _same(slots[slot], reach)
    if leaf.attribute != name or isinstance(leaf, Silence | Flagged):
        return None
    if isinstance(leaf, Compare):
        return _equality(slot, leaf) if leaf.op in {"equals", "differs"} else _compare(program, slot, leaf)
    return _rate(program, slot, leaf) if isinstance(leaf, Rate) else _stuck(slot, leaf)


def _same(series: Series, reach: Reach) -> bool:
    if series.value.__class__ is float:
        reach.narrow(series.value, series.value)
    return True


def _equality(slot: int, condition: Compare) -> Leaf:
    exact = sorted(one for one in condition.limits if isinstance(one, float))
    edges = [-INFINITE, *exact, INFINITE]

    def narrow(slots: Slots, reach: Reach) -> bool:
        value = slots[slot].value
        if value.__class__ is not float:
            return True
        if value in exact:
            reach.narrow(value, value)
        else:
            place = bisect_left(exact, value)
            reach.narrow(_above(edges[place]), _below(edges[place + 1]))
        return True

    return narrow


def _compare(program: Program, slot: int, condition: Compare) -> Leaf:
    limits = [program.limit(one) for one in condition.limits]
    mask, heeds, band = program.mask, program.heeds, _SAME[condition.op]

    def narrow(slots: Slots, reach: Reach) -> bool:
        series = slots[slot]
        if series.value.__class__ is float and series.known(mask, heeds):
            now = [one(slots) for one in limits]
            if None not in now:
                reach.narrow(*band(series.value, *now))
        return True

    return narrow


def _rate(program: Program, slot: int, condition: Rate) -> Leaf:
    """Over at least half a window a slope of that much needs two values that far apart."""
    mask, heeds, limit = program.mask, program.heeds, condition.limit * condition.sign
    spread = limit * (condition.window_us / 2) / condition.per_us * CAREFUL

    def narrow(slots: Slots, reach: Reach) -> bool:
        series = slots[slot]
        if series.value.__class__ is not float or not series.known(mask, heeds):
            return True
        slope = series.slope(condition.window_us, condition.per_us)
        if limit < 0 or (slope is not None and slope * condition.sign > limit):
            return False
        reach.spread = min(reach.spread, spread)
        return True

    return narrow


def _stuck(slot: int, condition: Stuck) -> Leaf:
    def narrow(slots: Slots, reach: Reach) -> bool:
        series = slots[slot]
        if series.at - series.moved_at < condition.for_us:
            reach.until = min(reach.until, series.moved_at + condition.for_us)
        elif series.value.__class__ is float and series.moved_from.__class__ is float:
            reach.narrow(min(series.value, series.moved_from), max(series.value, series.moved_from))
        return True

    return narrow


def _above(limit: float) -> float:
    return math.nextafter(limit, INFINITE)


def _below(limit: float) -> float:
    return math.nextafter(limit, -INFINITE)


def _over(value: float, limit: float) -> tuple[float, float]:
    return (_above(limit), INFINITE) if value > limit else (-INFINITE, limit)


def _under(value: float, limit: float) -> tuple[float, float]:
    return (-INFINITE, _below(limit)) if value < limit else (limit, INFINITE)


def _between(value: float, low: float, high: float) -> tuple[float, float]:
    if low <= value <= high:
        return low, high
    return (-INFINITE, _below(low)) if value < low else (_above(high), INFINITE)


_SAME: dict[str, Callable[..., tuple[float, float]]] = {  # where the comparison answers as it does for `value`
    "above": _over,
    "at_most": _over,
    "below": _under,
    "at_least": _under,
    "between": _between,
    "outside": _between,
}
