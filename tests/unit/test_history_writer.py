"""When the writer commits, what it says then, and that a store that cannot write costs nothing but time."""

from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest

from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.ports import Record
from haechi.services.history import HistoryWriter

NOW = datetime(2025, 11, 22, tzinfo=UTC)


class Memory:
    """A store that keeps what it is given, or says that the disk is full."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.at = 0
        self.full = False

    def position(self) -> int:
        return self.at

    def append(self, rows: pa.Table, position: int, said: pa.Table | None = None) -> None:
        if self.full:
            raise Unavailable("disk full; free some")
        self.seqs += rows.column("seq").to_pylist()
        self.at = position

    def maintain(self, now: datetime) -> bool:
        return False

    def close(self) -> None:
        self.at = -1


def records(first: int, last: int, rows: int = 3) -> list[Record]:
    frame = Frame(observations=to_batch([Observation("urn:a:b:c", "flow", at, at, 1.0) for at in range(rows)]))
    return [Record(seq, "obs", encode(frame), seq) for seq in range(first, last + 1)]


def test_rows_are_committed_when_they_are_many_or_old_and_the_bus_hears_of_it() -> None:
    store = Memory()
    writer = HistoryWriter(store, flush_s=20, flush_rows=10)
    assert writer.apply(records(1, 3), NOW) == ()
    assert store.seqs == []
    notices = writer.apply(records(4, 4), NOW)
    assert [(one.subject, orjson.loads(one.payload)) for one in notices] == [("history.committed", {"seq": 4})]
    writer.apply(records(5, 5), NOW)
    assert writer.tick(NOW + timedelta(seconds=19)) == ()
    assert len(writer.tick(NOW + timedelta(seconds=20))) == 1
    assert writer.position() == 5
    assert writer.tick(NOW + timedelta(seconds=60)) == ()


def test_records_without_rows_move_the_position_too() -> None:
    store = Memory()
    writer = HistoryWriter(store)
    writer.apply([Record(9, "entity", encode(Frame()), 9)], NOW)
    writer.tick(NOW + timedelta(seconds=30))
    assert writer.position() == 9


def test_a_store_that_cannot_write_loses_nothing_and_doubles_nothing_when_the_runner_tries_again() -> None:
    store = Memory()
    writer = HistoryWriter(store, flush_rows=10)
    store.full = True
    fed = records(1, 4)
    with pytest.raises(Unavailable):
        writer.apply(fed, NOW)
    assert writer.position() == 0
    with pytest.raises(Unavailable):
        writer.apply(fed, NOW)  # the runner passes the same records again
    store.full = False
    writer.apply([*fed, *records(5, 5)], NOW)
    assert store.seqs == [seq for seq in range(1, 6) for _ in range(3)]
    assert writer.position() == 5


def test_a_backfill_scattered_over_many_days_is_gathered_for_longer() -> None:
    store = Memory()
    writer = HistoryWriter(store, flush_rows=6_000)
    day = 86_400_000_000

    def message(seq: int) -> Record:
        rows = [Observation("urn:a:b:c", "flow", at * day, at * day, 1.0) for at in range(3_000)]
        return Record(seq, "obs", encode(Frame(observations=to_batch(rows))), seq)

    for seq in range(1, 10):
        assert writer.apply([message(seq)], NOW) == (), "nine rows a day make no file worth writing"
    assert len(writer.apply([message(10)], NOW)) == 1, "five times flush_rows is where memory ends"
    assert len(store.seqs) == 30_000
