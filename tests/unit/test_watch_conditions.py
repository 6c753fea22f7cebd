"""Each kind of condition: what raises it, what does not, and what ends it."""

from pathlib import Path
from typing import Any

import pytest
from watch_city import City, at, clock, describe, observed, rules

from haechi.core import frame
from haechi.core.quality import Quality
from haechi.services.watch import Described


def city(tmp_path: Path, level: str, head: str = "") -> City:
    return City(tmp_path, rules(tmp_path, f"@one\n{head}\n[rule.levels.alert]\n{level}"))


@pytest.mark.parametrize(
    ("when", "raising", "quiet"),
    [
        ("above = 5.0", 5.1, 5.0),
        ("below = 5.0", 4.9, 5.0),
        ("at_least = 5.0", 5.0, 4.9),
        ("at_most = 5.0", 5.0, 5.1),
        ("between = [1.0, 5.0]", 5.0, 5.1),
        ("outside = [1.0, 5.0]", 0.9, 1.0),
        ("equals = 5", 5.0, 5.1),
        ('equals = "open"', "open", "closed"),
        ('equals = ["open", "jammed"]', "jammed", "closed"),
        ("equals = true", True, False),
        ("equals = true", True, 1.0),
        ("differs = true", False, True),
        ('differs = ["on", "idle"]', "off", "idle"),
    ],
)
def test_a_comparison_holds_for_these_values_only(tmp_path: Path, when: str, raising: Any, quiet: Any) -> None:
    one = city(tmp_path, f"when = {{ {when} }}")
    one.feel((0, quiet))
    assert one.alarms() == []
    one.feel((10, raising))
    assert one.alarm()["condition_active"] is True
    one.feel((20, quiet))
    assert one.alarm()["condition_active"] is False


def test_a_limit_may_be_another_attribute_times_and_plus_something(tmp_path: Path) -> None:
    one = city(tmp_path, 'when = { above = { attribute = "design", times = 2.0, plus = 1.0 } }')
    one.feel((0, 20.0))
    assert one.alarms() == []  # the limit is not known yet
    one.hear(observed(1, 10.0, "design"), observed(2, 21.0), observed(3, 21.5))
    assert (one.alarm()["raised_at"], one.alarm()["limit"]) == (at(3), 21.0)
    one.hear(observed(4, 11.0, "design"))
    assert one.alarm()["condition_active"] is False


def test_a_limit_that_only_the_facility_list_knows_counts_too(tmp_path: Path) -> None:
    limits = {"design": 10}

    def with_limit(entity: str) -> Described:
        base = describe(entity)
        return Described(base.types, base.name, base.scope, values=limits)

    one = City(
        tmp_path,
        rules(tmp_path, '@one\n[rule.levels.alert]\nwhen = { above = { attribute = "design" } }'),
        describe=with_limit,
    )
    one.feel((0, 9.0), (1, 11.0))
    assert one.alarm()["limit"] == 10.0
    one.restart()
    limits["design"] = 20
    change = frame.EntityCommand("x", "upsert", "urn:ngsi-ld:Sensor:t:1")
    one.watch.apply([one.record("entity", frame.encode(frame.Frame(commands=(change,))), 2)], clock(2))
    one.feel((3, 12.0))
    assert one.alarm()["condition_active"] is False


