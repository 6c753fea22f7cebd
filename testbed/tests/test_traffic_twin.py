"""The traffic twin as a whole: every vehicle accounted for, the same again from a seed, accidents and signals felt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traffic_roads import MODEL, SHAPE, corridor, crossroads

from haechi_testbed.clock import parse_instant
from haechi_testbed.twins.traffic.config import TrafficConfig, load
from haechi_testbed.twins.traffic.demand import is_day_off, local_s, weights
from haechi_testbed.twins.traffic.twin import TrafficTwin

CITY = Path(__file__).parents[2] / "cities" / "gimpo" / "testbed"


def at(text: str) -> float:
    return local_s(parse_instant(f"{text}+09:00"), 9.0)


NOON, RUSH = at("2026-11-23T12:00:00"), at("2026-11-23T07:30:00")


@pytest.fixture(scope="module")
def gimpo() -> TrafficConfig:
    return load(CITY)


def test_every_vehicle_that_set_out_is_on_the_way_or_has_arrived_to_the_last_bit(gimpo: TrafficConfig) -> None:
    twin = TrafficTwin(gimpo, 5, RUSH)
    road = max(gimpo.stations)
    for minute in range(30):
        if minute == 5:
            twin.apply("accident", road, True)
            twin.apply("signal_failure", "TS-01", True)
        twin.step(60)
        assert twin.entered == twin.left + twin.on_the_way
    assert twin.left > 3000
    assert twin.cells.count.min() >= 0.0
    assert (twin.cells.count <= twin.cells.room + 1e-6).all()


def test_the_same_seed_gives_the_same_traffic_however_the_steps_are_cut(gimpo: TrafficConfig) -> None:
    first, again, other = (TrafficTwin(gimpo, seed, RUSH) for seed in (5, 5, 6))
    for _ in range(3):
        first.step(60)
        other.step(60)
    for _ in range(180):
        again.step(1)
    assert first.observe() == again.observe() != other.observe()
    assert (first.cells.count == again.cells.count).all()


def test_a_minute_of_detectors_lies_on_the_fundamental_diagram() -> None:
    twin = TrafficTwin(replace(corridor(2400.0), model=replace(MODEL, saturation_h=1800.0)), 1, NOON)
    free = [twin.observe()["a1"] for _ in range(30) if twin.step(60) is None]
    speed = np.mean([one["speed"] for one in free])
    count, occupancy = (np.mean([one[name] for one in free]) for name in ("count", "occupancy"))
    assert speed == pytest.approx(72.0, rel=1e-3)
    density = count * 60 / speed / 2  # vehicles a kilometre and lane
    assert occupancy == pytest.approx(density / 1000 * MODEL.loop_m, rel=0.05)
    twin.apply("accident", "b", True, 0.5)
    twin.step(2400)
    jam = twin.observe()["a2"]
    assert jam["speed"] < 12.0
    flow = 0.35 * 2 * SHAPE.capacity * 60
    assert jam["count"] == pytest.approx(flow, abs=2), "what the other lane lets through, HCM 2010"
    assert jam["occupancy"] == pytest.approx(MODEL.loop_m * (SHAPE.jam - 0.35 * SHAPE.capacity / SHAPE.wave), rel=0.05)


def test_an_accident_is_a_queue_upstream_and_less_traffic_downstream_until_it_is_cleared() -> None:
    twin = TrafficTwin(corridor(3300.0), 1, NOON)
    twin.step(1800)
    before = twin.observe()
    twin.apply("accident", "a", True)
    twin.step(1500)
    during = twin.observe()
    twin.apply("accident", "a", False)
    twin.step(3000)
    after = twin.observe()
    assert during["a1"]["occupancy"] > 5 * before["a1"]["occupancy"]
    assert during["b1"]["count"] < 0.6 * before["b1"]["count"]
    assert twin.road("a")["speed"] > 60.0
    assert after["a1"]["occupancy"] == pytest.approx(before["a1"]["occupancy"], rel=0.5)


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_signal_lets_through_what_its_green_allows(share: float) -> None:
    twin = TrafficTwin(crossroads(share), 1, NOON)
    twin.step(1800)
    counts = [twin.observe()["b1"]["count"] for _ in range(60) if twin.step(60) is None]
    green = share * (1 - 2 * 4.0 / 120.0)
    assert np.mean(counts) == pytest.approx(min(green * 2 * 1800, 3000 * weights(NOON)["other"]) / 60, rel=0.06)


def test_a_longer_cycle_set_by_hand_lets_more_through() -> None:
    passed = []
    for cycle in (60, 0, 240):
        twin = TrafficTwin(crossroads(0.4), 1, NOON)
        twin.signals.set("TS-01", "cycle", cycle)
        twin.step(1200)
        passed.append(sum(twin.observe()["b1"]["count"] for _ in range(20) if twin.step(60) is None))
    assert passed == sorted(passed)
    assert passed[0] < 0.95 * passed[2]


def test_workdays_have_two_peaks_and_days_off_one(gimpo: TrafficConfig) -> None:
    assert [is_day_off(int(at(f"2026-11-{day}T00:00:00") // 86_400)) for day in range(20, 27)] == [
        False, True, True, False, False, False, False,
    ]  # fmt: skip
    work = [sum(weights(at(f"2026-11-23T{hour:02d}:00:00")).values()) for hour in range(24)]
    off = [sum(weights(at(f"2026-11-22T{hour:02d}:00:00")).values()) for hour in range(24)]
    assert max(work[6:10]) > 1.2 * work[11] < 0.8 * max(work[16:20])
    assert max(work) > max(off)
    assert 11 <= off.index(max(off)) <= 18
    assert min(work[1:4]) < 0.1 * max(work)


def test_the_hour_before_the_start_is_already_driven(gimpo: TrafficConfig) -> None:
    twin = TrafficTwin(gimpo, 5, NOON)
    assert twin.now_s == NOON
    before = twin.on_the_way
    twin.step(1800)
    assert twin.on_the_way == pytest.approx(before, rel=0.2)


def test_what_it_does_not_know_it_names(gimpo: TrafficConfig) -> None:
    twin = TrafficTwin(corridor(100.0), 1, NOON)
    for fault, target in (("accident", "z"), ("burst", "a"), ("signal_failure", "TS-99")):
        with pytest.raises(ValueError, match="accident@<road>"):
            twin.apply(fault, target, True)
