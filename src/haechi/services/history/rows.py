"""Rows of history out of log records: observations with `stored_at` and `seq`. Used by the writer and by every
reader's tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from haechi.core.errors import InvalidData
from haechi.core.observation import INSTANT, STORED
from haechi.ports import Record


@dataclass(frozen=True, slots=True)
class Rows:
    """Batches in `STORED`, one per record that held observations, and the seqs of records nobody can read."""

    batches: tuple[pa.RecordBatch, ...]
    unreadable: tuple[int, ...]

    @property
    def count(self) -> int:
        """Rows in all batches."""
        return sum(batch.num_rows for batch in self.batches)


def of_records(records: Sequence[Record]) -> Rows:
    """The observations of these records, in order. A frame of another version is named, not raised: the log goes on."""
    batches, unreadable = [], []
    for record in records:
        try:
            observations = record.frame().observations
        except InvalidData:
            unreadable.append(record.seq)
            continue
        if observations.num_rows:
            batches.append(_stored(observations, record))
    return Rows(tuple(batches), tuple(unreadable))


def _stored(observations: pa.RecordBatch, record: Record) -> pa.RecordBatch:
    count = observations.num_rows
    stored_at = pa.repeat(pa.scalar(record.stored_at, INSTANT), count)
    seq = pa.repeat(pa.scalar(record.seq, pa.int64()), count)
    return pa.RecordBatch.from_arrays([*observations.columns, stored_at, seq], schema=STORED)


def to_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """One table of these batches, empty when there are none."""
    return pa.Table.from_batches(batches, schema=STORED)
