"""Silence and the platform's clock: while rules catch up after a start, and when it was ahead for a while."""

from pathlib import Path

from watch_city import City, clock, observed, rules

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
