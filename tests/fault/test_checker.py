"""The checker of the fault runs sees each kind of broken promise, and the plan is a function of its seed alone."""

from collections.abc import Callable
from copy import deepcopy

import pytest
from fault_checks import MEGABYTES, Asked, Command, Found, Promise, Row, problems
from fault_kinds import DISK, LOCKED
from fault_plan import LATE_MS, describe, plan_of

ROWS = [Row("urn:a", "pressure", at, float(at)) for at in (1, 2, 3)]
DOUBT = Row("urn:a", "pressure", 0, 9.0)
ONCE, MOVED = [("normal", "raised")], [("normal", "raised"), ("raised", "normal")]


def kept() -> tuple[Promise, Found]:
    """A promise, and a platform that kept it."""
    promise = Promise({*ROWS, DOUBT}, set(ROWS), {"{"}, {"note 0", "note 1"}, {"note 0"}, {"urn:a": 2, "urn:b": 0})
    promise.asked, promise.written = [Asked(310, "c1"), Asked(320, "c2")], [310, 310]  # the second time it is put back
    promise.shown, promise.counter = frozenset({("urn:count", 1.0)}), "urn:count"
    account = "balances: received = stored + rejected + quarantined"
    rows = [*ROWS, Row("urn:count", "flow", 7, 1.0)]
    context = {"urn:a": (3, 3.0), "urn:count": (7, 1.0)}
    found = Found(rows, context, ["{"], ["note 0"], {"urn:a": [MOVED]}, account, 0)
    found.commands = [
        Command("c1", 310, "verified", open=False, previous=300, undoing=False),
        Command("c2", 320, "undone", open=False, previous=310, undoing=True),
    ]
    return promise, found


def lose_one(found: Found) -> None:
    del found.history[0]


def double_one(found: Found) -> None:
    found.history.append(ROWS[0])


def change_a_value(found: Found) -> None:
    found.history[1] = ROWS[1]._replace(value=7.0)


def fall_back(found: Found) -> None:
    found.context = {**found.context, "urn:a": (2, 2.0)}


def forget_a_sensor(found: Found) -> None:
    found.context = {}


def lose_a_note(found: Found) -> None:
    found.notes = []


def double_a_note(found: Found) -> None:
    found.notes = ["note 0", "note 0"]


def lose_quarantine(found: Found) -> None:
    found.quarantine = []


def lose_an_alarm(found: Found) -> None:
    found.alarms = {}


def double_an_alarm(found: Found) -> None:
    found.alarms = {"urn:a": [MOVED, MOVED]}


def double_a_transition(found: Found) -> None:
    found.alarms = {"urn:a": [[*ONCE, *MOVED]]}


def stop_half_way(found: Found) -> None:
    found.alarms = {"urn:a": [ONCE]}


def raise_a_false_alarm(found: Found) -> None:
    found.alarms = {"urn:a": [MOVED], "urn:b": [ONCE]}


def lose_a_command(found: Found) -> None:
    found.commands = []


def double_a_command(found: Found) -> None:
    found.commands.append(found.commands[0])


def leave_a_command_open(found: Found) -> None:
    found.commands[0] = found.commands[0]._replace(open=True)


def write_what_was_not_undone(found: Found) -> None:
    found.commands[1] = found.commands[1]._replace(undoing=False)


def verify_what_was_never_written(found: Found) -> None:
    found.commands[1] = found.commands[1]._replace(state="verified")


def invent_what_the_plc_showed(found: Found) -> None:
    found.history[-1] = found.history[-1]._replace(value=99.0)


def take_one_poll_twice(found: Found) -> None:
    found.history.append(found.history[-1]._replace(observed_at=8))
    found.context = {**found.context, "urn:count": (8, 1.0)}


def hold_too_much_memory(found: Found) -> None:
    found.megabytes = {"api": MEGABYTES + 1}


def lose_balance(found: Found) -> None:
    found.account_code = 1


def stay_behind(found: Found) -> None:
    found.account = "3 messages on the log are not in this account yet\n" + found.account


BROKEN = [
    lose_one,
    double_one,
    change_a_value,
    fall_back,
    forget_a_sensor,
    lose_a_note,
    double_a_note,
    lose_quarantine,
    lose_an_alarm,
    double_an_alarm,
    double_a_transition,
    stop_half_way,
    raise_a_false_alarm,
    lose_a_command,
    double_a_command,
    leave_a_command_open,
    write_what_was_not_undone,
    verify_what_was_never_written,
    invent_what_the_plc_showed,
    take_one_poll_twice,
    hold_too_much_memory,
    lose_balance,
    stay_behind,
]


def test_a_platform_that_kept_its_promises_has_no_problem() -> None:
    promise, found = kept()
    assert problems(promise, found) == []
    found.history.append(DOUBT)
    found.notes.append("note 1")
    assert problems(promise, found) == [], "what was sent and not acknowledged may be there"


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
def test_a_broken_promise_is_reported(broken: Callable[[Found], None]) -> None:
    promise, found = kept()
    broken(found)
    assert problems(promise, found)


def test_a_seed_is_always_the_same_plan_and_another_seed_another() -> None:
    plans = [plan_of(seed) for seed in range(20)]
    assert plans == deepcopy(plans) == [plan_of(seed) for seed in range(20)]
    assert len({describe(one) for one in plans}) == 20


def test_the_plans_hold_every_kind_of_disturbance() -> None:
    plans = [plan_of(seed) for seed in range(200)]
    faults = {(one.kind, one.target) for plan in plans for one in plan.faults}
    roles = ("gateway", "pipeline", "api", "nats-server")
    assert {(kind, role) for kind in ("kill", "kill_twice", "hang") for role in roles} <= faults
    assert ("kill", "supervisor") in faults
    assert {(kind, "disk") for kind in DISK} | {("mute", "plc"), ("jump", "clock")} <= faults
    assert {("lock", name) for name in LOCKED} <= faults
    jumps = [one.amount for plan in plans for one in plan.faults if one.kind == "jump"]
    assert min(jumps) < -60 and max(jumps) > 3600
    assert {one.durability for one in plans} == {"disk", "os"}
    shapes = {one.shape for plan in plans for one in plan.sends}
    assert shapes == {"whole", "malformed", "half", "wrong_secret"}
    assert all(len(plan.faults) >= 2 for plan in plans)
    late = [one for plan in plans for one in plan.sends if one.offset_ms < -LATE_MS // 2]
    assert any(one.value > 900 for one in late), "late ones beyond the limit must raise nothing"
