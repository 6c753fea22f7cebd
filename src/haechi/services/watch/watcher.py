"""One rule on one entity: which levels are raised and what is pending. Driven by the evaluator, on the observations'
clock.

Each level is a latch of its own; the alarm has the highest that is on. So escalation, downgrade, hysteresis and dwell
need no rules beyond those of one latch, and a timed downgrade is the end of the higher latch.
"""

from typing import Any

from haechi.core.alarm import Level
from haechi.services.watch.bind import Program, Slots, Step
from haechi.services.watch.rules import LevelRule, Other, Rule, Scalar
from haechi.services.watch.series import RESTLESS, Series


class Latch:
    """One level of a watcher. `since` is when what would flip it began to hold, None when it does not."""

    __slots__ = ("on", "since", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.on = False
        self.since: int | None = None

    @property
    def rule(self) -> LevelRule:
        return self.step.rule

    @property
    def level(self) -> Level:
        return self.step.rule.level

    def look(self, at: int, applies: bool, slots: Slots) -> bool:
        """Looks at the conditions at this instant; True when it flipped. An unknown condition stops running times."""
        rule, when, _ = self.step
        holds = when(slots) if applies else False
        if not self.on:
            if holds is not True:
                self.since = None
                return False
            wait = rule.for_us
        else:
            if holds or not self._ended(holds, applies, slots):
                self.since = None
                return False
            wait = rule.clear_for_us if applies else 0
        if self.since is None:
            self.since = at
        if at - self.since < wait:
            return False
        self.on, self.since = not self.on, None
        return True

    def _ended(self, holds: bool | None, applies: bool, slots: Slots) -> bool:
        if not applies:
            return True
        clear = self.step.clear
        return holds is False if clear is None else clear(slots) is True

    @property
    def due(self) -> int | None:
        """When it flips if nothing else happens."""
        if self.since is None:
            return None
        return self.since + (self.rule.clear_for_us if self.on else self.rule.for_us)


class Watcher:
    """A rule bound to an entity. `step` at each observation and at each due instant; `level` is what it says now."""

    __slots__ = (
        "at",
        "due",
        "entity",
        "latches",
        "level",
        "program",
        "saved",
        "simple",
        "slots",
        "suppressed",
    )  # fmt: skip

    def __init__(self, program: Program, entity: str, slots: Slots) -> None:
        """`slots`: the entity's series, in the order of `program.names`."""
        self.program, self.entity, self.slots = program, entity, slots
        program.prepare(slots)
        self.latches = tuple(Latch(one) for one in program.steps)
        self.simple = program.rule.hours.always
        self.suppressed = False
        self.level: Level | None = None
        self.at = -1
        self.due: int | None = None
        self.saved = False  # whether the store holds timers of it

    @property
    def rule(self) -> Rule:
        return self.program.rule

    @property
    def series(self) -> dict[str, Series]:
        """What the rule reads, by attribute."""
        return dict(zip(self.program.names, self.slots, strict=True))

    @property
    def silences(self) -> list[tuple[Series, int]]:
        """The series that may not be silent, and for how long (microseconds)."""
        return [(self.slots[slot], span) for slot, span in self.program.silences]

    def limit(self, limit: Scalar | Other) -> float | None:
        """The number a comparison of the rule is made with now."""
        return self.program.limit(limit)(self.slots)

    def catch_up(self) -> None:
        """What its series took in while they were calm has been seen."""
        for one in self.slots:
            self.at = max(self.at, one.at)

    def stir(self) -> None:
        """What its series say next is to be evaluated, whatever it is."""
        for one in self.slots:
            one.until = RESTLESS

    def step(self, at: int) -> bool:
        """Evaluates at an instant (never before the last one); True when level, suppression or a running time
        changed."""
        self.catch_up()
        at = max(at, self.at)
        self.at = at
        applies = self.simple or self.rule.hours.holds(at)
        changed, slots = False, self.slots
        for latch in self.latches:
            before = latch.since
            flipped = latch.look(at, applies, slots)
            changed = changed or flipped or latch.since != before
        if self.program.suppress is not None:
            suppressed = self.program.suppress(slots) is True
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
        return max(one.seq for one in self.slots)

    def dump(self) -> dict[str, Any]:
        """What `load` needs to go on, as JSON."""
        self.catch_up()
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
        self.at = max(dumped["at"], *(one.at for one in self.slots))
        self.suppressed, self.saved = dumped["suppressed"], True
        for one in self.latches:
            one.on, one.since = dumped["latches"].get(one.level.word, (False, None))
        self.level = next((one.level for one in self.latches if one.on), None)
        self.due = self._next_due(self.at)

    def settle(self) -> None:
        """After a restart, when the store held no timers: quiet since the newest observation."""
        self.at = max((one.at for one in self.slots), default=-1)
        self.due = None if self.simple or self.at < 0 else self._next_due(self.at)
