"""What the rules of water say of the simulated Gimpo: nothing on a normal morning, the right thing in a fault."""

import pytest
from dry_city import DryCity

from haechi_testbed.clock import SECOND

BURSTS = ["pipe17", "pipe205", "pipe336", "pipe460", "pipe571", "pipe693"]  # DN 100 to the trunk's DN 500


@pytest.mark.slow
def test_a_normal_morning_raises_no_alarm() -> None:
    city = DryCity("2026-11-22T05:00:00+09:00", seed=3)
    city.run(4 * 3600)
    assert city.alarms() == []


@pytest.mark.parametrize("pipe", BURSTS)
def test_a_burst_raises_an_alarm_in_its_district_within_half_a_minute(pipe: str) -> None:
    city = DryCity("2026-11-22T12:00:00+09:00", seed=5)
    city.run(300)
    assert city.alarms() == []
    begun = city.now_us
    shown_by = city.part.apply("burst", pipe, True, 1.0)
    city.run(120)
    soon = [(rule, entity) for at, rule, entity, _ in city.raised if at - begun <= 30 * SECOND]
    assert any(rule.startswith(("water.pressure_", "water.inflow_")) for rule, entity in soon if entity in shown_by)


def test_a_failed_pump_is_named_and_its_consequences_follow() -> None:
    city = DryCity("2026-11-22T12:00:00+09:00", seed=5)
    city.run(300)
    city.part.apply("pump_failure", "pump1", True, 1.0)
    city.run(120)
    assert "water.pump_failure pump1 alert" in city.alarms()
    assert any(one.startswith("water.pressure_") for one in city.alarms())


def test_a_stuck_sensor_raises_a_maintenance_case_and_never_a_serious_alarm() -> None:
    city = DryCity("2026-11-22T03:30:00+09:00", seed=5)
    city.run(300)
    city.part.apply("stuck", "WP-030", True, 1.0)
    city.run(1800)
    assert city.alarms() == ["water.pressure_stuck WP-030 caution"]


def test_a_silent_sensor_is_missed_after_five_minutes() -> None:
    city = DryCity("2026-11-22T12:00:00+09:00", seed=5)
    city.run(300)
    begun = city.now_us
    city.part.apply("silent", "WP-040", True, 1.0)
    city.run(500)
    assert city.alarms() == ["water.pressure_silent WP-040 caution"]
    assert 290 * SECOND <= city.raised[0][0] - begun <= 320 * SECOND


def test_a_drifting_sensor_leaves_its_normal_range_and_is_noticed() -> None:
    city = DryCity("2026-11-22T12:00:00+09:00", seed=5)
    city.run(300)
    city.part.apply("drifting", "WP-010", True, 2.0)
    city.run(3600)
    assert city.alarms() == ["water.pressure_high WP-010 attention"]
