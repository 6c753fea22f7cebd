"""Rows newer than the committed files, in memory, found by entity without looking at the others. Used by `HistoryTail`.

Immutable: every change makes a new `Tail` that shares what did not change, so a running query keeps the one it
began with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.observation import INSTANT, STORED

_LOOSE_ROWS = 20_000  # as many rows are searched one by one in well under a millisecond


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a tail: empty tuples mean all; `start` inclusive, `end` exclusive, both of `observed_at`."""

    entities: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows sorted by entity (then seq), and where each entity's rows lie."""

    rows: pa.Table
    spans: dict[str, tuple[int, int]]
    last_seq: int

    def of(self, entities: tuple[str, ...]) -> list[pa.Table]:
        if not entities:
            return [self.rows]
        spans = [self.spans[entity] for entity in entities if entity in self.spans]
        return [self.rows.slice(start, stop - start) for start, stop in spans]


@dataclass(frozen=True, slots=True)
class Tail:
    """Rows of the log in `STORED`, each once."""

    runs: tuple[_Run, ...] = ()
    loose: tuple[pa.RecordBatch, ...] = ()
    loose_rows: int = 0

    def grown(self, batches: Sequence[pa.RecordBatch]) -> "Tail":
        """With these batches, all newer than what is there."""
        loose = (*self.loose, *batches)
        count = self.loose_rows + sum(batch.num_rows for batch in batches)
        if count < _LOOSE_ROWS:
            return Tail(self.runs, loose, count)
        return Tail((*self.runs, _sorted_run(pa.Table.from_batches(loose, schema=STORED))))

    def after(self, position: int) -> "Tail":
        """Without what is wholly at or below `position`; `select` cuts the rest."""
        runs = tuple(run for run in self.runs if run.last_seq > position)
        loose = tuple(batch for batch in self.loose if batch.column("seq")[-1].as_py() > position)
        return Tail(runs, loose, sum(batch.num_rows for batch in loose))

    def select(self, wanted: Selection, after: int) -> pa.Table:
        """Rows that match, with seq > `after`, in order of seq."""
        found = [table for run in self.runs for table in run.of(wanted.entities)]
        if self.loose:
            loose = pa.Table.from_batches(self.loose, schema=STORED)
            found.append(loose.filter(_among(loose, "entity", wanted.entities)) if wanted.entities else loose)
        if not found:
            return STORED.empty_table()
        rows = pa.concat_tables(found)
        rows = rows.filter(_matching(rows, wanted, after)) if rows.num_rows else rows
        return rows if len(self.runs) == 0 else rows.take(pc.array_sort_indices(rows.column("seq")))

    @property
    def count(self) -> int:
        """Rows held, committed ones not yet dropped included."""
        return sum(int(run.rows.num_rows) for run in self.runs) + self.loose_rows


def _among(rows: pa.Table, column: str, words: tuple[str, ...]) -> pa.ChunkedArray:
    if len(words) == 1:
        return pc.equal(rows.column(column), words[0])
    return pc.is_in(rows.column(column), value_set=pa.array(words, pa.string()))


def _matching(rows: pa.Table, wanted: Selection, after: int) -> pa.ChunkedArray:
    mask = pc.greater(rows.column("seq"), after)
    if wanted.attributes:
        mask = pc.and_(mask, _among(rows, "attribute", wanted.attributes))
    if wanted.start is not None:
        mask = pc.and_(mask, pc.greater_equal(rows.column("observed_at"), pa.scalar(wanted.start, INSTANT)))
    if wanted.end is not None:
        mask = pc.and_(mask, pc.less(rows.column("observed_at"), pa.scalar(wanted.end, INSTANT)))
    return mask


def _sorted_run(rows: pa.Table) -> _Run:
    coded = rows.column("entity").combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(coded.dictionary))
    stops = np.cumsum(counts)
    spans = zip((stops - counts).tolist(), stops.tolist(), strict=True)
    last_seq = pc.max(rows.column("seq")).as_py()
    return _Run(rows.take(pa.array(order)), dict(zip(coded.dictionary.to_pylist(), spans, strict=True)), last_seq)
