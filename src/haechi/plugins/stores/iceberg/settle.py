"""Which rows are new and which repeat what is stored: pure columns in, columns out. Used by the writer and by every
query.

Two rows are the same observation when entity, attribute, instant and value agree; the first stored stays. Another
value for the same instant is a *revision*: it is kept, numbered in the order of the log, and the highest number holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from haechi.core.observation import STORED

KEY = ["entity", "attribute", "observed_at", "value", "text"]
_KEYS = pa.schema([STORED.field(name).with_nullable(True) for name in KEY])
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settled:
    """`rows` sorted by entity, attribute, instant and revision, with column `revision`; what was left out, per link."""

    rows: pa.Table
    duplicates: Mapping[str, int]


def settle(new: pa.Table, stored: pa.Table | None = None) -> Settled:
    """`new` in order of seq; `stored` holds the `KEY` columns of stored rows at the same instants of the same
    series.
    """
    before = 0 if stored is None else stored.num_rows
    both = [new] if stored is None else [stored, new]
    keys = pa.concat_tables([one.select(KEY).cast(_KEYS) for one in both]).combine_chunks()
    series = _series(keys)
    instants = keys.column("observed_at").combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)
    order = np.lexsort((instants, series))
    repeats = (series[order][1:] == series[order][:-1]) & (instants[order][1:] == instants[order][:-1])
    if not before and not repeats.any():
        return _result(new, order, np.zeros(len(order), np.int64), {})
    kept, revision = _numbered(keys, order, repeats)
    dropped = order[~kept]
    fresh = kept & (order >= before)
    return _result(new, order[fresh] - before, revision[fresh], _per_link(new, dropped[dropped >= before] - before))


def _result(new: pa.Table, order: Numbers, revision: Numbers, duplicates: Mapping[str, int]) -> Settled:
    rows = new.combine_chunks().take(pa.array(order))
    return Settled(rows.append_column("revision", pa.array(revision.astype(np.int32))), duplicates)


def _per_link(new: pa.Table, rows: Numbers) -> dict[str, int]:
    counted = pc.value_counts(new.column("link").combine_chunks().take(pa.array(rows)))
    return {one["values"].as_py(): one["counts"].as_py() for one in counted}


def _series(keys: pa.Table) -> Numbers:
    """One number per row that orders rows by entity, then attribute."""
    attributes = ranks(keys.column("attribute"))
    width = int(attributes.max(initial=0)) + 1
    return ranks(keys.column("entity")) * width + attributes


def ranks(column: pa.ChunkedArray) -> Numbers:
    """Place of each string among the distinct ones in byte order, as Parquet and Iceberg compare; -1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    place = np.empty(len(coded.dictionary) + 1, np.int64)
    place[pc.array_sort_indices(coded.dictionary).to_numpy()] = np.arange(len(coded.dictionary))
    place[-1] = -1
    found: Numbers = place[pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)]
    return found


def _numbered(keys: pa.Table, order: Numbers, repeats: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Numbers]:
    """Per place in `order`: whether the row stays, and its revision within its instant."""
    starts = np.concatenate(([True], ~repeats))
    instant = np.cumsum(starts) - 1  # number of the (series, instant) each place belongs to
    crowded = np.nonzero(~starts | np.concatenate((repeats, [False])))[0]  # places that share their instant
    rows = order[crowded]
    content = _content(keys.take(pa.array(rows)))
    # lexsort is stable and `order` keeps the log's order within an instant: the first of equal content is the first
    # stored
    alike = np.lexsort((*content, instant[crowded]))
    same = instant[crowded][alike][1:] == instant[crowded][alike][:-1]
    for column in content:
        same &= column[alike][1:] == column[alike][:-1]
    kept = np.ones(len(order), bool)
    kept[crowded[alike[1:][same]]] = False
    seen = np.cumsum(kept)
    first = np.nonzero(starts)[0]
    return kept, seen - seen[first][instant]


def _content(keys: pa.Table) -> tuple[Numbers, Numbers, Numbers]:
    """Columns that agree where two rows have the same content; -0.0 is 0.0 and NaN is NaN."""
    value = keys.column("value").combine_chunks()
    numbers = pc.fill_null(value, 0.0).to_numpy(zero_copy_only=False) + 0.0
    numbers = np.where(np.isnan(numbers), np.nan, numbers)
    absent = pc.is_null(value).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers.view(np.int64), absent, ranks(keys.column("text"))
