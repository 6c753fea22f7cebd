"""The newest row of each series at an instant: newest hour first, further back only for what was not found. Used by
`answer`.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from haechi.plugins.stores.iceberg.engine import Engine, Sql
from haechi.plugins.stores.iceberg.layout import HOUR
from haechi.plugins.stores.iceberg.plan import FileSet
from haechi.plugins.stores.iceberg.rows import ANSWER, READ, effective, in_time, shaped
from haechi.ports import SeriesQuery

_WIDER = 8  # each look goes back so many times further: an hour, eight, three days, three weeks, half a year


def latest(engine: Engine, files: FileSet, tail: pa.Table, asked: SeriesQuery) -> pa.Table:
    """One row per series that has one before `asked.end`, in columns `rows.ANSWER`, by entity and attribute."""
    pending = set(product(asked.entities, asked.attributes))
    found: list[pa.Table] = []
    end, span = asked.end, HOUR
    while pending:
        entities = sorted({entity for entity, _ in pending})
        newest = _newest(files, tail, entities, end)
        if newest is None:
            break
        start = newest - span + 1
        rows = _last_rows(engine, files, tail, replace(asked, entities=tuple(entities), start=start, end=end))
        keys = list(zip(rows.column("entity").to_pylist(), rows.column("attribute").to_pylist(), strict=True))
        found.append(rows.filter(pa.array([key in pending for key in keys], pa.bool_())))
        pending.difference_update(keys)
        end, span = start, span * _WIDER
    if not found:
        return ANSWER.empty_table()
    return pa.concat_tables(found).sort_by([("entity", "ascending"), ("attribute", "ascending")])


def _newest(files: FileSet, tail: pa.Table, entities: Sequence[str], end: int) -> int | None:
    """An instant before `end` no row of these entities is later than; None when there is no row."""
    bounds = [min(one.last_at, end - 1) for one in files.within(-(1 << 62), end, entities)]
    instants = tail.column("observed_at").cast(pa.int64())
    last = pc.max(instants.filter(pc.less(instants, end))).as_py()
    return max([*bounds, *([] if last is None else [last])], default=None)


def _last_rows(engine: Engine, files: FileSet, tail: pa.Table, query: SeriesQuery) -> pa.Table:
    where = in_time(query, query.start, query.end)
    rows = effective(files.within(query.start, query.end, query.entities), tail, READ, where)
    last = "QUALIFY row_number() OVER (PARTITION BY entity, attribute ORDER BY observed_at DESC) = 1"
    return shaped(engine.ask(Sql(f"SELECT {READ} FROM ({rows.text}) {last}", rows.values), {"tail": tail}))
