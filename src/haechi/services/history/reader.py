"""History as the API process sees it: committed files and a tail it reads off the log itself. Implements
`HistoryReader`.

The process that serves queries is not the one that writes: it feeds `absorb` from the log and calls `refresh` when the
writer says `history.committed` (and now and then, notices can be lost). Queries run in worker threads.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import structlog

from haechi.core.errors import Unavailable
from haechi.ports import EvolutionQuery, HistoryFiles, HistorySnapshot, Periods, Record, SeriesQuery
from haechi.services.history import rows
from haechi.services.history.check import check_instant, check_names, check_query
from haechi.services.history.tail import Selection, Tail
from haechi.services.history.told import Told

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
ROWS_MAX = 2_000_000  # in memory: the newest rows until the writer has committed them


@dataclass(frozen=True, slots=True)
class _State:
    """What a query answers from: nothing in it changes."""

    snapshot: HistorySnapshot
    tail: Tail
    told: Told = field(default_factory=Told)

    def rows(self, wanted: Selection) -> pa.Table:
        return self.tail.select(wanted, self.snapshot.position)

    def said(self, entities: Sequence[str]) -> pa.Table:
        return self.told.of(entities, self.snapshot.position)

    def forgotten(self) -> pa.Table:
        return self.told.forgotten(self.snapshot.position)


class HistoryTail:
    """A `HistoryReader` whose answers hold every record absorbed, each once, whatever the writer commits meanwhile."""

    subjects = frozenset({"obs", "entity"})

    def __init__(self, files: HistoryFiles, rows_max: int = ROWS_MAX) -> None:
        self._files, self._rows_max = files, rows_max
        self._lock = threading.Lock()  # guards changes of the state, never a query
        self._refreshing = threading.Lock()
        self._state = _State(files.newest(), Tail())
        self._start = self._state.snapshot.position
        self._absorbed = self._start

    def start_after(self) -> int:
        """Where to begin reading the log: the committed position when this reader was made."""
        return self._start

    def position(self) -> int:
        """Seq up to which answers are complete: committed, or absorbed from the log."""
        return max(self._absorbed, self._state.snapshot.position)

    @property
    def full(self) -> bool:
        """Whether there is no room for more: the writer is away or slow. Answers then are complete up to `position`
        only; whoever feeds waits until a `refresh` makes room, and goes on with the record it stopped at."""
        return self._state.tail.count >= self._rows_max

    def absorb(self, records: Sequence[Record]) -> None:
        """Takes the next records of the log, in order; what was absorbed or committed before is left out."""
        with self._lock:
            fresh = [record for record in records if record.seq > self._absorbed]
            if not fresh:
                return
            known = self._state.snapshot.position
            taken = rows.of_records([record for record in fresh if record.seq > known])
            if taken.unreadable:
                log.error(
                    "history.unreadable", seqs=taken.unreadable, hint="frames of another version: see haechi account"
                )
            told = self._state.told.grown([one for one in fresh if one.seq > known and one.seq not in taken.unreadable])
            if taken.batches or told is not self._state.told:
                tail = self._state.tail.grown(taken.batches) if taken.batches else self._state.tail
                self._state = _State(self._state.snapshot, tail, told)
            self._absorbed = fresh[-1].seq

    def refresh(self) -> int:
        """Takes the newest committed state and drops the tail it covers, in one step for queries. Returns its
        position.
        """
        with self._refreshing:
            snapshot = self._files.newest()
            with self._lock:
                position = snapshot.position
                self._state = _State(snapshot, self._state.tail.after(position), self._state.told.after(position))
        return snapshot.position

    def series(self, query: SeriesQuery) -> pa.Table:
        """See `HistoryReader.series`. No entities or no attributes mean all; descending turns the time within each
        series.
        """
        check_query(query)
        wanted = Selection(_once(query.entities), tuple(query.attributes), query.start, query.end)
        return self._ask(
            lambda state: state.snapshot.series(
                query, state.rows(wanted), state.told.forgotten(state.snapshot.position)
            )
        )

    def latest(self, entities: Sequence[str], attributes: Sequence[str], at: int) -> pa.Table:
        """See `HistoryReader.latest`. Looks back day by day; of a series that never was there is no row."""
        check_names(entities, attributes)
        check_instant("at", at)
        wanted = Selection(_once(entities), tuple(attributes), None, at + 1)
        return self._ask(
            lambda state: state.snapshot.latest(entities, attributes, at, state.rows(wanted), state.forgotten())
        )

    def evolution(self, query: EvolutionQuery) -> pa.Table:
        """See `EvolutionReader.evolution`."""
        wanted = _selected(query)
        return self._ask(lambda state: state.snapshot.evolution(query, state.rows(wanted), state.said(query.entities)))

    def sums(self, query: EvolutionQuery, periods: Periods) -> pa.Table:
        """See `EvolutionReader.sums`."""
        wanted = _selected(query)
        return self._ask(
            lambda state: state.snapshot.sums(query, periods, state.rows(wanted), state.said(query.entities))
        )

    def entities_with(self, query: EvolutionQuery) -> frozenset[str]:
        """See `EvolutionReader.entities_with`."""
        wanted = _selected(query)
        return self._ask(
            lambda state: state.snapshot.entities_with(query, state.rows(wanted), state.said(query.entities))
        )

    def said(self, entities: Sequence[str]) -> pa.Table:
        """See `EvolutionReader.said`."""
        return self._ask(lambda state: state.snapshot.said(entities, state.said(entities)))

    def counts(self) -> Mapping[str, int]:
        """Rows held per link, for the account."""
        return self._ask(lambda state: state.snapshot.counts(state.rows(Selection())))

    def tail_rows(self) -> int:
        """Rows in memory, for the metrics."""
        return self._state.tail.count

    def close(self) -> None:
        """Releases files and memory."""
        self._files.close()

    def _ask(self, question: Callable[[_State], Answer]) -> Answer:
        try:
            return question(self._state)
        except Unavailable:
            # Its files expired while no notice reached us (the bus promises none): the newest state has the same rows.
            self.refresh()
            return question(self._state)


def _selected(query: EvolutionQuery) -> Selection:
    """Observations that may matter to it."""
    if query.by != "observed_at":
        return Selection(query.entities, query.attributes)
    return Selection(query.entities, query.attributes, query.start, query.end)


def _once(names: Sequence[str]) -> tuple[str, ...]:
    """Each name once: a series asked for twice is answered once."""
    return tuple(dict.fromkeys(names))
