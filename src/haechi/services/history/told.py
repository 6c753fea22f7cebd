"""What the API said since the last commit, in memory. Used by `HistoryTail`.

Most of it is never asked for, so records are kept as they came and read when somebody asks; what takes something back
is told at once, because every question must leave that out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import FORGET, NOTHING_SAID
from haechi.ports import Record
from haechi.services.history import said


class _Run:
    """Some records one after the other; their rows are made once, when they are asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records: Sequence[Record] = records
        self.last_seq = records[-1].seq
        self.forgets = any(one.op == said.FORGETS for record in records for one in record.frame().commands)

    @cached_property
    def rows(self) -> pa.Table:
        """All of them. Two threads may both make them: the same rows."""
        rows = pa.Table.from_batches([said.of_records(self._records)])
        self._records = ()
        return rows


@dataclass(frozen=True, slots=True)
class Told:
    """Immutable, as `Tail` is."""

    runs: tuple[_Run, ...] = field(default=())

    def grown(self, records: Sequence[Record]) -> "Told":
        """With those of these records that hold commands."""
        speaking = [one for one in records if one.subject == "entity" and one.frame().commands]
        return Told((*self.runs, _Run(speaking))) if speaking else self

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
