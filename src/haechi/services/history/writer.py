"""The projection that writes history: gathers what the log brings and commits it every few seconds with its position.

Run by the pipeline role. The log is its write-ahead log: what was gathered and not yet committed is fed again after
a restart.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np
import orjson
import pyarrow as pa
import structlog

from haechi.core.times import DAY
from haechi.ports import HistoryStore, Notice, Record
from haechi.services.history import rows, said
from haechi.services.history.upkeep import Upkeep

_DAYS_MAX = 100  # a commit writes a file a day: `flush_rows` over more days than this are worth waiting for more
_SCATTERED_MAX = 5  # … but not for more than so many times `flush_rows`
log = structlog.get_logger(__name__)


class HistoryWriter:
    """A `Projection`. `flush_s` bounds how long a reader's tail grows, `flush_rows` how much memory gathering takes."""

    name = "history"
    subjects = frozenset({"obs", "entity"})
    after: tuple[str, ...] = ()

    def __init__(
        self,
        store: HistoryStore,
        *,
        flush_s: float = 20.0,
        flush_rows: int = 200_000,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store = store
        self._upkeep = Upkeep(monotonic)
        self._flush_s = flush_s
        self._flush_rows = flush_rows
        self._gathered: list[pa.RecordBatch] = []
        self._said: list[pa.RecordBatch] = []
        self._count = 0
        self._next_look = flush_rows
        self._seen = store.position()
        self._since: datetime | None = None  # when the oldest record not yet committed was gathered

    def position(self) -> int:
        """Seq of the last record whose rows are in committed files."""
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        """Gathers; commits when `flush_rows` are there. `Unavailable` (disk full): nothing is lost, the next call
        tries again.

        Records passed again after such an error are known by their seq and gathered once.
        """
        fresh = [record for record in records if record.seq > self._seen]
        if fresh:
            self._gather(fresh, now)
        return self._flush() if self._is_full() or self._is_old(now) else ()

    def tick(self, now: datetime) -> Sequence[Notice]:
        """Commits what is older than `flush_s`; otherwise one bounded step of upkeep."""
        if self._is_old(now):
            return self._flush()
        with self._upkeep.step(now) as done:
            done.append(self._store.maintain(now))
        return (self._notice(),) if done[0] else ()

    def upkeep(self) -> Mapping[str, float | int | None]:
        """How the upkeep of the files goes: `at` (µs) and `took_s` of the last step that had anything to do,
        `running_s` of the one under way, `failing_s` since the first of those that fail."""
        return self._upkeep.told()

    def flush(self) -> Sequence[Notice]:
        """Commits what is gathered now (before a stop, in tests)."""
        return self._flush() if self._since is not None else ()

    def close(self) -> None:
        """Releases the table; what was gathered comes again from the log."""
        self._store.close()

    def _gather(self, fresh: Sequence[Record], now: datetime) -> None:
        taken = rows.of_records(fresh)
        if taken.unreadable:
            log.error("history.unreadable", seqs=taken.unreadable, hint="frames of another version: see haechi account")
        self._gathered += taken.batches
        told = said.of_records([one for one in fresh if one.seq not in taken.unreadable])
        self._said += [told] if told.num_rows else []
        self._count += taken.count
        self._seen = fresh[-1].seq
        self._since = self._since or now

    def _is_full(self) -> bool:
        """Enough for files of a good size. A backfill that scatters rows over many days is gathered for longer."""
        if self._count < self._next_look:
            return False
        self._next_look += self._flush_rows
        if self._count >= _SCATTERED_MAX * self._flush_rows:
            return True
        return self._count * _DAYS_MAX >= self._flush_rows * self._days()

    def _days(self) -> int:
        instants = [batch.column("observed_at").cast(pa.int64()).to_numpy() for batch in self._gathered]
        return len(np.unique(np.concatenate(instants) // DAY))

    def _is_old(self, now: datetime) -> bool:
        return self._since is not None and (now - self._since).total_seconds() >= self._flush_s

    def _flush(self) -> Sequence[Notice]:
        self._next_look = self._count  # should this fail, the next call tries again
        self._store.append(rows.to_table(self._gathered), self._seen, said.to_table(self._said))
        self._gathered, self._count, self._since, self._next_look = [], 0, None, self._flush_rows
        self._said = []
        pa.default_memory_pool().release_unused()  # or the largest commit so far would be held for good
        return (self._notice(),)

    def _notice(self) -> Notice:
        return Notice("history.committed", orjson.dumps({"seq": self._store.position()}))
