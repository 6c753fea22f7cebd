"""The traffic twin beside measured traffic: the daily course of speed in Los Angeles, the signals of Bologna."""

import csv
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from haechi_testbed.clock import parse_instant
from haechi_testbed.twins.traffic.config import TrafficConfig, load
from haechi_testbed.twins.traffic.demand import local_s
from haechi_testbed.twins.traffic.twin import TrafficTwin

CITY = Path(__file__).parents[2] / "cities" / "gimpo" / "testbed"
SHARED = Path(__file__).parents[3] / "shared" / "data"
LOS_ANGELES, BOLOGNA = SHARED / "los_loop" / "los_speed.csv", SHARED / "sumo_bologna" / "bologna.tar.gz"
HOURS = range(5, 21)  # at night a city's speed is that of its signals, a freeway's is free


@pytest.fixture(scope="module")
def gimpo() -> TrafficConfig:
    return load(CITY)


@pytest.fixture(scope="module")
def monday(gimpo: TrafficConfig) -> dict[str, np.ndarray]:
    """Speed of each watched road by its limit, vehicles of each loop and their occupancy, by minute of a workday."""
    twin = TrafficTwin(gimpo, 1, local_s(parse_instant("2026-11-23T05:00:00+09:00"), 9.0))
    rows: dict[str, list[list[float]]] = {"speed": [], "count": [], "occupancy": []}
    for _ in range(60 * len(HOURS)):
        twin.step(60)
        rows["speed"].append([twin.road(one)["speed"] / 3.6 / gimpo.roads[one].speed for one in gimpo.stations])
        for name in ("count", "occupancy"):
            rows[name].append([one[name] for one in twin.observe().values()])
    return {name: np.array(one) for name, one in rows.items()}


def hourly(minutes: np.ndarray) -> np.ndarray:
    return np.asarray(minutes.mean(axis=1).reshape(-1, 60).mean(axis=1))


def test_a_workday_has_free_hours_rush_hours_and_no_standstill(monday: dict[str, np.ndarray]) -> None:
    """What its README says of a workday; a change of model or world that moves it should be seen."""
    speed, flow = hourly(monday["speed"]), monday["count"].reshape(len(HOURS), 60, -1).sum(axis=1)
    assert 0.80 < speed[0] < 0.90, "before six the speed is that of the signals"
    rush = [hour for hour in HOURS if speed[hour - 5] < 0.79]
    assert set(rush) >= {7, 8, 17, 18}
    assert not {5, 11, 12, 13} & set(rush)
    assert speed.min() > 0.70
    assert flow[[2, 13]].sum(axis=1).min() > 1.15 * flow[6].sum()
    assert 1900 < flow.max() < 4 * 1900 * 0.6, "the fullest loop of four lanes at a signal"
    assert 0.9 < monday["occupancy"].max() < 1.0, "queues at the busiest stop lines"
    assert np.percentile(monday["occupancy"], 95) < 0.3


@pytest.mark.skipif(not LOS_ANGELES.exists(), reason=f"{LOS_ANGELES} is not here (METR-LA, not redistributed)")
def test_the_course_of_speed_over_a_workday_is_that_of_los_angeles(monday: dict[str, np.ndarray]) -> None:
    with LOS_ANGELES.open(encoding="utf-8") as lines:
        rows = np.array([[float(value) for value in row] for row in list(csv.reader(lines))[1:]])
    relative = (rows / np.percentile(rows, 95, axis=0)).mean(axis=1).reshape(7, 24, 12).mean(axis=2)
    there = relative[[0, 1, 4, 5, 6]].mean(axis=0)[HOURS.start : HOURS.stop]  # 2012-03-01 was a Thursday
    here = hourly(monday["speed"])
    assert np.corrcoef(there, here)[0, 1] > 0.75
    for low, high in ((6, 10), (15, 20)):
        slowest = [low + int(one[low - 5 : high - 5].argmin()) for one in (there, here)]
        assert abs(slowest[0] - slowest[1]) <= 1, "the slowest hour of each rush"


@pytest.mark.skipif(not BOLOGNA.exists(), reason=f"{BOLOGNA} is not here (SUMO scenarios, EPL-2.0)")
def test_signal_cycles_are_as_long_as_those_that_run_in_bologna(gimpo: TrafficConfig) -> None:
    with tarfile.open(BOLOGNA) as archive:
        file = archive.extractfile("bologna/joined/joined_tls.add.xml")
        assert file is not None
        logics = ElementTree.parse(file).iter("tlLogic")
        cycles = sorted(sum(float(one.get("duration", "0")) for one in logic.iter("phase")) for logic in logics)
    assert cycles[0] <= min(gimpo.cycles.values()) <= max(gimpo.cycles.values()) <= 1.2 * cycles[-1]
