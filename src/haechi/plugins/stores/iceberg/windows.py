"""Windowed aggregates as SQL, from rows or from hourly sums where those say exactly the same. Used by `answer`.

The hours of a range come from `hourly`, except: hours with corrections (*dirty*: their sums count values that no
longer hold), rows newer than the last roll-up, and the broken hours at both ends. Those come from rows; all parts are
disjoint and merge.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from haechi.plugins.stores.iceberg.engine import Engine, Sql, among, between, join, prefixed, scan
from haechi.plugins.stores.iceberg.layout import HOUR
from haechi.plugins.stores.iceberg.plan import DataFile, FileSet
from haechi.plugins.stores.iceberg.rollup import AGGREGATES, MERGED, PARTIAL, bucket
from haechi.plugins.stores.iceberg.rows import SUMMED, both, effective, has_revisions, in_time
from haechi.ports import SeriesQuery

_LEAST = 24 * HOUR  # below this range the rows themselves are as quick
_KEYS = "entity, attribute, hour_at"


@dataclass(frozen=True, slots=True)
class State:
    """One committed state: the files of both tables and how far each goes."""

    position: int
    files: FileSet
    hourly: FileSet
    rolled: int  # seq up to which `hourly` sums
    instances: FileSet = field(default_factory=FileSet)


def windows(state: State, query: SeriesQuery, tail: pa.Table, engine: Engine) -> pa.Table:
    """The answer to a question with a window; `tail` settled."""
    assert query.window_us is not None
    whole = _whole_hours(query)
    if whole is None or not state.rolled:
        files = state.files.within(query.start, query.end, query.entities)
        rows = effective(files, tail, SUMMED, in_time(query, query.start, query.end))
        return engine.ask(
            _final(query, _summed(rows, query.window_us, ", stddev_samp(value) AS spread")), {"tail": tail}
        )
    parts = _Parts(state, query, tail, *whole)
    dirty = parts.dirty(engine)
    merged = join(" UNION ALL ", parts.all(dirty))
    text = f"SELECT entity, attribute, window_us, {MERGED} FROM ({merged.text}) GROUP BY ALL"
    return engine.ask(_final(query, Sql(text, merged.values)), {"tail": tail, "dirty": dirty})


def _whole_hours(query: SeriesQuery) -> tuple[int, int] | None:
    """First and end of the whole hours of a question that hourly sums can answer exactly; None when they cannot."""
    assert query.window_us is not None
    if query.window_us % HOUR or query.known_at is not None or "stddev" in query.aggregates or query.without:
        return None  # sums hold what was taken back later, too
    start, end = -(-query.start // HOUR) * HOUR, query.end // HOUR * HOUR
    return (start, end) if end - start >= _LEAST else None


def _summed(rows: Sql, window_us: int, more: str = "") -> Sql:
    at = bucket("observed_at", window_us)
    text = f"SELECT entity, attribute, {at.text} AS window_us, {PARTIAL}{more} FROM ({rows.text}) GROUP BY ALL"
    return Sql(text, (*at.values, *rows.values))


def _final(query: SeriesQuery, sums: Sql) -> Sql:
    wanted = ", ".join(f"({AGGREGATES[name]}) AS {name}" for name in query.aggregates)
    direction = "DESC" if query.descending else "ASC"
    text = (
        f"SELECT entity, attribute, make_timestamptz(window_us) AS window_at, {wanted} FROM ({sums.text}) "
        f"ORDER BY entity, attribute, window_us {direction} LIMIT ?"
    )
    return Sql(text, (*sums.values, query.limit))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The disjoint parts of one answer; `start` and `end` bound the whole hours."""

    state: State
    query: SeriesQuery
    tail: pa.Table
    start: int
    end: int

    def dirty(self, engine: Engine) -> pa.Table:
        """Series and hours with corrections, distinct."""
        found = []
        hourly = [one for one in self._hourly() if one.revised]
        if hourly:
            found.append(scan(hourly, _KEYS, join(" AND ", [Sql("revised > 0"), self._hours()])))
        files = [one for one in self._unrolled() if one.revised]
        if files or has_revisions(self.tail):
            hour = bucket("observed_at", HOUR)
            rows = both(files, SUMMED, join(" AND ", [Sql("revision > 0"), self._new_rows()]))
            text = f"SELECT entity, attribute, make_timestamptz({hour.text}) AS hour_at FROM ({rows.text})"
            found.append(Sql(text, (*hour.values, *rows.values)))
        if not found:
            found = [Sql("SELECT entity, attribute, observed_at AS hour_at FROM tail WHERE false")]
        return engine.ask(
            prefixed(f"SELECT DISTINCT {_KEYS} FROM (", join(" UNION ALL ", found), ")"), {"tail": self.tail}
        )

    def all(self, dirty: pa.Table) -> list[Sql]:
        """Partials per window, of everything asked for."""
        window = self._window()
        parts = []
        if hourly := self._hourly():
            at = bucket("hour_at", window)
            sums = "rows, numbers, total, low, high, first_value, first_at, last_value, last_at"
            rows = self._clean(scan(hourly, f"{_KEYS}, {sums}", self._hours()), dirty)
            parts.append(
                Sql(
                    f"SELECT entity, attribute, {at.text} AS window_us, {sums} FROM ({rows.text})",
                    (*at.values, *rows.values),
                )
            )
        new = both(self._unrolled(), SUMMED, self._new_rows())
        parts.append(_summed(self._clean(self._with_hour(new), dirty), window))
        parts.append(_summed(self._edges(), window))
        if dirty.num_rows:
            parts.append(_summed(self._corrected(dirty), window))
        return parts

    def _window(self) -> int:
        assert self.query.window_us is not None
        return self.query.window_us

    def _hourly(self) -> list[DataFile]:
        return self.state.hourly.within(self.start, self.end, self.query.entities)

    def _unrolled(self) -> list[DataFile]:
        files = self.state.files.within(self.start, self.end, self.query.entities)
        return [one for one in files if one.seq_high > self.state.rolled]

    def _hours(self) -> Sql:
        series = [among("entity", self.query.entities), among("attribute", self.query.attributes)]
        return join(" AND ", [between("hour_at", self.start, self.end), *series])

    def _new_rows(self) -> Sql:
        return join(" AND ", [Sql("seq > ?", (self.state.rolled,)), in_time(self.query, self.start, self.end)])

    def _edges(self) -> Sql:
        query, files = self.query, self.state.files
        spans = [(query.start, self.start), (self.end, query.end)]
        near = {
            one.path: one for start, end in spans if start < end for one in files.within(start, end, query.entities)
        }
        where = join(" OR ", [prefixed("(", in_time(query, start, end), ")") for start, end in spans])
        return effective(list(near.values()), self.tail, SUMMED, prefixed("(", where, ")"))

    def _corrected(self, dirty: pa.Table) -> Sql:
        hours = pc.min_max(dirty.column("hour_at").combine_chunks().cast(pa.int64()))
        start, end = hours["min"].as_py(), hours["max"].as_py() + HOUR
        files = self.state.files.within(start, end, self.query.entities)
        rows = self._with_hour(effective(files, self.tail, SUMMED, in_time(self.query, start, end)))
        return prefixed("SELECT * FROM (", rows, f") SEMI JOIN dirty USING ({_KEYS})")

    @staticmethod
    def _with_hour(rows: Sql) -> Sql:
        hour = bucket("observed_at", HOUR)
        text = f"SELECT *, make_timestamptz({hour.text}) AS hour_at FROM ({rows.text})"
        return Sql(text, (*hour.values, *rows.values))

    @staticmethod
    def _clean(rows: Sql, dirty: pa.Table) -> Sql:
        return prefixed("SELECT * FROM (", rows, f") ANTI JOIN dirty USING ({_KEYS})") if dirty.num_rows else rows
