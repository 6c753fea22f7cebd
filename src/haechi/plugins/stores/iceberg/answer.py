"""Questions to one committed state together with the tail. A new one per commit; used from many threads at once.

The tail arrives raw and is settled first: what repeats a stored row is gone, and revisions continue those in files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import NOTHING_SAID, Forgotten
from haechi.plugins.stores.iceberg import forgotten
from haechi.plugins.stores.iceberg.engine import Engine, Sql
from haechi.plugins.stores.iceberg.evolution import Evolution
from haechi.plugins.stores.iceberg.latest import latest
from haechi.plugins.stores.iceberg.rows import READ, effective, in_time, shaped
from haechi.plugins.stores.iceberg.stored import settled
from haechi.plugins.stores.iceberg.windows import State, windows
from haechi.ports import EvolutionQuery, Periods, SeriesQuery


class Answers:
    """A `HistorySnapshot`. `counters` per link: rows written, duplicates left out, rows expired."""

    def __init__(self, state: State, counters: Mapping[str, tuple[int, int, int]], engine: Engine) -> None:
        self.state = state
        self._counters = counters
        self._engine = engine
        self._taken_back: tuple[Forgotten, ...] | None = None

    @property
    def position(self) -> int:
        """Seq up to which the files are complete."""
        return self.state.position

    def series(self, query: SeriesQuery, tail: pa.Table, said: pa.Table = NOTHING_SAID) -> pa.Table:
        """See `HistoryReader.series`."""
        rows, without = self._settled(tail, said, query.entities)
        query = replace(query, without=without)
        if query.window_us is not None:
            return windows(self.state, query, rows, self._engine)
        files = self.state.files.within(query.start, query.end, query.entities)
        held = effective(files, rows, READ, in_time(query, query.start, query.end))
        direction = "DESC" if query.descending else "ASC"
        text = f"SELECT * FROM ({held.text}) ORDER BY entity, attribute, observed_at {direction} LIMIT ?"
        return shaped(self._engine.ask(Sql(text, (*held.values, query.limit)), {"tail": rows}))

    def latest(
        self,
        entities: Sequence[str],
        attributes: Sequence[str],
        at: int,
        tail: pa.Table,
        said: pa.Table = NOTHING_SAID,
    ) -> pa.Table:
        """See `HistoryReader.latest`."""
        rows, without = self._settled(tail, said, entities)
        asked = SeriesQuery(tuple(entities), tuple(attributes), at, at + 1, without=without)
        return latest(self._engine, self.state.files, rows, asked)

    def counts(self, tail: pa.Table) -> dict[str, int]:
        """See `HistoryReader.counts`."""
        held = {link: written - expired for link, (written, _, expired) in self._counters.items()}
        for one in pc.value_counts(self._settled(tail, NOTHING_SAID, ())[0].column("link")):
            link = one["values"].as_py()
            held[link] = held.get(link, 0) + one["counts"].as_py()
        return held

    def evolution(self, query: EvolutionQuery, tail: pa.Table, said: pa.Table) -> pa.Table:
        """See `EvolutionReader.evolution`."""
        return self._evolution(query.entities, tail, said).rows(query)

    def sums(self, query: EvolutionQuery, periods: Periods, tail: pa.Table, said: pa.Table) -> pa.Table:
        """See `EvolutionReader.sums`."""
        return self._evolution(query.entities, tail, said).sums(query, periods)

    def entities_with(self, query: EvolutionQuery, tail: pa.Table, said: pa.Table) -> frozenset[str]:
        """See `EvolutionReader.entities_with`."""
        return self._evolution(query.entities, tail, said).entities(query)

    def said(self, entities: Sequence[str], said: pa.Table) -> pa.Table:
        """See `EvolutionReader.said`."""
        without = forgotten.of((*self._forgotten(), *forgotten.in_rows(said)), frozenset(entities))
        return Evolution(self.state, self._engine, said.slice(0, 0), said, without).told(entities)

    def _evolution(self, entities: Sequence[str], tail: pa.Table, said: pa.Table) -> Evolution:
        rows, without = self._settled(tail, said, entities)
        return Evolution(self.state, self._engine, rows, said, without)

    def _forgotten(self) -> tuple[Forgotten, ...]:
        if self._taken_back is None:
            self._taken_back = forgotten.in_files(self._engine, self.state.instances.files, self.state.position)
        return self._taken_back

    def _settled(
        self, tail: pa.Table, said: pa.Table, entities: Sequence[str]
    ) -> tuple[pa.Table, tuple[Forgotten, ...]]:
        """The tail without what repeats stored rows or is taken back, and all that is taken back of these entities."""
        fresh = forgotten.in_rows(said)
        without = forgotten.of((*self._forgotten(), *fresh), frozenset(entities))
        return settled(self._engine, self.state.files, forgotten.visible(tail, fresh), without).rows, without
