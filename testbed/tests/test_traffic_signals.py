"""Signals: greens as planned, plans by the hour, setpoints at the end of a cycle, offsets reached step by step."""

from dataclasses import replace

import numpy as np
import pytest
from traffic_roads import crossroads

from haechi_testbed.twins.traffic.signals import FLASH_SHARE, Signals

MONDAY = 20_780 * 86_400.0  # 2026-11-23 00:00, local
PLANNED = replace(
    crossroads(0.6), cycles={1: 120.0, 4: 90.0}, workday=(4,) * 6 + (1,) * 18, day_off=(4,) * 9 + (1,) * 15
)
PLANNED = replace(
    PLANNED,
    signals={
        "TS-01": replace(PLANNED.signals["TS-01"], shares={1: (0.6, 0.4), 4: (0.5, 0.5)}, offsets={1: 20.0, 4: 0.0})
    },
)


def greens(signals: Signals, start: float, slices: int) -> np.ndarray:
    return np.array([signals.greens(start + 5.0 * number, 5.0) for number in range(slices)])


def test_each_stage_is_green_for_its_share_and_never_with_another() -> None:
    start = MONDAY + 12 * 3600
    shown = greens(Signals(PLANNED, start), start, 24 * 10)
    assert shown.mean(axis=0) == pytest.approx([0.6 * 112 / 120, 0.4 * 112 / 120])
    assert (shown.sum(axis=1) <= 1.0 + 1e-9).all()


def test_the_offset_says_when_the_first_stage_begins() -> None:
    start = MONDAY + 12 * 3600
    signals = Signals(PLANNED, start)
    assert signals.stage("TS-01", start + 19.9) == 2
    assert signals.stage("TS-01", start + 20.1) == 1


def test_the_hour_chooses_the_plan_and_a_setpoint_overrules_it() -> None:
    signals = Signals(PLANNED, MONDAY + 5 * 3600)
    assert signals.show("TS-01", MONDAY + 5 * 3600)["plan"] == 4
    greens(signals, MONDAY + 5 * 3600, 900)
    assert signals.show("TS-01", MONDAY + 6.25 * 3600) == {
        "mode": 1, "stage": pytest.approx(1.5, abs=0.5), "plan": 1, "cycle": 120.0, "offset": 20.0,
    }  # fmt: skip
    signals.set("TS-01", "plan", 4)
    assert signals.show("TS-01", MONDAY + 6.25 * 3600)["plan"] == 1, "not before the cycle ends"
    greens(signals, MONDAY + 6.25 * 3600, 60)
    assert signals.show("TS-01", MONDAY + 6.4 * 3600)["plan"] == 4
    assert signals.show("TS-01", MONDAY + 6.4 * 3600)["mode"] == 3


def test_a_new_offset_is_reached_by_cycles_a_little_longer() -> None:
    start = MONDAY + 12 * 3600
    signals = Signals(PLANNED, start)
    signals.set("TS-01", "offset", 80.0)
    one, cycles = signals.controllers["TS-01"], set()
    for number in range(24 * 12):
        signals.greens(start + 5.0 * number, 5.0)
        cycles.add(one.cycle)
    assert one.begun % 120.0 == pytest.approx(80.0)
    assert max(cycles) <= 144.0, "never more than a fifth"


@pytest.mark.parametrize(
    ("field", "value"), [("plan", 9), ("cycle", 20), ("cycle", 300), ("offset", -1), ("colour", 1)]
)
def test_a_setpoint_it_cannot_run_is_refused(field: str, value: float) -> None:
    signals = Signals(PLANNED, MONDAY)
    with pytest.raises(ValueError, match="takes no"):
        signals.set("TS-01", field, value)


def test_flashing_shows_no_stage_and_lets_everyone_take_turns() -> None:
    signals = Signals(PLANNED, MONDAY)
    signals.controllers["TS-01"].flashing = True
    assert (greens(signals, MONDAY, 40) == FLASH_SHARE).all()
    assert signals.show("TS-01", MONDAY + 200)["mode"] == 2
    assert signals.stage("TS-01", MONDAY + 200) == 0
