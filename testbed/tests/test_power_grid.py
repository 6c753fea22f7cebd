"""The grid against load flows worked out by hand, and against itself: power is conserved, voltage falls with load."""

import math
from pathlib import Path

import numpy as np
import pytest

from haechi_testbed.twins.power.config import Line, Load, PowerConfig, Station, load
from haechi_testbed.twins.power.grid import LV_V, MV_V, PHASE_V, SECONDARY_V, Grid, State

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
MAIN = {"mva": 45.0, "uk": 0.145, "pk_kw": 190.0, "p0_kw": 0.0, "i0": 0.0, "taps": 8, "tap_size": 0.0125}
R_OHM, X_OHM = 0.5, 1.0  # of the feeder; a kilometre and a half of overhead line
LV_OHM = 0.02


def small(kw: float = 60.0, kva: float = 200.0) -> PowerConfig:
    """One main transformer, one feeder, one distribution transformer, one customer behind a low-voltage line."""
    settings = {
        "source": {"u_ref": 1.0, "short_circuit_mva": 1e9, "rx": 0.1},  # a bar that nothing moves
        "main": {"M": {"node": "bar", **MAIN, "target_kv": 22.9, "target_range": [21.8, 23.8]}},
        "bank": {"C": {"node": "bar", "step_kvar": 900.0, "steps": 4, "on": 0}},
        "feeder": {"F": {"main": "M", "line": "mv", "end": "m1", "rated_a": 252.0, "relay": "R"}},
    }
    lines = (
        Line("mv", "F", "bar", "m1", 22.9, R_OHM, X_OHM, 395.0),
        Line("lv", "F", "board", "house", 0.38, LV_OHM, 0.0, 230.0),
    )
    stations = (Station("T", "F", "m1", "board", kva, "FRTU", 0),)
    return PowerConfig(settings, lines, stations, (Load("L", "house", "T", "res", kw, 0.0, "", "", 0.0, 0.0),))


def state(grid: Grid, watts: float, vars_: float = 0.0, pv: float = 0.0) -> State:
    """Everything closed, taps in the middle, that load."""
    one = np.ones(1, bool)
    loads = np.array([watts]), np.array([vars_]), np.array([pv])
    return State(*loads, one.copy(), one.copy(), np.zeros(1, np.int8), np.zeros(1, np.int64), np.zeros(1))


def test_without_load_the_socket_has_what_the_transformer_gives() -> None:
    grid = Grid(small())
    flow = grid.solve(state(grid, 0.0))
    assert flow.load_pu[0] * PHASE_V == pytest.approx(230.0, rel=1e-3)
    assert flow.station["volts"][0] == pytest.approx(SECONDARY_V / math.sqrt(3), rel=1e-3)
    assert flow.main["kv"][0] == pytest.approx(22.9, rel=1e-4)


def test_the_drop_along_feeder_transformer_and_line_is_the_one_worked_out_by_hand() -> None:
    """A constant current at unity power factor: the drops of r add up, those of x turn the phasor."""
    grid = Grid(small())
    flow = grid.solve(state(grid, 60_000.0))
    amps = 60_000.0 / LV_V / math.sqrt(3)  # constant current: the same at any voltage
    up = LV_V / MV_V * (SECONDARY_V / LV_V)  # low to medium voltage, by the transformer's ratio
    main_z = complex(0.19 / 45, math.sqrt(0.145**2 - (0.19 / 45) ** 2)) * MV_V**2 / 45e6
    trafo_z = complex(0.011, 0.0485) * SECONDARY_V**2 / 200e3
    medium = MV_V / math.sqrt(3) - amps * up * (main_z + complex(R_OHM, X_OHM))
    low = medium * up - amps * (trafo_z + LV_OHM)
    # The load is in phase with its own voltage, so the phasor turns a little: by hand in a few rounds.
    for _ in range(20):
        turned = amps * low / abs(low)
        medium = MV_V / math.sqrt(3) - turned * up * (main_z + complex(R_OHM, X_OHM))
        low = medium * up - turned * (trafo_z + LV_OHM)
    no_load_a = 0.006 * 200e3 / SECONDARY_V / math.sqrt(3)  # the magnetising current, left out above
    assert flow.load_pu[0] * PHASE_V == pytest.approx(abs(low), abs=0.05)
    assert flow.station["amps"][0] == pytest.approx(amps, rel=1e-3)
    assert flow.feeder["amps"][0] == pytest.approx(amps * up, rel=0.02 + no_load_a / amps)
    assert flow.station["load"][0] == pytest.approx(amps / (200e3 / SECONDARY_V / math.sqrt(3)), rel=1e-3)


