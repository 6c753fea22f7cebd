"""Rows already in files at the same instants of the same series as rows at hand. The writer and every query settle
by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import Forgotten
from haechi.plugins.stores.iceberg.engine import Engine, Sql, among, between, join, scan
from haechi.plugins.stores.iceberg.forgotten import kept, of
from haechi.plugins.stores.iceberg.plan import DataFile, FileSet
from haechi.plugins.stores.iceberg.settle import KEY, Settled, settle

_FEW = 0.1  # a file whose span covers less than this share of the rows is met by stragglers only
_FEW_ENTITIES = 200


def settled(engine: Engine, files: FileSet, rows: pa.Table, without: Sequence[Forgotten] = ()) -> Settled:
    """Rows (in order of seq) without those that repeat stored ones, numbered by revision. What is stored but taken back
    (`without`) is repeated by nothing."""
    if rows.num_rows == 0:
        return settle(rows)
    if without:
        without = of(without, frozenset(pc.unique(rows.column("entity")).to_pylist()))
    found = _stored_like(_Stored(engine, kept(without, datasets=False)), files, rows)
    return settle(rows, pa.concat_tables(found) if found else None)


@dataclass(frozen=True, slots=True)
class _Stored:
    engine: Engine
    kept: Sql


def _stored_like(stored: _Stored, files: FileSet, rows: pa.Table) -> list[pa.Table]:
    """Live rows meet the last file or two; stragglers meet many files, but are few: each kind is looked up on its
    own.
    """
    instants = rows.column("observed_at").combine_chunks().cast(pa.int64()).to_numpy()
    ordered = np.sort(instants)
    low, high = pc.min(rows.column("entity")).as_py(), pc.max(rows.column("entity")).as_py()
    candidates = files.within(int(ordered[0]), int(ordered[-1]) + 1, (low, high))
    live, late, late_spans = [], [], []
    for one in candidates:
        begin, stop = np.searchsorted(ordered, (one.first_at, one.last_at + 1)).tolist()
        if stop - begin > _FEW * len(ordered):
            live.append(one)
        elif stop > begin:
            late.append(one)
            late_spans.append((begin, stop))
    found = [_look_up(stored, live, rows)] if live else []
    if late:
        covered = np.zeros(len(ordered) + 1, np.int64)
        for begin, stop in late_spans:
            covered[begin] += 1
            covered[stop] -= 1
        wanted = np.unique(ordered[np.cumsum(covered)[:-1] > 0])
        found.append(_look_up(stored, late, rows.filter(pa.array(np.isin(instants, wanted)))))
    return [table for table in found if table.num_rows]


def _look_up(stored: _Stored, files: Sequence[DataFile], rows: pa.Table) -> pa.Table:
    spans = pc.min_max(rows.column("observed_at").combine_chunks().cast(pa.int64()))
    entities = pc.unique(rows.column("entity")).to_pylist()
    where = [between("observed_at", spans["min"].as_py(), spans["max"].as_py() + 1), stored.kept]
    if len(entities) <= _FEW_ENTITIES:
        where.append(among("entity", entities))
    columns = ", ".join(KEY)
    source = scan(files, columns, join(" AND ", where))
    text = f"SELECT {columns} FROM ({source.text}) SEMI JOIN wanted USING (entity, attribute, observed_at)"
    return stored.engine.ask(Sql(text, source.values), {"wanted": rows.select(["entity", "attribute", "observed_at"])})