def test_a_rate_counts_the_change_over_its_window(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { rate_above = 6.0, per_s = 60, window_s = 120 }")
    one.feel(*((second, 100.0 + second * 0.05) for second in range(0, 300, 10)))  # 3 a minute
    assert one.alarms() == []
    one.feel(*((300 + second, 115.0 + second * 0.2) for second in range(0, 120, 10)))  # 12 a minute
    assert one.alarm()["raised_at"] == at(350)  # 110 s: 70 s at 3 a minute, 50 s at 12 a minute are 6.75 a minute
    one.feel(*((420 + second, 139.0) for second in range(0, 200, 10)))
    assert one.alarm()["condition_active"] is False


def test_a_falling_rate_and_too_few_observations(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { rate_below = -1.0, window_s = 60 }")
    one.feel((0, 100.0), (10, 50.0), (20, 0.0))
    assert one.alarms() == []  # 20 s are less than half the window
    one.feel((30, -50.0))
    assert one.alarm()["raised_at"] == at(30)


def test_silence_is_measured_on_our_clock_and_ends_with_the_next_observation(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { silence_s = 120 }")
    one.hear(observed(-500, 1.0, received=0))  # a device whose clock is slow is not silent
    one.tick(119)
    assert one.alarms() == []
    one.tick(121)
    assert one.alarm()["raised_at"] == at(120)
    one.hear(observed(-300, 1.0, received=200))
    assert one.alarm()["condition_active"] is False
    one.tick(319)
    assert one.alarm()["count"] == 1
    one.tick(320)
    assert one.alarm()["count"] == 2


def test_the_platforms_own_down_time_is_not_silence(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { silence_s = 120 }")
    one.feel((0, 1.0))
    one.restart()
    one.tick(1000)
    one.tick(1006)
    one.tick(1100)
    assert one.alarms() == []
    one.tick(1127)
    assert one.alarm()["raised_at"] == at(1126)


def test_a_silence_alarm_survives_a_restart_and_still_ends_with_the_next_observation(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { silence_s = 120 }")
    one.feel((0, 1.0))
    one.tick(121)
    one.restart()
    one.tick(200)
    one.tick(206)
    one.tick(400)
    assert (one.alarm()["condition_active"], one.alarm()["count"]) == (True, 1)
    one.feel((410, 1.0))
    assert one.alarm()["condition_active"] is False


def test_stuck_is_unchanged_although_it_reports(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { stuck_s = 60, epsilon = 0.5 }")
    one.feel((0, 10.0), (30, 10.4), (50, 9.6))
    one.tick(1000)
    assert one.alarms() == []  # silent is not stuck
    one.feel((60, 10.1))
    assert one.alarm()["raised_at"] == at(60)
    one.feel((70, 10.6))
    assert one.alarm()["condition_active"] is False


def test_a_quality_condition_sees_the_flags_of_the_newest_observation(tmp_path: Path) -> None:
    one = city(tmp_path, 'when = { quality = ["device_doubt", "out_of_range"] }')
    one.hear(observed(0, 1.0, quality=int(Quality.CLOCK_SKEW)), observed(1, 1.0, quality=int(Quality.DEVICE_DOUBT)))
    assert one.alarm()["raised_at"] == at(1)
    one.feel((2, 1.0))
    assert one.alarm()["condition_active"] is False


def test_all_and_any_combine_attributes_of_one_entity(tmp_path: Path) -> None:
    one = city(
        tmp_path,
        'when = { all = [{ below = 5.0 }, { any = [{ attribute = "flow", above = 9.0 }, '
        '{ attribute = "valve", equals = "open" }] }] }',
    )
    one.feel((0, 4.0))
    one.hear(observed(1, "closed", "valve"))
    assert one.alarms() == []  # flow is unknown: not enough to raise
    one.hear(observed(2, 10.0, "flow"))
    assert one.alarm()["raised_at"] == at(2)
    one.hear(observed(3, 8.0, "flow"))
    assert one.alarm()["condition_active"] is False
    one.hear(observed(4, "open", "valve"))
    assert one.alarm()["count"] == 2


def test_attributes_of_another_entity_do_not_mix_in(tmp_path: Path) -> None:
    one = city(tmp_path, 'when = { all = [{ below = 5.0 }, { attribute = "flow", above = 9.0 }] }')
    one.feel((0, 4.0))
    one.hear(observed(1, 10.0, "flow", entity="urn:ngsi-ld:Sensor:t:2"))
    assert one.alarms() == []


def test_a_doubtful_value_neither_raises_nor_clears_and_stops_a_running_time(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { above = 5.0 }\nfor_s = 30")
    doubt = int(Quality.DEVICE_DOUBT)
    one.hear(observed(0, 9.0, quality=doubt), observed(40, 9.0, quality=doubt))
    one.feel((50, 9.0))
    one.hear(observed(60, 9.0, quality=doubt))
    one.tick(100)
    assert one.alarms() == []
    one.feel((110, 9.0), (140, 9.0))
    assert one.alarm()["raised_at"] == at(140)
    one.hear(observed(150, 0.0, quality=doubt))
    one.tick(300)
    assert one.alarm()["condition_active"] is True


def test_a_skewed_clock_is_no_doubt_about_the_value(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { above = 5.0 }")
    one.hear(observed(0, 9.0, quality=int(Quality.CLOCK_SKEW)))
    assert one.alarm()["condition_active"] is True


def test_a_rule_of_any_quality_counts_doubtful_values(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { above = 5.0 }", head='quality = "any"')
    one.hear(observed(0, 9.0, quality=int(Quality.OUT_OF_RANGE)))
    assert one.alarm()["condition_active"] is True


STUCK_AND_HIGH = """
@stuck
[rule.levels.attention]
when = { stuck_s = 60 }
@silent
[rule.levels.attention]
when = { silence_s = 300 }
@high
[rule.levels.serious]
when = { above = 5.0 }
for_s = 90
"""


def test_a_stuck_sensor_raises_maintenance_and_never_the_physical_alarm(tmp_path: Path) -> None:
    one = City(tmp_path, rules(tmp_path, STUCK_AND_HIGH))
    one.feel(*((second, 9.0) for second in range(0, 200, 10)))
    one.tick(250)
    assert [(alarm["rule"], alarm["level"]) for alarm in one.alarms()] == [("stuck", "attention")]
    one.feel(*((300 + second, 9.0 + second) for second in range(0, 120, 10)))
    assert {alarm["rule"]: alarm["condition_active"] for alarm in one.alarms()} == {"stuck": False, "high": True}


def test_a_silent_sensor_stops_the_running_time_of_the_physical_alarm(tmp_path: Path) -> None:
    text = STUCK_AND_HIGH.replace("for_s = 90", "for_s = 600")
    one = City(tmp_path, rules(tmp_path, text))
    one.feel((0, 1.0), (10, 9.0))
    for second in range(11, 900, 7):
        one.tick(second)
    assert [alarm["rule"] for alarm in one.alarms()] == ["silent"]


def test_two_maintenance_rules_of_thresholds_do_not_gag_themselves(tmp_path: Path) -> None:
    one = city(tmp_path, "when = { below = 3.3 }\nclear = { above = 3.4 }", head="maintenance = true")
    one.feel((0, 3.0), (10, 3.5))
    assert one.alarm()["condition_active"] is False


def test_the_limit_of_an_alarm_is_a_line_in_its_trend_or_nothing(tmp_path: Path) -> None:
    one = City(
        tmp_path,
        rules(
            tmp_path,
            """
@range
[rule.levels.alert]
when = { outside = [-5.0, 0.0] }
@stuck
[rule.levels.attention]
when = { stuck_s = 10 }
@flow
[rule.levels.attention]
when = { attribute = "flow", above = 3.0 }
""",
        ),
    )
    one.feel((0, 4.0), (10, 4.0))
    one.hear(observed(11, 4.0, "flow"))
    assert {alarm["rule"]: alarm["limit"] for alarm in one.alarms()} == {"range": 0.0, "stuck": None, "flow": None}
