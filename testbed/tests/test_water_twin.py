"""The water twin: physics that repeats, demands that follow the day, faults that come and go."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from haechi_testbed.twins.water.config import load
from haechi_testbed.twins.water.twin import WaterTwin

TESTBED = Path(__file__).parents[2] / "cities" / "gimpo" / "testbed"
CONFIG = load(TESTBED)
NOON = 12 * 3600.0


@pytest.fixture
def twin() -> Iterator[WaterTwin]:
    one = WaterTwin(TESTBED / "water.inp", CONFIG, seed=5, second_of_day=NOON)
    one.step(300)
    yield one
    one.close()


def _pressure(twin: WaterTwin, name: str) -> float:
    return float(twin.observe()[name]["pressure"])


def test_the_same_seed_gives_the_same_water() -> None:
    seen = []
    for seed in (5, 5, 6):
        twin = WaterTwin(TESTBED / "water.inp", CONFIG, seed, NOON)
        twin.step(1800)
        seen.append(twin.observe())
        twin.close()
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_every_instrument_of_the_configuration_shows_something_plausible(twin: WaterTwin) -> None:
    shown = twin.observe()
    assert shown.keys() == {*CONFIG["pressure"], *CONFIG["flow"], *CONFIG["tanks"], *CONFIG["pumps"]}
    assert all(250 < _pressure(twin, name) < 650 for name in CONFIG["pressure"])
    assert all(20 < float(shown[name]["flow"]) < 120 for name in CONFIG["flow"])
    assert shown["pump1"]["running"] is True
    assert 20 < float(shown["pump1"]["power"]) < 300


def test_people_use_less_water_at_night() -> None:
    flows = []
    for hour in (3, 8):
        twin = WaterTwin(TESTBED / "water.inp", CONFIG, 5, hour * 3600.0)
        twin.step(60)
        flows.append(sum(float(twin.observe()[name]["flow"]) for name in CONFIG["flow"]))
        twin.close()
    assert flows[0] < 0.4 * flows[1]


def test_meters_count_what_the_districts_take(twin: WaterTwin) -> None:
    before, taken = twin.consumption(), 0.0
    for _ in range(60):
        twin.step(60)
        taken += sum(float(twin.observe()[name]["flow"]) for name in CONFIG["flow"]) / 60
    after = twin.consumption()
    assert all(after[name] >= before[name] for name in after)
    assert sum(after.values()) - sum(before.values()) == pytest.approx(taken, rel=0.01)


def test_a_burst_lowers_pressure_and_raises_inflow_until_it_is_repaired(twin: WaterTwin) -> None:
    area = twin.area_of("pipe17")
    meter = next(name for name, one in CONFIG["flow"].items() if one["area"] == area)
    sensors = [name for name, one in CONFIG["pressure"].items() if one["area"] == area]
    flow = float(twin.observe()[meter]["flow"])
    pressure = min(_pressure(twin, name) for name in sensors)
    twin.apply("burst", "pipe17", True)
    twin.step(30)
    assert float(twin.observe()[meter]["flow"]) > flow + 40
    assert min(_pressure(twin, name) for name in sensors) < pressure - 5
    twin.apply("burst", "pipe17", False)
    twin.step(30)
    assert float(twin.observe()[meter]["flow"]) == pytest.approx(flow, rel=0.1)
    assert min(_pressure(twin, name) for name in sensors) == pytest.approx(pressure, rel=0.01)


def test_two_bursts_at_one_node_end_one_by_one(twin: WaterTwin) -> None:
    flows = []
    for pipe, on in (("pipe1", True), ("pipe1", True), ("pipe1", False)):
        twin.apply("burst", pipe, on)
        twin.step(30)
        flows.append(sum(float(twin.observe()[name]["flow"]) for name in CONFIG["flow"]))
    assert flows[1] == pytest.approx(flows[0], rel=0.02), "the same burst twice is one burst"
    assert flows[2] < flows[0] - 20


def test_a_failed_pump_stands_still_though_it_is_told_to_run(twin: WaterTwin) -> None:
    twin.apply("pump_failure", "pump1", True)
    twin.step(60)
    pump = twin.observe()["pump1"]
    assert (pump["running"], pump["commanded"], pump["flow"], pump["power"]) == (False, True, 0.0, 0.0)
    twin.apply("pump_failure", "pump1", False)
    twin.step(60)
    assert float(twin.observe()["pump1"]["flow"]) > 300


def test_the_second_pump_comes_when_the_tank_runs_low(twin: WaterTwin) -> None:
    twin.apply("pump_failure", "pump1", True)
    hours = 0
    while not twin.observe()["pump2"]["running"]:
        twin.step(600)
        hours += 1
        assert hours < 60, "the tank never fell to where the second pump starts"
    assert float(twin.observe()["tank2"]["level"]) < CONFIG["pumps"]["pump2"]["start_below"] + 0.1


@pytest.mark.parametrize(("fault", "target"), [("burst", "pipe9999"), ("pump_failure", "pump9"), ("flood", "pipe1")])
def test_a_fault_that_cannot_be_is_refused_with_what_can(twin: WaterTwin, fault: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"pipe|pump"):
        twin.apply(fault, target, True)


def test_a_trunk_main_belongs_to_no_district(twin: WaterTwin) -> None:
    assert twin.area_of("pipe693") == ""
    assert twin.area_of("pipe17") == "D01"
