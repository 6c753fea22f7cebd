"""Who holds the platform up: each part is named by what was measured of it, with what to do."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from haechi.app.bottleneck import Look, verdicts
from haechi.app.work import Timed


def word(at: float, **changes: float) -> dict[str, dict[str, Any]]:
    """What the roles say at that second: the gateway takes 1,000 messages a second at a fifth of a core."""
    rates = {"gateway": 0.2, "waits": 0.0, "api": 0.1, "pipeline": 0.3, "busy": 0.2, "on_cpu": 0.1, "messages": 1000}
    rates |= {"append_s": 0.004, "append_s_now": 0.0, "api_late_s": 0.0} | changes
    intake = {"messages_total": at * rates["messages"], "appends_total": at * 50}
    projection = {"busy_s": at * rates["busy"], "cpu_s": at * rates["on_cpu"]}
    return {
        "gateway": {
            "process": {"cpu_s": at, "run_s": at * rates["gateway"], "wait_s": at * rates["waits"]},
            "intake": {**intake, "append_s_total": at * 50 * rates["append_s"], "append_s_now": rates["append_s_now"]},
        },
        "pipeline": {
            "process": {"cpu_s": at * rates["pipeline"]},
            "projections": dict.fromkeys(("context", "watch", "history"), projection),
        },
        "api": {"process": {"run_s": at * rates["api"], "wait_s": 0.0, "late_s": rates["api_late_s"]}},
    }


def look(span_s: float = 4.0, **changes: float) -> Look:
    before, after = word(100.0, **changes), word(100.0 + span_s, **changes)
    return Look(span_s, {role: (before[role], after[role]) for role in before}, sync_s=0.003)


def parts(one: Look) -> list[str]:
    return [verdict.part for verdict in verdicts(one)]


def test_a_platform_that_keeps_up_says_that_senders_set_the_pace() -> None:
    (found,) = verdicts(look())
    assert found.part == ""
    assert "1,000 messages/s: senders set the pace" in found.what


@pytest.mark.parametrize(
    ("ran", "waited", "move"), [(0.93, 0.02, "more samples in one message"), (0.4, 0.55, "few processors")]
)
def test_a_gateway_that_has_its_core_full_or_does_not_get_one_is_named(ran: float, waited: float, move: str) -> None:
    (found,) = verdicts(look(gateway=ran, waits=waited))
    assert found.part == "gateway"
    assert move in found.move


@pytest.mark.parametrize(("sync_s", "move"), [(0.2, "faster one"), (0.002, "nats-server.log")])
def test_slow_appends_are_the_disks_fault_when_a_sync_is_slow_too(sync_s: float, move: str) -> None:
    (found,) = verdicts(replace(look(append_s=0.3), sync_s=sync_s))
    assert (found.part, "300 ms" in found.what) == ("log", True)
    assert move in found.move
    assert parts(replace(look(append_s=0.004, append_s_now=3.0), sync_s=sync_s)) == ["log"]


def test_an_old_slow_append_says_nothing_of_now() -> None:
    quiet = look(append_s=0.3)
    assert parts(replace(quiet, words={role: (after, after) for role, (_, after) in quiet.words.items()})) == [""]


def test_a_log_that_does_not_answer_is_named_and_a_stopped_process_before_it() -> None:
    silent = Look(3.0, {}, log_answers=False, sync_s=0.2)
    (found,) = verdicts(silent)
    assert (found.part, "does not answer" in found.what) == ("log", True)
    (found,) = verdicts(replace(silent, states={"nats-server": "stopped", "gateway": ""}))
    assert (found.part, "kill -CONT" in found.move) == ("nats-server", True)


@pytest.mark.parametrize(
    ("changes", "move"),
    [
        ({"pipeline": 0.97, "busy": 0.9, "on_cpu": 0.3}, "processor"),
        ({"pipeline": 0.3, "busy": 0.9, "on_cpu": 0.1}, "disk"),
        ({"pipeline": 0.05, "busy": 0.01, "on_cpu": 0.01}, "projection_waits"),
    ],
)
def test_of_projections_that_are_late_the_one_others_wait_for_is_named_with_its_cause(
    changes: dict[str, float], move: str
) -> None:
    behind = {"context": 20_000, "watch": 30_000, "history": 900}
    (found,) = verdicts(replace(look(**changes), behind=behind))
    assert (found.part, found.what.startswith("context is 20,000 messages behind")) == ("pipeline", True)
    assert move in found.move


def test_a_pipeline_that_is_stopped_is_named_once() -> None:
    assert parts(replace(look(), behind={"context": 20_000}, states={"pipeline": "stopped"})) == ["pipeline"]


def test_an_api_that_answers_late_is_named() -> None:
    assert parts(look(api=0.97)) == ["api"]
    assert parts(look(api_late_s=2.5)) == ["api"]


def test_what_holds_up_the_rest_comes_first() -> None:
    assert parts(replace(look(append_s_now=5.0, gateway=0.95), behind={"history": 5_000})) == [
        "log",
        "gateway",
        "pipeline",
    ]


class Slow:
    """A projection that takes the clock's time."""

    name, subjects, after = "slow", frozenset({"obs"}), ("context",)

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def position(self) -> int:
        return 7

    def apply(self, records: Any, now: datetime) -> Any:
        self.clock[0] += 3
        self.during = self.timed.figures()
        if not records:
            raise OSError("the disk is full")
        return ()

    tick = apply

    def close(self) -> None:
        self.closed = True


def test_a_projection_at_work_says_how_long_also_while_it_is_and_when_it_fails() -> None:
    clock, now = [0.0], datetime(2026, 11, 22, tzinfo=UTC)
    slow = Slow(clock)
    slow.timed = timed = Timed(slow, lambda: clock[0], lambda: clock[0] / 3)  # type: ignore[attr-defined]
    assert (timed.name, timed.subjects, timed.after, timed.position()) == ("slow", frozenset({"obs"}), ("context",), 7)
    timed.apply([object()], now)  # type: ignore[list-item]
    assert slow.during["busy_s"] == 3.0
    with pytest.raises(OSError):
        timed.apply([], now)
    assert timed.figures() == {"busy_s": 6.0, "cpu_s": 2.0, "records": 1.0}
    timed.close()
    assert slow.closed
