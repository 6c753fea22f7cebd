"""Instances of attributes as the temporal API asks for them: observations and `instances`, files and tail, as one.

Used by `answer`. What the API said beside an observation replaces that observation; of one series and instant the
newest in the log holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from haechi.core.instances import EVOLUTION, Forgotten
from haechi.plugins.stores.iceberg.engine import Engine, Sql, among, instant, join, prefixed, scan
from haechi.plugins.stores.iceberg.forgotten import kept
from haechi.plugins.stores.iceberg.rows import asked, effective
from haechi.plugins.stores.iceberg.windows import State
from haechi.ports import EvolutionQuery, Periods, SeriesQuery

_EVER = 1 << 62
_FIELDS = ", ".join(EVOLUTION.names)
_READ = "entity, attribute, observed_at, received_at, value, text, unit, link, revision, seq"
_OBSERVED = """entity, attribute, '' AS dataset, observed_at,
 CASE WHEN link = 'api' AND observed_at = received_at THEN 0 ELSE 1 END AS stated,
 received_at AS created_at, received_at AS modified_at, NULL::VARCHAR AS kind, value, text, unit,
 NULL::VARCHAR AS more, NULL::VARCHAR AS instance, seq, -1 AS place"""
# Booleans count as 0 and 1, arrays by their length (table 4.5.19.1-1); anything else is no number.
_NUMBER = (
    "CASE WHEN value IS NOT NULL THEN value WHEN text = 'true' THEN 1 WHEN text = 'false' THEN 0 "
    "WHEN text LIKE '[%' THEN json_array_length(text) END"
)
_SUMS = f"""any_value(kind) AS kind, count(*) AS rows, count(DISTINCT coalesce(text, value::VARCHAR)) AS distinct_rows,
 count({_NUMBER}) AS numbers, sum({_NUMBER}) AS total, avg({_NUMBER}) AS mean, min({_NUMBER}) AS low,
 max({_NUMBER}) AS high, stddev_pop({_NUMBER}) AS spread, sum({_NUMBER} * {_NUMBER}) AS squares,
 min(text) FILTER (text LIKE '"%') AS low_text, max(text) FILTER (text LIKE '"%') AS high_text"""
_BY = {"observed_at": "observed_at", "created_at": "created_at", "modified_at": "modified_at"}


@dataclass(frozen=True, slots=True)
class Evolution:
    """One committed state with its tail: `tail` are settled observations, `said` rows of INSTANCES newer than it."""

    state: State
    engine: Engine
    tail: pa.Table
    said: pa.Table
    without: tuple[Forgotten, ...]

    def rows(self, query: EvolutionQuery) -> pa.Table:
        """See `EvolutionReader.evolution`."""
        source, tables = self._source(query)
        direction = "DESC" if query.descending else "ASC"
        by = _BY[query.by]
        if query.last is not None:
            series = f"PARTITION BY entity, attribute, dataset ORDER BY {by} DESC, seq DESC"
            newest = f"SELECT * FROM ({source.text}) QUALIFY row_number() OVER ({series}) <= ?"
            source = Sql(newest, (*source.values, query.last))
        order = f"{by} {direction}, entity, attribute, dataset, seq, place"
        text = f"SELECT {_FIELDS} FROM ({source.text}) ORDER BY {order} LIMIT ?"
        return self.engine.ask(Sql(text, (*source.values, query.limit)), tables).cast(EVOLUTION)

    def sums(self, query: EvolutionQuery, periods: Periods) -> pa.Table:
        """See `EvolutionReader.sums`."""
        source, tables = self._source(query)
        period, by = _period(_BY[query.by], periods), _BY[query.by]
        ends = f"epoch_us(min({by})) AS first_at, epoch_us(max({by})) AS last_at"
        text = (
            f"SELECT entity, attribute, dataset, {period.text} AS period_at, {_SUMS}, {ends} FROM ({source.text}) "
            "GROUP BY entity, attribute, dataset, period_at ORDER BY entity, attribute, dataset, period_at LIMIT ?"
        )
        return self.engine.ask(Sql(text, (*period.values, *source.values, query.limit)), tables)

    def entities(self, query: EvolutionQuery) -> frozenset[str]:
        """See `EvolutionReader.entities_with`."""
        source, tables = self._source(query)
        found = self.engine.ask(prefixed("SELECT DISTINCT entity FROM (", source, ")"), tables)
        return frozenset(found.column("entity").to_pylist())

    def told(self, entities: Sequence[str]) -> pa.Table:
        """See `EvolutionReader.said`."""
        columns = "entity, attribute, dataset, modified_at, text, act, seq, place"
        where = join(" AND ", [Sql("act IN ('type', 'delete', 'replace')"), self._visible(entities)])
        source = self._said(columns, where, -_EVER, _EVER, entities)
        return self.engine.ask(prefixed("SELECT * FROM (", source, ") ORDER BY seq, place"), {"said": self.said})

    def _source(self, query: EvolutionQuery) -> tuple[Sql, dict[str, pa.Table]]:
        """All instances that match, each once, and the tables the SQL names."""
        instances = self._instances(query)
        tables = {"tail": self.tail, "said": self.said, "inst": instances}
        parts = [self._observed(query)] if not query.datasets or "" in query.datasets else []
        if instances.num_rows or not parts:
            parts.append(Sql("SELECT * FROM inst"))
        source = join(" UNION ALL ", parts)
        if len(parts) > 1:  # `stated` is asked after: a later instance without observedAt has an instant of its own
            same = "PARTITION BY entity, attribute, dataset, observed_at ORDER BY seq DESC, place DESC"
            source = prefixed("SELECT * FROM (", source, f") QUALIFY row_number() OVER ({same}) = 1")
        return (prefixed("SELECT * FROM (", source, ") WHERE stated = 1"), tables) if query.stated else (source, tables)

    def _observed(self, query: EvolutionQuery) -> Sql:
        start, end = _span(query)
        if query.by != "observed_at":
            start, end = -_EVER, _EVER
        series = SeriesQuery(query.entities, query.attributes, start, end, without=self.without)
        column = "observed_at" if query.by == "observed_at" else "received_at"
        where = join(" AND ", [asked(series), *_bounds(column, query)])
        rows = effective(self.state.files.within(start, end, query.entities), self.tail, _READ, where)
        return prefixed(f"SELECT {_OBSERVED} FROM (", rows, ")")

    def _instances(self, query: EvolutionQuery) -> pa.Table:
        start, end = _span(query) if query.by == "observed_at" else (-_EVER, _EVER)
        where = join(
            " AND ",
            [
                Sql("act IN ('put', 'patch')"),
                self._visible(query.entities),
                among("attribute", query.attributes),
                among("dataset", query.datasets),
                *_bounds(_BY[query.by], query),
            ],
        )
        columns = f"{_FIELDS}, place"
        source = self._said(columns, where, start, end, query.entities)
        return self.engine.ask(source, {"said": self.said})

    def _said(self, columns: str, where: Sql, start: int, end: int, entities: Sequence[str]) -> Sql:
        """Rows of `instances`; files may be one commit ahead of the position, and the tail has those too."""
        rows = Sql(f"SELECT {columns} FROM said WHERE {where.text}", where.values)
        files = self.state.instances.within(start, end, entities)
        if not files:
            return rows
        committed = join(" AND ", [where, Sql("seq <= ?", (self.state.position,))])
        return join(" UNION ALL ", [scan(files, columns, committed), rows])

    def _visible(self, entities: Sequence[str]) -> Sql:
        return join(" AND ", [among("entity", entities), kept(self.without, datasets=True)])


def _span(query: EvolutionQuery) -> tuple[int, int]:
    return (-_EVER if query.start is None else query.start, _EVER if query.end is None else query.end)


def _bounds(column: str, query: EvolutionQuery) -> list[Sql]:
    bounds = []
    if query.start is not None:
        bounds.append(prefixed(f"{column} >= ", instant(query.start)))
    if query.end is not None:
        bounds.append(prefixed(f"{column} < ", instant(query.end)))
    return bounds


def _period(column: str, periods: Periods) -> Sql:
    if periods.bounds:
        text = f"list_max(list_filter(?::BIGINT[], lambda bound: bound <= epoch_us({column})))"
        return Sql(text, (list(periods.bounds),))
    if periods.width_us is None:
        return Sql("?::BIGINT", (periods.origin,))
    since = f"(epoch_us({column}) - ?::BIGINT)"
    return Sql(f"?::BIGINT + {since} // ?::BIGINT * ?::BIGINT", (*(periods.origin,) * 2, *(periods.width_us,) * 2))
