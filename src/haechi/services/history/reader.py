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
from haechi.services.history.unread import Unread

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
ROWS_MAX = 2_000_000  # in memory: the newest rows until the writer has committed them
UNREAD_BYTES = 2 * 2**20  # of records that are kept as they came until somebody asks; many are committed before


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
        self._unread = Unread()
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
        return self.tail_rows() >= self._rows_max

    def absorb(self, records: Sequence[Record]) -> None:
        """Takes the next records of the log, in order, from one thread; what was absorbed or committed before is left
        out. The next question reads them, or whoever feeds, in a thread, once there are `many_unread`."""
        known = self.position()
        self._unread.add([record for record in records if record.seq > known])
        self._absorbed = max(known, records[-1].seq)

    @property
    def many_unread(self) -> bool:
        """Whether it is time for `settle`: no question should have to read more."""
        return self._unread.bytes >= UNREAD_BYTES

    def settle(self) -> None:
        """Reads what was absorbed."""
        with self._lock:
            if records := self._unread.waiting():
                self._state = self._grown(records)
                self._unread.take_off(records[-1].seq)

    def _grown(self, records: Sequence[Record]) -> _State:
        state = self._state
        fresh = [record for record in records if record.seq > state.snapshot.position]
        taken = rows.of_records(fresh)
        if taken.unreadable:
            log.error("history.unreadable", seqs=taken.unreadable, hint="frames of another version: see haechi account")
        told = state.told.grown([one for one in fresh if one.seq not in taken.unreadable])
        tail = state.tail.grown(taken.batches) if taken.batches else state.tail
        return _State(state.snapshot, tail, told)

    def refresh(self) -> int:
        """Takes the newest committed state and drops the tail it covers, in one step for queries. Returns its
        position.
        """
        with self._refreshing:
            snapshot = self._files.newest()
            with self._lock:
                position = snapshot.position
                self._state = _State(snapshot, self._state.tail.after(position), self._state.told.after(position))
                self._unread.take_off(position)
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
        return self._state.tail.count + self._unread.rows

    def close(self) -> None:
        """Releases files and memory."""
        self._files.close()

    def _ask(self, question: Callable[[_State], Answer]) -> Answer:
        self.settle()
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
