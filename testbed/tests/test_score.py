"""The score: which faults were seen, how late, and which alarms nothing explains."""

from typing import Any

from haechi_testbed.clock import SECOND, format_instant, parse_instant
from haechi_testbed.faults import Fault, Ran, from_json
from haechi_testbed.score import score

T0 = parse_instant("2026-11-22T00:00:00Z")
WP = "urn:ngsi-ld:WaterPressureSensor:gimpo:WP-001"
FAR = "urn:ngsi-ld:WaterPressureSensor:gimpo:WP-060"
BURST = Fault("F001", "burst", "pipe17", T0, T0 + 600 * SECOND, 1.0, (WP,))


def alarm(rule: str, entity: str, after_s: float) -> dict[str, Any]:
    return {"rule": rule, "entity": entity, "raised_at": format_instant(T0 + int(after_s * SECOND))}


def test_the_first_alarm_that_shows_a_fault_gives_its_delay() -> None:
    alarms = [alarm("water.pressure_low", WP, 40), alarm("water.pressure_drop", WP, 12)]
    (one,) = score([BURST], alarms).outcomes
    assert (one.detected, one.delay_s, one.alarms) == (True, 12.0, 2)
    assert one.rules == ("water.pressure_drop", "water.pressure_low")


def test_a_fault_nobody_noticed_is_missed() -> None:
    found = score([BURST], [])
    assert not found.outcomes[0].detected
    assert "NO" in found.text()
    assert "0 of 1 detected, 0 false alarms" in found.text()


def test_an_alarm_elsewhere_does_not_detect_a_burst_but_is_explained_by_it() -> None:
    found = score([BURST], [alarm("water.pressure_drop", FAR, 12)])
    assert not found.outcomes[0].detected
    assert found.false_alarms == ()


def test_an_alarm_of_another_kind_or_time_is_false() -> None:
    alarms = [
        alarm("water.pressure_silent", WP, 12),
        alarm("water.pressure_drop", WP, -60),
        alarm("water.pressure_drop", WP, 600 + 7200),
        alarm("air.pm25", "urn:ngsi-ld:AirQualityObserved:gimpo:AS-01", 12),
    ]
    found = score([BURST], alarms)
    assert not found.outcomes[0].detected
    assert len(found.false_alarms) == 4


def test_a_gateway_clock_a_little_behind_is_no_false_alarm() -> None:
    found = score([BURST], [alarm("water.pressure_drop", WP, -1.2)])
    assert found.outcomes[0].delay_s == 0.0
    assert found.false_alarms == ()


def test_what_a_stuck_sensor_does_elsewhere_is_not_explained() -> None:
    stuck = Fault("F002", "stuck", "WP-001", T0, T0 + 3600 * SECOND, 1.0, (WP,))
    found = score([stuck], [alarm("water.pressure_stuck", WP, 900), alarm("water.pressure_stuck", FAR, 900)])
    assert found.outcomes[0].delay_s == 900.0
    assert [one["entity"] for one in found.false_alarms] == [FAR]


def test_alarms_after_the_run_say_nothing_about_it() -> None:
    late = alarm("water.pressure_silent", FAR, 5000)
    assert score([BURST], [late], Ran(T0, T0 + 4000 * SECOND)).false_alarms == ()


def test_alarms_before_the_run_say_nothing_about_it() -> None:
    early = [alarm("safety.gateway_offline", FAR, -5)]
    assert score([BURST], early, Ran(T0, None)).false_alarms == ()
    assert score([BURST], early).false_alarms == tuple(early)


def test_the_ground_truth_reads_back_what_was_written() -> None:
    assert from_json(BURST.to_json()) == BURST


def test_the_same_alarms_in_another_order_give_the_same_score() -> None:
    alarms = [alarm("water.pressure_low", WP, 40), alarm("water.pressure_drop", WP, 12), alarm("air.pm25", FAR, 3)]
    assert score([BURST], alarms).to_json() == score([BURST], alarms[::-1]).to_json()
