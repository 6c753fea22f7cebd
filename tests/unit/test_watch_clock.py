"""Silence and the platform's clock: while rules catch up after a start, and when it was ahead for a while."""

from pathlib import Path

import pytest
from watch_city import City, clock, observed, rules

from haechi.services.watch import evaluator

SILENT_AND_HIGH = """
@silent
[rule.levels.attention]
when = { silence_s = 300 }
@high
[rule.levels.serious]
when = { above = 5.0 }
"""


def active(one: City) -> dict[str, bool]:
    return {alarm["rule"]: alarm["condition_active"] for alarm in one.alarms()}


def test_what_a_sensor_says_after_it_was_silent_counts_also_while_rules_catch_up(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, SILENT_AND_HIGH))
    one.feel((0, 1.0))
    one.tick(301)
    assert active(one) == {"silent": True}
    one.restart()
    late = [one.frame(observed(310, 9.0)), one.frame(observed(311, 1.0))]
    one.watch.apply(late, clock(4_000))
    assert active(one) == {"silent": False, "high": False}, "it was high for a second, an hour ago"


def test_a_clock_that_was_ahead_leaves_no_silence_behind(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, SILENT_AND_HIGH))
    one.feel((0, 1.0))
    one.tick(18_000)
    assert active(one) == {"silent": True}
    one.tick(10)
    one.feel((20, 9.0))
    assert active(one) == {"silent": False, "high": True}
    one.tick(319)
    assert active(one)["silent"] is False
    one.tick(321)
    assert active(one)["silent"] is True, "and silence is found again as soon as ever"


DOUBTED = """
@silent
maintenance = true
[rule.levels.attention]
when = { silence_s = 300 }
@high
[rule.levels.serious]
when = { above = 5.0 }
@serviced
maintenance = true
[rule.levels.attention]
when = { attribute = "mode", equals = "test" }
"""


def test_a_clock_that_leaps_ahead_makes_nobody_silent_and_what_is_on_its_way_counts(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.feel((0, 9.0))
    one.tick(2)
    one.leap(532)
    one.watch.apply([one.frame(observed(3, 1.0))], clock(533))
    assert active(one) == {"high": False}, "sent before the leap, read after it"
    one.leap(4)
    one.feel((5, 9.0))
    assert active(one) == {"high": True}
    one.tick(306)
    assert active(one) == {"high": True, "silent": True}, "as long after the last word as ever"


def test_a_pipeline_that_stood_still_reads_what_waits_before_it_takes_anybody_for_silent(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.feel((0, 9.0))
    one.tick(2)
    one.leap(602)
    one.leap(603)
    one.watch.apply([one.frame(observed(60 * n, 1.0)) for n in range(1, 11)], clock(603))
    assert active(one) == {"high": False}
    one.tick(899)
    assert active(one) == {"high": False}
    one.tick(910)
    assert active(one) == {"high": False, "silent": True}


def test_a_clock_that_is_put_back_does_not_hide_who_is_silent(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.feel((0, 1.0))
    one.tick(301)
    one.leap(250)
    one.tick(260)
    assert active(one) == {"silent": True}, "it has said nothing meanwhile"
    one.feel((270, 1.0))
    assert active(one) == {"silent": False}


def test_what_came_while_the_clock_was_ahead_does_not_put_silence_off(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.feel((0, 1.0))
    one.tick(2)
    one.leap(18_000)
    one.hear(observed(3, 1.0, received=18_001))
    one.leap(4)
    one.watch.apply([one.frame(observed(4, 1.0, received=18_002))], clock(5))
    one.tick(304)
    assert active(one) == {}
    one.tick(610)
    assert active(one) == {"silent": True}, "not five hours later"


def test_an_alarm_that_a_doubt_held_back_is_decided_when_the_doubt_ends(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.hear(observed(0, "test", "mode"), observed(1, 9.0))
    assert active(one) == {"serviced": True}
    one.hear(observed(2, "on", "mode"))
    assert active(one) == {"serviced": False, "high": True}, "without another word of the sensor"


def test_a_platform_that_stalls_again_and_again_finds_silence_all_the_same(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.feel((0, 1.0))
    one.tick(2)
    for minute in range(1, 8):
        one.leap(60 * minute)  # from 8 to 50 s it listens: the log is held to be read when nothing has come for 5 s
        one.tick(60 * minute + 50)
        assert active(one) == {}
    one.leap(480)
    one.tick(530)
    assert active(one) == {"silent": True}


def test_who_was_silent_stays_so_over_a_stall_and_a_clock_that_is_put_back(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, DOUBTED))
    one.hear(observed(0, 1.0), observed(0, 1.0, entity="urn:ngsi-ld:Sensor:t:2"))
    one.tick(301)
    one.hear(observed(310, 1.0, entity="urn:ngsi-ld:Sensor:t:2"))
    for second in (1000, 320, 321):
        one.leap(second)
        one.tick(second + 10)
    found = {alarm["entity"][-1]: alarm["condition_active"] for alarm in one.alarms()}
    assert found == {"1": True, "2": False}


def test_many_that_fall_silent_at_once_are_found_over_several_ticks_the_longest_silent_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "LOOKS", 3 * evaluator.A_STEP)
    one = City(tmp_path, rules(tmp_path, SILENT_AND_HIGH))
    sensors = [f"urn:ngsi-ld:Sensor:t:{number}" for number in range(8)]
    one.hear(*(observed(number / 100, 1.0, entity=sensor) for number, sensor in enumerate(sensors)))
    one.tick(300)
    found = []
    for at in (301, 302, 303, 304):
        one.tick(at)
        found.append({alarm["entity"] for alarm in one.alarms()})
    assert found == [set(sensors[:3]), set(sensors[:6]), set(sensors), set(sensors)]
    assert len(one.alarms()) == len(sensors)
