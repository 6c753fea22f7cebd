"""Hourly sums of observations, in SQL: how they are made from rows, merged, and turned into answers. Writer and
readers share it.

A row of `hourly` is a *partial*: sums over some of the rows of one series and hour. Partials of disjoint rows merge
into the sums of all of them, which is why late rows need no correction: they are another partial.
"""

from haechi.plugins.stores.iceberg.engine import Sql
from haechi.plugins.stores.iceberg.layout import HOUR

MERGED = """sum(rows)::BIGINT AS rows, sum(numbers)::BIGINT AS numbers, sum(total) AS total,
 min(low) AS low, max(high) AS high,
 arg_min(first_value, first_at) AS first_value, min(first_at) AS first_at,
 arg_max(last_value, last_at) AS last_value, max(last_at) AS last_at"""

PARTIAL = """count(*) AS rows, count(value) AS numbers, sum(value) AS total, min(value) AS low, max(value) AS high,
 arg_min(value, observed_at) AS first_value, min(observed_at) FILTER (value IS NOT NULL) AS first_at,
 arg_max(value, observed_at) AS last_value, max(observed_at) FILTER (value IS NOT NULL) AS last_at"""

AGGREGATES = {
    "mean": "total / nullif(numbers, 0)",
    "min": "low",
    "max": "high",
    "sum": "total",
    "count": "rows",
    "first": "first_value",
    "last": "last_value",
    "stddev": "spread",
}


def bucket(column: str, width_us: int) -> Sql:
    """Start of the window an instant falls into, aligned to the epoch, also before 1970; microseconds."""
    text = f"epoch_us({column}) - ((epoch_us({column}) % ?::BIGINT) + ?::BIGINT) % ?::BIGINT"
    return Sql(text, (width_us, width_us, width_us))


def partials(rows: Sql) -> Sql:
    """One partial per series and hour of these rows (columns of observations)."""
    hour = bucket("observed_at", HOUR)
    text = (
        f"SELECT entity, attribute, make_timestamptz({hour.text}) AS hour_at, {PARTIAL}, "
        f"count(*) FILTER (revision > 0) AS revised, max(seq) AS seq FROM ({rows.text}) GROUP BY ALL ORDER BY ALL"
    )
    return Sql(text, (*hour.values, *rows.values))


def merged_partials(rows: Sql) -> Sql:
    """Partials of `hourly` with those of the same series and hour made one."""
    text = (
        f"SELECT entity, attribute, hour_at, {MERGED}, sum(revised)::BIGINT AS revised, max(seq) AS seq "
        f"FROM ({rows.text}) GROUP BY entity, attribute, hour_at ORDER BY entity, attribute, hour_at"
    )
    return Sql(text, rows.values)