def test_what_the_source_gives_is_what_is_drawn_and_what_is_lost() -> None:
    grid = Grid(small())
    flow = grid.solve(state(grid, 60_000.0))
    amps = float(flow.station["amps"][0])
    lost = 3 * amps**2 * (LV_OHM + 0.011 * SECONDARY_V**2 / 200e3)  # low-voltage line and transformer
    lost += 3 * float(flow.feeder["amps"][0]) ** 2 * (R_OHM + 0.19 / 45 * MV_V**2 / 45e6)  # feeder and main transformer
    lost += 0.0018 * 200e3  # iron
    assert flow.source_w == pytest.approx(flow.drawn_w + lost, rel=1e-3)
    assert flow.drawn_w == pytest.approx(60_000.0 * float(flow.load_pu[0]), rel=1e-6)


def test_panels_lift_the_voltage_and_feed_back() -> None:
    grid = Grid(small())
    flow = grid.solve(state(grid, 5_000.0, pv=50_000.0))
    assert flow.load_pu[0] * PHASE_V > 230.0
    assert flow.feeder["p"][0] < 0
    assert flow.source_w == pytest.approx(flow.drawn_w - flow.given_w, abs=2_000.0)


def test_a_capacitor_bank_gives_what_its_steps_say_and_lifts_the_bar() -> None:
    grid = Grid(small())
    without = grid.solve(state(grid, 60_000.0, 30_000.0))
    three = state(grid, 60_000.0, 30_000.0)
    three.steps[:] = 3
    flow = grid.solve(three)
    assert flow.bank_q[0] == pytest.approx(3 * 900e3 * (flow.main["kv"][0] / 22.9) ** 2, rel=1e-3)
    assert flow.main["kv"][0] > without.main["kv"][0]


def test_a_tap_moves_the_bar_by_its_step() -> None:
    grid = Grid(small())
    lower = state(grid, 0.0)
    lower.taps[:] = 4
    assert grid.solve(lower).main["kv"][0] == pytest.approx(22.9 / 1.05, rel=1e-3)


def test_an_open_breaker_or_a_blown_fuse_leaves_nothing_behind_it() -> None:
    grid = Grid(small())
    for name in ("closed", "whole"):
        cut = state(grid, 60_000.0)
        getattr(cut, name)[:] = False
        flow = grid.solve(cut)
        assert flow.load_pu[0] == 0.0
        assert flow.station["volts"][0] == 0.0
        assert flow.drawn_w == 0.0
    assert flow.feeder["kv"][0] == pytest.approx(22.9, rel=1e-3), "the fuse is behind the feeder"


def test_a_load_beyond_what_the_line_can_carry_still_gives_an_answer() -> None:
    grid = Grid(small())
    far = state(grid, 60_000.0)
    far.foreign_w[:] = 5e9  # five gigawatts of constant power: no operating point
    flow = grid.solve(far)
    assert 0.0 <= flow.load_pu[0] < 0.5


def test_a_batch_gives_what_the_same_states_give_one_by_one() -> None:
    grid = Grid(small())
    states = [state(grid, watts) for watts in (10_000.0, 60_000.0, 120_000.0)]
    course = grid.course(states)
    for row, one in enumerate(states):
        flow = grid.solve(one)
        assert course["load_pu"][row] == pytest.approx(flow.load_pu, abs=1e-9)
        assert course["station_load"][row] == pytest.approx(flow.station["load"], rel=1e-6)


def test_every_line_and_transformer_of_gimpo_bears_the_worst_hours_of_the_year() -> None:
    """The day of each season in one batch, every customer at the mean of its kind: nothing is overloaded."""
    from haechi_testbed.twins.power import profiles
    from haechi_testbed.worlds.power_grid import COLDEST_C, HOTTEST_C

    config = load(CITY / "testbed")
    grid = Grid(config)
    states = []
    for weather in (COLDEST_C, HOTTEST_C):
        for hour in range(24):
            watts = dict.fromkeys(grid.load_nodes, 0.0)
            for one in config.loads:
                shape = 1.0 if one.category == "light" else profiles.factor(one.category, hour * 3600.0, weather)
                watts[one.node] += 1e3 * one.kw * shape
            p = np.array(list(watts.values()))
            rest = np.ones(len(config.feeders), bool), np.ones(len(config.stations), bool)
            taps, steps = np.full(len(config.mains), -1, np.int8), np.full(len(config.banks), 2, np.int64)
            states.append(State(p, 0.3 * p, 0 * p, *rest, taps, steps, np.zeros(len(config.feeders))))
    course = grid.course(states)
    assert course["station_load"].max() < 1.0
    assert course["main_load"].max() < 0.8
    assert course["feeder_amps"].max() < 252.0
    assert course["load_pu"].min() * PHASE_V > 205.0
