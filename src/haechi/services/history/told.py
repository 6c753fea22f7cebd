"""What the API said since the last commit, in memory. Used by `HistoryTail`.

Most of it is never asked for, so records are kept packed and read when somebody asks; what takes something back is told
at once, because every question must leave that out.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import FORGET, NOTHING_SAID
from haechi.ports import Record
from haechi.services.history import said

_TOGETHER = 256  # records that are one run
_UNREAD_BYTES = 16 * 2**20  # packed; beyond that rows take their place
_SMALL = 2_048  # bytes that are not worth packing
_CODEC = pa.Codec("zstd", 1)


class _Packed(NamedTuple):
    """A record of the log; `size`: of its payload where that is compressed, else 0."""

    seq: int
    stored_at: int
    payload: bytes
    size: int

    def record(self) -> Record:
        payload = _CODEC.decompress(self.payload, self.size, asbytes=True) if self.size else self.payload
        return Record(self.seq, "entity", payload, self.stored_at)


def _packed(record: Record) -> _Packed:
    payload, size = record.payload, len(record.payload)
    if size <= _SMALL:
        return _Packed(record.seq, record.stored_at, payload, 0)
    return _Packed(record.seq, record.stored_at, _CODEC.compress(payload, asbytes=True), size)


class _Run:
    """Some records one after the other; their rows are made once, when they are asked for."""

    def __init__(self, records: Sequence[Record], before: "_Run | None" = None) -> None:
        """`before`: a run that is not read yet, to go on with."""
        self._lock = threading.Lock()
        self._rows: pa.Table | None = None
        packed = [_packed(one) for one in records]
        self._records: list[_Packed] = [*(before._records if before else ()), *packed]
        self.size: int = sum(len(one.payload) for one in packed) + (before.size if before else 0)
        self.last_seq = records[-1].seq
        fresh = any(one.op == said.FORGETS for record in records for one in record.frame().commands)
        self.forgets: bool = fresh or (before is not None and before.forgets)

    def with_more(self, records: Sequence[Record]) -> "_Run | None":
        """This run and those records as one; None when it is read, or long enough."""
        with self._lock:
            is_open = self._rows is None and len(self._records) < _TOGETHER
            return _Run(records, self) if is_open else None

    @property
    def rows(self) -> pa.Table:
        """All of them."""
        with self._lock:
            if self._rows is None:
                self._rows = pa.Table.from_batches([said.of_records([one.record() for one in self._records])])
                self._records, self.size = [], 0
            return self._rows


@dataclass(frozen=True, slots=True)
class Told:
    """Immutable, as `Tail` is."""

    runs: tuple[_Run, ...] = field(default=())

    def grown(self, records: Sequence[Record]) -> "Told":
        """With those of these records that hold commands."""
        speaking = [one for one in records if one.subject == "entity" and one.frame().commands]
        if not speaking:
            return self
        joined = self.runs[-1].with_more(speaking) if self.runs else None
        runs = (*self.runs, _Run(speaking)) if joined is None else (*self.runs[:-1], joined)
        if sum(run.size for run in runs) > _UNREAD_BYTES:
            for run in runs:
                _ = run.rows
        return Told(runs)

    def after(self, position: int) -> "Told":
        """Without what is wholly at or below `position`."""
        return Told(tuple(run for run in self.runs if run.last_seq > position))

    def of(self, entities: Sequence[str], after: int) -> pa.Table:
        """Rows of these entities with seq > `after`, and all that take something back."""
        if not self.runs:
            return NOTHING_SAID
        rows = pa.concat_tables([run.rows for run in self.runs])
        theirs = pc.is_in(rows.column("entity"), value_set=pa.array(list(entities), pa.string()))
        wanted = pc.or_(theirs, pc.equal(rows.column("act"), FORGET))
        return rows.filter(pc.and_(wanted, pc.greater(rows.column("seq"), after)))

    def forgotten(self, after: int) -> pa.Table:
        """What takes something back, with seq > `after`."""
        taking = [run.rows for run in self.runs if run.forgets]
        if not taking:
            return NOTHING_SAID
        rows = pa.concat_tables(taking)
        return rows.filter(pc.and_(pc.equal(rows.column("act"), FORGET), pc.greater(rows.column("seq"), after)))
