"""Active hours: across midnight, weekdays, time zones, summer time, and from which date a rule applies."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
from watch_city import City, rules

from haechi.core.times import parse_iso, to_us
from haechi.services.watch.hours import DAYS, Hours, Window

EVERY = frozenset(range(7))
NIGHT = Window(time(22), time(6), EVERY)


def seoul(text: str) -> int:
    return parse_iso(f"{text}+09:00")


@pytest.mark.parametrize(
    ("instant", "holds"),
    [
        ("2026-03-02T21:59:59", False),
        ("2026-03-02T22:00:00", True),
        ("2026-03-03T00:00:00", True),
        ("2026-03-03T05:59:59", True),
        ("2026-03-03T06:00:00", False),
    ],
)
def test_a_window_across_midnight_holds_its_start_and_not_its_end(instant: str, holds: bool) -> None:
    assert Hours((NIGHT,), zone="Asia/Seoul").holds(seoul(instant)) is holds


def test_the_hours_after_midnight_belong_to_the_day_the_window_began() -> None:
    friday = Hours((Window(time(22), time(6), frozenset({DAYS.index("fri")})),), zone="Asia/Seoul")
    assert friday.holds(seoul("2026-03-07T05:00:00"))  # Saturday morning
    assert not friday.holds(seoul("2026-03-06T05:00:00"))  # Friday morning


def test_equal_ends_mean_the_whole_day() -> None:
    sunday = Hours((Window(time(0), time(0), frozenset({6})),), zone="Asia/Seoul")
    assert sunday.holds(seoul("2026-03-08T00:00:00"))
    assert sunday.holds(seoul("2026-03-08T23:59:59"))
    assert not sunday.holds(seoul("2026-03-09T00:00:00"))


def test_the_same_hours_in_another_zone_are_other_instants() -> None:
    noon_utc = parse_iso("2026-03-02T13:30:00Z")  # 22:30 in Seoul
    assert Hours((NIGHT,), zone="Asia/Seoul").holds(noon_utc)
    assert not Hours((NIGHT,), zone="Europe/Madrid").holds(noon_utc)


def test_summer_time_moves_the_window_with_the_wall_clock() -> None:
    work = Hours((Window(time(9), time(17), EVERY),), zone="Europe/Madrid")
    assert not work.holds(parse_iso("2026-03-28T07:30:00Z"))
    assert work.holds(parse_iso("2026-03-29T07:30:00Z"))  # clocks went forward that night


@pytest.mark.parametrize("hours", range(0, 24 * 9, 5))
def test_between_two_changes_nothing_changes(hours: int) -> None:
    windows = (NIGHT, Window(time(12), time(13), frozenset({0, 2})))
    found = Hours(windows, zone="Asia/Seoul")
    start = seoul("2026-03-01T00:00:00") + hours * 3_600_000_000
    change = found.next_change(start)
    assert change is not None
    for part in range(10):
        assert found.holds(start + (change - 1 - start) * part // 9) == found.holds(start)


def test_before_its_date_a_rule_sleeps() -> None:
    later = Hours(valid_from=date(2026, 3, 10), zone="Asia/Seoul")
    assert not later.holds(seoul("2026-03-09T23:59:59"))
    assert later.holds(seoul("2026-03-10T00:00:00"))
    assert later.next_change(seoul("2026-03-01T00:00:00")) == to_us(datetime(2026, 3, 9, 15, tzinfo=UTC))
    assert later.next_change(seoul("2026-03-11T00:00:00")) is None


NOON = """
@noon
active = { from = "12:00", to = "12:10" }
[rule.levels.caution]
when = { above = 5.0 }
clear_for_s = 3600
"""


def test_an_alarm_ends_when_its_hours_end_and_begins_when_they_begin(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, NOON))  # the tests begin at noon in Seoul
    city.feel((-60, 9.0))
    assert city.alarms() == []
    city.tick(-30)
    city.tick(2)
    assert city.moves() == [(0, "raised", "unacknowledged", "caution")]
    city.tick(602)
    assert city.moves()[1:] == [(600, "cleared", "returned_unacknowledged", "caution")]


def test_after_a_restart_the_hours_go_on(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, NOON))
    city.feel((-60, 9.0))
    city.restart()
    city.feel((10, 9.0))
    city.restart()
    city.feel((700, 9.0))
    assert [one[:2] for one in city.moves()] == [(0, "raised"), (600, "cleared")]
