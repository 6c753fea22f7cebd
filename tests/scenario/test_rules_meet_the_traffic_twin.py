"""What the rules of traffic say of the simulated Gimpo: nothing of a rush hour, the right thing in a fault."""

import pytest
from dry_traffic import DryTraffic

from haechi_testbed.clock import SECOND

RUSH, SUNDAY = "2026-11-23T07:20:00+09:00", "2026-11-22T11:00:00+09:00"


@pytest.mark.slow
def test_a_rush_hour_raises_no_alarm() -> None:
    city = DryTraffic(RUSH, seed=3)
    city.run(3600)
    assert city.alarms() == []


def busy(city: DryTraffic, lanes: int) -> str:
    """A watched road with so many lanes, the one with most traffic by day."""
    config = city.part.config
    low = {str(one["id"]): float(one.get("daytimeLow", 0)) for one in city.city.facilities}
    roads = [one for one in config.stations if config.roads[one].lanes == lanes]
    found = max(roads, key=lambda one: low[f"urn:ngsi-ld:TrafficFlowObserved:gimpo:{config.stations[one][0]}"])
    return f"RS-{found}"


@pytest.mark.parametrize(("start", "lanes", "within_min"), [(SUNDAY, 3, 15), (RUSH, 2, 12)])
def test_an_accident_is_suspected_on_its_road_and_over_when_the_lanes_are_free(
    start: str, lanes: int, within_min: int
) -> None:
    city = DryTraffic(start, seed=5)
    city.run(300)
    assert city.alarms() == []
    begun, road = city.now_us, busy(city, lanes)
    (shown_by,) = city.part.apply("accident", road, True, 1.0)
    city.run(within_min * 60)
    first = next(at for at, rule, entity, _ in city.raised if (rule, entity) == ("traffic.incident", shown_by))
    assert 60 * SECOND < first - begun <= within_min * 60 * SECOND
    assert {rule for _, rule, _, _ in city.raised} <= {"traffic.incident", "traffic.congestion", "traffic.spillback"}
    city.part.apply("accident", road, False, 1.0)
    city.run(1500)
    quiet = city.now_us - 300 * SECOND
    assert city.alarms(quiet) == []


def test_each_fault_of_a_device_is_named_and_nothing_else() -> None:
    city = DryTraffic(SUNDAY, seed=5)
    city.run(300)
    one, two = sorted(city.part.config.detectors)[10:30:10]
    city.part.apply("stuck", one, True, 1.0)
    city.part.apply("silent", two, True, 1.0)
    city.part.apply("signal_failure", "TS-03", True, 1.0)
    city.part.apply("silent", "TS-05", True, 1.0)
    road = busy(city, 3).removeprefix("RS-")
    dead = city.part.config.stations[road][1]
    city.part.apply("detector_dead", dead, True, 1.0)
    city.run(1260)
    assert sorted(city.alarms()) == sorted(
        [
            f"traffic.detector_stuck {one} caution",
            f"traffic.detector_silent {two} caution",
            "traffic.signal_flashing TS-03 alert",
            "traffic.signal_silent TS-05 caution",
            f"traffic.detector_dead {dead} caution",
        ]
    )
