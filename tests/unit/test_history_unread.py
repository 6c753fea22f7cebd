"""What came off the log waits as it came until somebody asks, and counts as there meanwhile."""

from collections.abc import Sequence

import pytest

from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.ports import Record
from haechi.services.history import reader, rows
from haechi.services.history.reader import HistoryTail
from haechi.services.history.unread import Unread

AT = 1_700_000_000_000_000


class Files:
    """Committed files: how far, and of a question what the tail adds to it."""

    position = 0

    def newest(self) -> "Files":
        copy = Files()
        copy.position = self.position
        return copy

    def counts(self, tail: object) -> object:
        return tail

    def close(self) -> None:
        pass


def frame(seq: int, many: int = 2) -> Record:
    batch = to_batch([Observation("urn:ngsi-ld:X:1", f"a{one}", AT, AT, 1.0) for one in range(many)])
    return Record(seq, "entity", encode(Frame(observations=batch)), AT)


def test_a_question_gets_all_that_was_absorbed_before_it() -> None:
    tail = HistoryTail(Files())  # type: ignore[arg-type]
    tail.absorb([frame(1), frame(2)])
    assert (tail.position(), tail.tail_rows()) == (2, 4)
    assert tail.counts().num_rows == 4  # type: ignore[attr-defined]
    tail.absorb([frame(2), frame(3)])
    assert tail.tail_rows() == 6
    assert tail.counts().column("seq").to_pylist() == [1, 1, 2, 2, 3, 3]  # type: ignore[attr-defined]


def test_what_was_committed_before_somebody_asked_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    of_records = rows.of_records

    def noted(some: Sequence[Record]) -> rows.Rows:
        read.extend(one.seq for one in some)
        return of_records(some)

    monkeypatch.setattr(rows, "of_records", noted)
    files = Files()
    tail = HistoryTail(files, rows_max=6)  # type: ignore[arg-type]
    tail.absorb([frame(1), frame(2), frame(3)])
    assert tail.full, "rows that wait take room, too"
    files.position = 2
    tail.refresh()
    assert (tail.full, tail.tail_rows()) == (False, 2)
    assert tail.counts().column("seq").to_pylist() == [3, 3]  # type: ignore[attr-defined]
    assert read == [3]


def test_who_feeds_is_told_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "UNREAD_BYTES", 2 * len(frame(1).payload))
    tail = HistoryTail(Files())  # type: ignore[arg-type]
    tail.absorb([frame(1)])
    assert not tail.many_unread
    tail.absorb([frame(2)])
    assert tail.many_unread
    tail.settle()
    assert not tail.many_unread
    assert tail.tail_rows() == 4


def test_a_record_nobody_can_read_counts_no_rows_and_goes_when_the_others_go() -> None:
    waiting = Unread()
    waiting.add([frame(1), Record(2, "obs", b"spoilt", AT), frame(5)])
    assert waiting.rows == 4
    waiting.take_off(3)
    assert ([one.seq for one in waiting.waiting()], waiting.rows) == ([5], 2)
    waiting.take_off(5)
    assert (waiting.bytes, waiting.rows) == (0, 0)
