"""Levels: raising, hysteresis, dwell, escalation and downgrade, on the observations' own clock."""

from pathlib import Path

from watch_city import City, at, clock, observed, rules

LOW = """
@low
[rule.levels.caution]
when = { below = 200.0 }
clear = { at_least = 220.0 }
for_s = 30
clear_for_s = 60
"""
LADDER = """
@ladder
[rule.levels.attention]
when = { above = 10.0 }
[rule.levels.alert]
when = { above = 20.0 }
clear = { below = 18.0 }
clear_for_s = 30
[rule.levels.serious]
when = { above = 30.0 }
for_s = 10
clear_for_s = 20
"""


def test_a_level_is_raised_when_its_condition_held_for_its_dwell_time(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))
    city.feel((0, 300.0), (10, 190.0), (20, 180.0), (30, 185.0))
    assert city.alarms() == []
    city.feel((40, 184.0))
    assert city.moves() == [(40, "raised", "unacknowledged", "caution")]
    assert city.alarm()["text"]["en"] == "Sensor 184 200 caution"
    assert city.alarm()["raised_at"] == at(40)


def test_a_value_that_recovers_within_the_dwell_time_raises_nothing(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))
    city.feel((10, 190.0), (20, 180.0), (39, 205.0), (45, 190.0), (70, 190.0))
    city.tick(74)
    assert city.alarms() == []


def test_between_the_limit_and_the_clear_limit_the_alarm_stays(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))
    city.feel(
        (0, 190.0), (30, 190.0), (40, 210.0), (200, 215.0), (300, 225.0), (330, 219.0), (340, 230.0), (400, 230.0)
    )
    assert city.moves() == [
        (30, "raised", "unacknowledged", "caution"),
        (400, "cleared", "returned_unacknowledged", "caution"),
    ]


def test_the_platforms_clock_completes_a_dwell_when_no_observation_follows(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))
    city.feel((0, 190.0))
    city.tick(30.5)
    assert city.alarms() == []
    city.tick(31)
    assert city.moves() == [(30, "raised", "unacknowledged", "caution")]


def test_a_held_value_completes_its_dwell_before_the_observation_that_ends_it(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))
    city.feel((0, 190.0), (50, 240.0), (120, 240.0))
    assert [one[:2] for one in city.moves()] == [(30, "raised"), (110, "cleared")]


def test_levels_escalate_and_come_down_step_by_step(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LADDER))
    city.feel(
        (0, 15.0), (10, 25.0), (20, 35.0), (30, 35.0), (40, 29.0), (60, 29.0), (70, 17.0), (100, 17.0), (110, 5.0)
    )
    assert [(when, kind, level) for when, kind, _, level in city.moves()] == [
        (0, "raised", "attention"),
        (10, "escalated", "alert"),
        (30, "escalated", "serious"),
        (60, "downgraded", "alert"),
        (100, "downgraded", "attention"),
        (110, "cleared", "attention"),
    ]
    assert city.alarm()["peak_level"] == "serious"


def test_a_timed_downgrade_happens_without_a_further_observation(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LADDER))
    city.feel((0, 35.0), (10, 35.0), (20, 25.0))
    city.tick(39)
    assert city.alarm()["level"] == "serious"
    city.tick(41)
    assert city.alarm()["level"] == "alert"
    assert city.moves()[-1] == (40, "downgraded", "unacknowledged", "alert")


def test_escalation_asks_again_and_downgrade_does_not(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LADDER))
    city.feel((0, 15.0))
    city.order("alarm.acknowledge", 1, alarms=[city.alarm()["id"]])
    city.feel((10, 25.0))
    assert city.alarm()["state"] == "unacknowledged"
    city.order("alarm.acknowledge", 11, alarms=[city.alarm()["id"]])
    city.feel((20, 15.0), (50, 15.0))
    assert (city.alarm()["state"], city.alarm()["level"]) == ("acknowledged", "attention")


def test_a_late_observation_changes_no_alarm(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LADDER))
    city.feel((100, 5.0), (90, 50.0), (50, 50.0))
    assert city.alarms() == []
    city.feel((110, 25.0), (105, 5.0))
    assert city.alarm()["condition_active"] is True


def test_a_backfill_of_old_observations_raises_nothing(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LADDER))
    city.hear(*(observed(second, 50.0, received=200_000 + second) for second in range(0, 60, 10)))
    assert city.alarms() == []


def test_in_a_drill_the_logs_own_clock_means_nothing(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, LOW))  # the platform's clock is months from that of the log
    for second, value in ((0, 190.0), (10, 190.0), (20, 230.0), (90, 230.0)):
        city.watch.apply([city.frame(observed(second, value), stored=20_000_000)], clock(second))
        city.watch.tick(clock(second))
    assert city.alarms() == []
    for second in (100, 130):
        city.watch.apply([city.frame(observed(second, 190.0), stored=20_000_000)], clock(second))
    assert city.alarm()["raised_at"] == at(130)
