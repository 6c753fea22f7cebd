"""Questions to one committed state together with the tail. A new one per commit; used from many threads at once.

The tail arrives raw and is settled first: what repeats a stored row is gone, and revisions continue those in files.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from haechi.plugins.stores.iceberg.engine import Engine, Sql
from haechi.plugins.stores.iceberg.latest import latest
from haechi.plugins.stores.iceberg.rows import READ, effective, in_time, shaped
from haechi.plugins.stores.iceberg.stored import settled
from haechi.plugins.stores.iceberg.windows import State, windows
from haechi.ports import SeriesQuery


class Answers:
    """A `HistorySnapshot`. `counters` per link: rows written, duplicates left out, rows expired."""

    def __init__(self, state: State, counters: Mapping[str, tuple[int, int, int]], engine: Engine) -> None:
        self.state = state
        self._counters = counters
        self._engine = engine

    @property
    def position(self) -> int:
        """Seq up to which the files are complete."""
        return self.state.position

    def series(self, query: SeriesQuery, tail: pa.Table) -> pa.Table:
        """See `HistoryReader.series`."""
        rows = self._settled(tail)
        if query.window_us is not None:
            return windows(self.state, query, rows, self._engine)
        files = self.state.files.within(query.start, query.end, query.entities)
        held = effective(files, rows, READ, in_time(query, query.start, query.end))
        direction = "DESC" if query.descending else "ASC"
        text = f"SELECT * FROM ({held.text}) ORDER BY entity, attribute, observed_at {direction} LIMIT ?"
        return shaped(self._engine.ask(Sql(text, (*held.values, query.limit)), {"tail": rows}))

    def latest(self, entities: Sequence[str], attributes: Sequence[str], at: int, tail: pa.Table) -> pa.Table:
        """See `HistoryReader.latest`."""
        series = (tuple(entities), tuple(attributes))
        return latest(self._engine, self.state.files, self._settled(tail), series, at)

    def counts(self, tail: pa.Table) -> dict[str, int]:
        """See `HistoryReader.counts`."""
        held = {link: written - expired for link, (written, _, expired) in self._counters.items()}
        for one in pc.value_counts(self._settled(tail).column("link")):
            link = one["values"].as_py()
            held[link] = held.get(link, 0) + one["counts"].as_py()
        return held

    def _settled(self, tail: pa.Table) -> pa.Table:
        return settled(self._engine, self.state.files, tail).rows
