"""The ISA-18.2 state machine against a reference model small enough to read: hypothesis looks for a difference."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from watch_city import City, observed, rules

RULE = """
@high
suppress = { attribute = "mode", equals = "test" }
[rule.levels.caution]
when = { above = 5.0 }
[rule.levels.serious]
when = { above = 10.0 }
"""
STEP = 10.0
LEVELS = {1.0: 0, 7.0: 1, 12.0: 2}
ACTS: list[tuple[str, Any]] = [
    *(("observe", value) for value in (1.0, 7.0, 7.0, 12.0)),
    *(("shelve", duration) for duration in (5.0, 25.0, 95.0, 95.0)),
    *(("mode", mode) for mode in ("on", "test", "on")),
    *(
        (kind, None)
        for kind in (
            "acknowledge",
            "acknowledge",
            "unshelve",
            "unshelve",
            "unshelve",
            "remove",
            "restore",
            "restore",
            "restart",
        )
    ),
]


class Reference:
    """What an operator expects, said in another way than the code: facts, from which the state follows."""

    def __init__(self) -> None:
        self.active, self.level, self.acknowledged, self.exists, self.count = False, 0, False, False, 0
        self.shelf: float | None = None
        self.removed = self.suppressed = False

    @property
    def state(self) -> str:
        if not self.exists:
            return "normal"
        if self.removed:
            return "out_of_service"
        if self.shelf is not None:
            return "shelved"
        if self.suppressed and self.active:
            return "suppressed"
        if self.active:
            return "acknowledged" if self.acknowledged else "unacknowledged"
        return "returned_unacknowledged"

    def settle(self) -> None:
        """An alarm that is neither active nor waiting for anybody has ended."""
        aside = self.removed or self.shelf is not None
        if self.exists and not aside and not self.active and self.acknowledged:
            self.exists = False

    def value(self, level: int) -> None:
        if level and not self.active:
            if not self.exists:
                self.count = 0
            self.exists, self.count, self.acknowledged = True, self.count + 1, False
        elif level > self.level:
            self.acknowledged = False
        if not level and self.active and self.state == "suppressed":
            self.acknowledged = True  # nobody was ever asked
        self.active, self.level = level > 0, level
        self.settle()

    def mode(self, suppressed: bool) -> None:
        if self.suppressed and not suppressed and self.state == "suppressed":
            self.acknowledged = False  # it asks anew
        self.suppressed = suppressed

    def acknowledge(self) -> bool:
        if self.state not in {"unacknowledged", "returned_unacknowledged"}:
            return False
        self.acknowledged = True
        self.settle()
        return True

    def shelve(self, until: float) -> bool:
        if self.state not in {"unacknowledged", "acknowledged", "returned_unacknowledged"}:
            return False
        self.shelf = until
        return True

    def leave_shelf(self, by_hand: bool) -> bool:
        if self.state != "shelved":
            return False
        self.shelf, self.acknowledged = None, by_hand or not self.active
        self.settle()
        return True

    def remove(self) -> bool:
        if self.state in {"normal", "out_of_service"}:
            return False
        self.shelf, self.removed = None, True
        return True

    def restore(self) -> bool:
        if self.state != "out_of_service":
            return False
        self.removed, self.acknowledged = False, not self.active
        self.settle()
        return True


class Machine(RuleBasedStateMachine):
    """Random values, operator commands, time and restarts."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.city, self.model, self.now = City(path, rules(path, RULE)), Reference(), 0.0
        self.city.feel((0, 1.0))

    def step(self) -> float:
        self.now += STEP
        if self.model.shelf is not None and self.model.shelf <= self.now:
            self.model.leave_shelf(by_hand=False)
        for before in (8, 2):  # the first after a restart only finds that the log is at its end
            self.city.tick(self.now - before)
        self.city.tick(self.now)
        return self.now

    def latest(self) -> str:
        found = self.city.store.find("alarms", order="-raised_at", limit=1)
        return found[0]["id"] if found else "none"

    def order(self, kind: str, expected: bool, **fields: object) -> None:
        named = {"alarms": [self.latest()]} if kind == "alarm.acknowledge" else {"alarm": self.latest()}
        assert self.city.order(kind, self.now, **named, **fields)["ok"] is expected

    # one rule over a list, not a rule for each: hypothesis leaves whole rules out of most runs, and then little happens
    @rule(act=st.sampled_from(ACTS))
    def act(self, act: tuple[str, Any]) -> None:
        if act[0] == "restart":
            self.city.restart()
            return
        now = self.step()
        if act[0] == "observe":
            self.city.hear(observed(now, act[1]))
            self.model.value(LEVELS[act[1]])
        elif act[0] == "mode":
            self.city.hear(observed(now, act[1], "mode"))
            self.model.mode(act[1] == "test")
        else:
            self.operate(now, *act)

    def operate(self, now: float, kind: str, duration: Any) -> None:
        model = self.model
        if kind == "shelve":
            self.order("alarm.shelve", model.shelve(now + duration), duration_s=duration, reason="known")
        elif kind == "acknowledge":
            self.order("alarm.acknowledge", model.acknowledge())
        elif kind == "unshelve":
            self.order("alarm.unshelve", model.leave_shelf(by_hand=True))
        elif kind == "remove":
            self.order("alarm.out_of_service", model.remove(), reason="works")
        else:
            self.order("alarm.return_to_service", model.restore())

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "city"):
            return
        open_ones = self.city.store.find("alarms", {"open": True})
        state = open_ones[0]["state"] if open_ones else "normal"
        assert len(open_ones) <= 1
        assert state == self.model.state
        if open_ones:
            assert open_ones[0]["condition_active"] is self.model.active
            assert open_ones[0]["count"] == self.model.count
            if self.model.active:
                assert open_ones[0]["level"] == ["", "caution", "serious"][self.model.level]

    @invariant()
    def every_transition_starts_where_the_last_one_ended(self) -> None:
        if not hasattr(self, "city"):
            return
        ends: dict[str, str] = {}
        for one in self.city.store.find("transitions", order="id", limit=100_000):
            assert one["from"] == ends.get(one["alarm"], "normal")
            ends[one["alarm"]] = one["to"]

    def teardown(self) -> None:
        if hasattr(self, "city"):
            self.city.watch.close()
            self.folder.cleanup()


TestIsaStates = Machine.TestCase
TestIsaStates.settings = settings(
    max_examples=45, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
