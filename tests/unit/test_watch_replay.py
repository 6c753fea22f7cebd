"""However the log is cut into batches and wherever the process dies: the same alarms, the same transitions."""

import random
from pathlib import Path

import pytest
from watch_city import BUSY_RULES, City, at, busy_log, clock, command_for, observed, outcome, rules

from haechi.core import frame
from haechi.core.errors import Unavailable
from haechi.core.times import from_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Change, Record
from haechi.services.watch import COLLECTIONS, WatchProjection, memory


def come_to_rest(watch: WatchProjection) -> None:
    """Nothing comes any more, and what runs runs out."""
    for second in (1000, 1003, 1006):
        watch.tick(clock(second))


def reference(folder: Path, seed: int) -> tuple[City, list[Record]]:
    """Applied one by one, never killed, with operators acting on what they see; returns the log as it was."""
    city = City(folder, rules(folder, BUSY_RULES))
    log = []
    for record in busy_log(random.Random(seed), 250):
        filled = command_for(city.store, record, seed) if record.subject == "ops" else record
        log.append(filled)
        city.watch.apply([filled], from_us(filled.stored_at))
    come_to_rest(city.watch)
    return city, log


@pytest.mark.parametrize("seed", range(4))
def test_the_same_log_gives_the_same_alarms_in_other_batches_with_ticks_and_kills(tmp_path: Path, seed: int) -> None:
    once, log = reference(tmp_path / "once", seed)
    rng = random.Random(seed + 100)
    other = City(tmp_path / "other", once.rules)
    start = 0
    while start < len(log):
        size = rng.choice([1, 2, 7, 40])
        batch = log[start : start + size]
        other.watch.apply(batch, from_us(batch[-1].stored_at))
        start += size
        if rng.random() < 0.3:
            other.watch.tick(from_us(batch[-1].stored_at))
        if rng.random() < 0.3:
            other.open()  # the old one is never closed: as after a kill
    come_to_rest(other.watch)
    alarms, moves = outcome(once.store)
    assert len(alarms) > 10
    assert outcome(other.store) == (alarms, moves)


def test_records_that_were_applied_already_change_nothing(tmp_path: Path) -> None:
    once, log = reference(tmp_path, 9)
    before = outcome(once.store)
    once.restart()
    assert once.watch.position() == log[-1].seq
    once.watch.apply(log[-50:], clock(1000))
    assert outcome(once.store) == before


def test_a_checkpoint_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once, log = reference(tmp_path / "once", 5)
    monkeypatch.setattr(memory, "EVERY_US", 7_000_000)
    monkeypatch.setattr(memory, "CHUNK", 3)
    other = City(tmp_path / "other", once.rules)
    for record in log:
        other.watch.apply([record], from_us(record.stored_at))
        if record.seq % 11 == 0:
            other.open()
    come_to_rest(other.watch)
    assert len(other.store.find("journal", limit=1000)) < 60
    assert outcome(other.store) == outcome(once.store)


class Failing(SqliteRecords):
    """A disk that is full now and then: nothing of that commit is there."""

    failing = False

    def commit(self, changes: list[Change], position: int | None = None) -> None:  # type: ignore[override]
        if self.failing:
            raise Unavailable("no space left on the device; free some")
        super().commit(changes, position)


def test_a_commit_that_failed_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    once, log = reference(tmp_path / "once", 6)
    store = Failing(tmp_path / "other.db", COLLECTIONS)
    watch = WatchProjection(store, once.rules, once.watch._describe)
    rng = random.Random(1)
    for record in log:
        store.failing = rng.random() < 0.3
        while True:
            try:
                watch.apply([record], from_us(record.stored_at))
                break
            except Unavailable:
                store.failing = False
                assert watch.position() == record.seq - 1
    come_to_rest(watch)
    assert outcome(store) == outcome(once.store)


HIGH = """
@high
[rule.levels.caution]
when = { above = 5.0 }
"""


def test_an_alarm_of_a_rule_that_was_withdrawn_ends(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, HIGH))
    city.feel((0, 9.0))
    city.rules = rules(tmp_path, HIGH.replace("@high", "@other"))
    city.restart()
    city.feel((10, 9.0))
    assert {one["rule"]: one["state"] for one in city.alarms()} == {
        "high": "returned_unacknowledged",
        "other": "unacknowledged",
    }


def test_an_alarm_follows_a_rule_that_was_changed(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, HIGH))
    city.feel((0, 9.0))
    city.rules = rules(tmp_path, HIGH.replace("caution", "alert").replace("5.0", "20.0"))
    city.restart()
    city.feel((10, 9.0))
    assert city.alarm()["state"] == "returned_unacknowledged"


def test_deleting_the_entity_ends_its_alarms(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, HIGH))
    city.feel((0, 9.0))
    delete = frame.EntityCommand("x", "delete", "urn:ngsi-ld:Sensor:t:1")
    record = city.record("entity", frame.encode(frame.Frame(commands=(delete,))), 5)
    city.watch.apply([record], clock(5))
    assert city.alarm()["state"] == "returned_unacknowledged"
    city.restart()
    city.feel((10, 9.0))
    assert (city.alarm()["state"], city.alarm()["count"]) == ("unacknowledged", 2)


def test_a_deleted_attribute_stays_unknown_after_a_kill(tmp_path: Path) -> None:
    text = '@both\n[rule.levels.alert]\nwhen = { all = [{ above = 5.0 }, { attribute = "flow", above = 5.0 }] }'
    city = City(tmp_path, rules(tmp_path, text))
    city.hear(observed(0, 9.0, "flow"), observed(1, 1.0))
    delete = frame.EntityCommand("x", "delete_attribute", "urn:ngsi-ld:Sensor:t:1", attribute="flow")
    city.watch.apply([city.record("entity", frame.encode(frame.Frame(commands=(delete,))), 2)], clock(2))
    city.open()
    city.feel((3, 9.0))
    assert city.alarms() == []
    city.hear(observed(4, 9.0, "flow"))
    assert city.alarm()["raised_at"] == at(4)


def test_a_torn_frame_is_skipped_and_the_stream_goes_on(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, HIGH))
    torn = city.record("obs", b"HF1 torn", 0)
    good = city.frame(observed(1, 9.0))
    city.watch.apply([torn, good], clock(1))
    assert city.alarm()["raised_at"] == at(1)
