"""Cuts a run of observation batches down to the newest of each series, by entity. Called by the context projection."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa


class Newest(NamedTuple):
    """Columns, one row per (entity, attribute), rows of one entity side by side. Instants in microseconds."""

    entity: list[str]
    attribute: list[str]
    observed_at: list[int]
    content: list[Any]
    unit: list[str | None]
    quality: list[int]


def newest(batches: Sequence[pa.RecordBatch]) -> Newest:
    """Of observations of one series at one instant, the one that arrived last."""
    table = pa.Table.from_batches(list(batches)).combine_chunks()
    entities = table.column("entity").combine_chunks().dictionary_encode()
    attributes = table.column("attribute").combine_chunks().dictionary_encode()
    series = _codes(entities).astype(np.int64) * (len(attributes.dictionary) + 1) + _codes(attributes)
    instants = table.column("observed_at").cast(pa.int64()).to_numpy()
    order = np.lexsort((instants, series))  # stable: equal instants stay in order of arrival
    sorted_series = series[order]
    last = np.flatnonzero(np.append(sorted_series[1:] != sorted_series[:-1], True))
    rows = table.take(pa.array(order[last]))
    return Newest(
        rows.column("entity").to_pylist(),
        rows.column("attribute").to_pylist(),
        rows.column("observed_at").cast(pa.int64()).to_pylist(),
        _contents(rows),
        rows.column("unit").to_pylist(),
        rows.column("quality").to_pylist(),
    )


def _codes(encoded: Any) -> Any:
    array = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return array.indices.to_numpy(zero_copy_only=False)


def _contents(rows: pa.Table) -> list[Any]:
    values: list[Any] = rows.column("value").to_pylist()
    texts = rows.column("text")
    if texts.null_count == len(texts):
        return values
    return [
        value if text is None else orjson.loads(text) for value, text in zip(values, texts.to_pylist(), strict=True)
    ]
