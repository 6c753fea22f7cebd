"""The boundary of history as Protocols; part of `ports`, which names them all. Services and faces import it from there.

Each Protocol has at most five methods of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from haechi.core.instances import NOTHING_SAID, Forgotten


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """A question to history. Instants in microseconds; `start` inclusive, `end` exclusive, of `observed_at`."""

    entities: tuple[str, ...]
    attributes: tuple[str, ...]
    start: int
    end: int
    window_us: int | None = None  # aggregate per window, aligned to the epoch
    aggregates: tuple[str, ...] = ("mean",)  # mean min max sum count first last stddev
    known_at: int | None = None  # only what was stored by then: "what was known when"
    limit: int = 100_000
    descending: bool = False
    without: tuple[Forgotten, ...] = ()  # taken back; filled in by whoever answers


@dataclass(frozen=True, slots=True)
class EvolutionQuery:
    """A question about instances of attributes, whoever gave them. `start` inclusive, `end` exclusive, of `by`."""

    entities: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()  # "" the default instances; none named: all
    by: str = "observed_at"  # or created_at, modified_at
    start: int | None = None
    end: int | None = None
    stated: bool = False  # only instances that came with an observedAt
    last: int | None = None  # so many of each series, the newest
    limit: int = 10_000
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Periods:
    """How an aggregation divides time: at `bounds` (µs, rising), or every `width_us` from `origin`; neither: not."""

    origin: int = 0
    width_us: int | None = None
    bounds: tuple[int, ...] = ()


class EvolutionReader(Protocol):
    """History as the temporal API sees it: instances of attributes, from files and tail as one answer."""

    def evolution(self, query: EvolutionQuery) -> pa.Table:
        """Rows of `core.instances.EVOLUTION`, by time (of `by`), the oldest first unless descending."""

    def sums(self, query: EvolutionQuery, periods: Periods) -> pa.Table:
        """Per entity, attribute, dataset and period: period_at (µs), kind, rows, distinct_rows, numbers, total, mean,
        low, high, spread, squares, low_text, high_text, first_at, last_at; in that order."""

    def entities_with(self, query: EvolutionQuery) -> frozenset[str]:
        """Those of the entities asked for that have any such instance."""

    def said(self, entities: Sequence[str]) -> pa.Table:
        """Rows of `core.instances.INSTANCES` that are no instances: types, deletions, replacements; by seq, place."""


class HistoryReader(Protocol):
    """Everything that was true: committed files and the tail that is newer than them, as one answer."""

    def position(self) -> int:
        """Seq up to which answers are complete."""

    def series(self, query: SeriesQuery) -> pa.Table:
        """Rows entity, attribute, observed_at, received_at, stored_at, value, text, unit, quality, link — or, with
        a window,
        entity, attribute, window_at and a column per aggregate. Ordered by entity, attribute, time. Duplicates
        appear once."""

    def latest(self, entities: Sequence[str], attributes: Sequence[str], at: int) -> pa.Table:
        """The newest row of each series with observed_at <= `at`, columns as in `series`."""

    def counts(self) -> Mapping[str, int]:
        """Rows held per link (after removal of duplicates), for the account."""


class EvolutionSnapshot(Protocol):
    """What one committed state of history answers the temporal API; see `EvolutionReader` and `HistorySnapshot`."""

    def evolution(self, query: EvolutionQuery, tail: pa.Table, said: pa.Table) -> pa.Table:
        """As `EvolutionReader.evolution`."""

    def sums(self, query: EvolutionQuery, periods: Periods, tail: pa.Table, said: pa.Table) -> pa.Table:
        """As `EvolutionReader.sums`."""

    def entities_with(self, query: EvolutionQuery, tail: pa.Table, said: pa.Table) -> frozenset[str]:
        """As `EvolutionReader.entities_with`."""

    def said(self, entities: Sequence[str], said: pa.Table) -> pa.Table:
        """As `EvolutionReader.said`."""


class HistorySnapshot(EvolutionSnapshot, Protocol):
    """One committed state of the history table, immutable; each answer joins it with rows newer than it.

    `tail` holds rows of `core.observation.STORED` with seq > `position`, in order of seq; the same observation may
    be in both. `said` holds rows of `core.instances.INSTANCES` with seq > `position`: those of the entities asked for,
    and all that take something back.
    """

    @property
    def position(self) -> int:
        """Seq up to which this state is complete."""

    def series(self, query: SeriesQuery, tail: pa.Table, said: pa.Table = NOTHING_SAID) -> pa.Table:
        """As `HistoryReader.series`; `tail` holds at least the rows the query asks for."""

    def latest(
        self,
        entities: Sequence[str],
        attributes: Sequence[str],
        at: int,
        tail: pa.Table,
        said: pa.Table = NOTHING_SAID,
    ) -> pa.Table:
        """As `HistoryReader.latest`."""

    def counts(self, tail: pa.Table) -> Mapping[str, int]:
        """As `HistoryReader.counts`; `tail` is the whole tail."""


class HistoryFiles(Protocol):
    """Where a reading process gets committed states from."""

    def newest(self) -> HistorySnapshot:
        """The current state; the same object until the next commit. An empty one before the first."""

    def close(self) -> None:
        """Releases files and memory; answers under way fail."""


class HistoryStore(Protocol):
    """The open columnar table behind history, as its one writer sees it."""

    def position(self) -> int:
        """Seq given with the last commit, 0 at first."""

    def append(self, rows: pa.Table, position: int, said: pa.Table | None = None) -> None:
        """Makes rows (`core.observation.STORED`, in order of seq) and position durable in one commit, duplicates
        left out; what the API `said` (`core.instances.INSTANCES`) before that, so that it is never missing."""

    def maintain(self, now: datetime) -> bool:
        """One bounded step of upkeep (merging, roll-ups, expiry, retention); whether it did anything."""

    def close(self) -> None:
        """Releases files."""
