"""One rule on one entity: which levels are raised and what is pending. Driven by the evaluator, on the observations'
clock.

Each level is a latch of its own; the alarm has the highest that is on. So escalation, downgrade, hysteresis and dwell
need no rules beyond those of one latch, and a timed downgrade is the end of the higher latch.
"""

from typing import Any

from haechi.core.alarm import Level
from haechi.services.watch.bind import Arrivals, Binder, SeriesOf, Test
from haechi.services.watch.rules import LevelRule, Rule
from haechi.services.watch.series import Series


class Latch:
    """One level of a watcher. `since` is when what would flip it began to hold, None when it does not."""

    __slots__ = ("clear", "clear_for_us", "for_us", "level", "on", "rule", "since", "when")

    def __init__(self, rule: LevelRule, when: Test, clear: Test | None) -> None:
        self.rule, self.level, self.when, self.clear = rule, rule.level, when, clear
        self.for_us, self.clear_for_us = rule.for_us, rule.clear_for_us
        self.on = False
        self.since: int | None = None

    def step(self, at: int, applies: bool) -> bool:
        """Looks at the conditions at this instant; True when it flipped. An unknown condition stops running times."""
        holds = self.when() if applies else False
        if not self.on:
            if holds is not True:
                self.since = None
                return False
            wait = self.for_us
        else:
            if holds or not self._ended(holds, applies):
                self.since = None
                return False
            wait = self.clear_for_us if applies else 0
        if self.since is None:
            self.since = at
        if at - self.since < wait:
            return False
        self.on, self.since = not self.on, None
        return True

    def _ended(self, holds: bool | None, applies: bool) -> bool:
        if not applies:
            return True
        return holds is False if self.clear is None else self.clear() is True

    @property
    def due(self) -> int | None:
        """When it flips if nothing else happens."""
        if self.since is None:
            return None
        return self.since + (self.clear_for_us if self.on else self.for_us)


class Watcher:
    """A rule bound to an entity. `step` at each observation and at each due instant; `level` is what it says now."""

    __slots__ = (
        "applies",
        "at",
        "binder",
        "due",
        "entity",
        "latches",
        "level",
        "rule",
        "saved",
        "series",
        "simple",
        "suppress",
        "suppressed",
    )  # fmt: skip

    def __init__(self, rule: Rule, entity: str, series_of: SeriesOf, arrivals: Arrivals) -> None:
        self.rule, self.entity = rule, entity
        self.binder = Binder(series_of, rule, arrivals)
        self.latches = [self._latch(one) for one in rule.levels]
        self.suppress = None if rule.suppress is None else self.binder.test(rule.suppress)
        self.series: dict[str, Series] = {name: series_of(name) for name in rule.attributes()}
        self.simple = rule.hours.always
        self.suppressed = False
        self.level: Level | None = None
        self.at = -1
        self.due: int | None = None
        self.saved = False  # whether the store holds timers of it

    def _latch(self, rule: LevelRule) -> Latch:
        clear = None if rule.clear is None else self.binder.test(rule.clear)
        return Latch(rule, self.binder.test(rule.when), clear)

    def step(self, at: int) -> bool:
        """Evaluates at an instant (never before the last one); True when level, suppression or a running time
        changed."""
        at = max(at, self.at)
        self.at = at
        applies = self.simple or self.rule.hours.holds(at)
        changed = False
        for latch in self.latches:
            before = latch.since
            flipped = latch.step(at, applies)
            changed = changed or flipped or latch.since != before
        if self.suppress is not None:
            suppressed = self.suppress() is True
            changed = changed or suppressed != self.suppressed
            self.suppressed = suppressed
        if changed:
            self.level = next((one.level for one in self.latches if one.on), None)
        if changed or not self.simple:
            self.due = self._next_due(at)
        return changed

    def _next_due(self, at: int) -> int | None:
        dues = [one.due for one in self.latches if one.since is not None]
        if not self.simple:
            dues.append(self.rule.hours.next_change(at))
        return min((one for one in dues if one is not None), default=None)

    @property
    def quiet(self) -> bool:
        """Nothing raised, nothing running: nothing to keep."""
        return not self.suppressed and not any(one.on or one.since is not None for one in self.latches)

    def seq(self) -> int:
        """The newest record that any of its series has seen."""
        return max(one.seq for one in self.series.values())

    def dump(self) -> dict[str, Any]:
        """What `load` needs to go on, as JSON."""
        latches = {one.level.word: [one.on, one.since] for one in self.latches}
        return {
            "rule": self.rule.id,
            "entity": self.entity,
            "at": self.at,
            "suppressed": self.suppressed,
            "latches": latches,
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Takes up where `dump` was; levels the rule no longer has are gone."""
        self.at = max(dumped["at"], *(one.at for one in self.series.values()))
        self.suppressed, self.saved = dumped["suppressed"], True
        for one in self.latches:
            one.on, one.since = dumped["latches"].get(one.level.word, (False, None))
        self.level = next((one.level for one in self.latches if one.on), None)
        self.due = self._next_due(self.at)

    def settle(self) -> None:
        """After a restart, when the store held no timers: quiet since the newest observation."""
        self.at = max((one.at for one in self.series.values()), default=-1)
        self.due = None if self.simple or self.at < 0 else self._next_due(self.at)
