"""Cuts a run of observation batches down to the newest of each series, as columns. Called by the context projection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from haechi.core.values import Values

_NAMES = ("entity", "attribute", "observed_at", "value", "text", "unit", "quality")


def newest(batches: Sequence[pa.RecordBatch], at: int) -> Values:
    """Rows of one entity side by side; of observations of one series at one instant, the one that arrived last."""
    table = pa.Table.from_batches([one.select(_NAMES) for one in batches]).combine_chunks()
    entity, entities = _coded(table, "entity")
    attribute, attributes = _coded(table, "attribute")
    observed_at = table.column("observed_at").cast(pa.int64()).to_numpy()
    series = entity * (len(attributes) + 1) + attribute
    order = np.lexsort((observed_at, series))  # stable: equal instants stay in order of arrival
    ordered = series[order]
    rows = order[np.append(ordered[1:] != ordered[:-1], True)]
    unit, units = _coded(table, "unit")
    return Values(
        entities,
        attributes,
        entity[rows],
        attribute[rows],
        observed_at[rows],
        _contents(table)[rows],
        np.array([*units, None], dtype=object)[unit[rows]],
        table.column("quality").to_numpy().astype(np.int64)[rows],
        at,
    )


def content(value: Any) -> Any:
    """What Python has for one value of the columns."""
    return orjson.loads(value) if type(value) is str else value


def structured(values: Values) -> NDArray[np.bool_]:
    """Which values are JSON objects: a place may be among them."""
    texts = [row for row, one in enumerate(values.content.tolist()) if type(one) is str]
    found = np.zeros(len(values), dtype=bool)
    found[[row for row in texts if isinstance(orjson.loads(values.content[row]), dict)]] = True
    return found


def _coded(table: pa.Table, name: str) -> tuple[NDArray[np.int64], list[Any]]:
    """The column as indices into its distinct values; -1 where there is none."""
    encoded = table.column(name).combine_chunks().dictionary_encode()
    array = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    indices = array.indices.fill_null(-1) if array.indices.null_count else array.indices
    return indices.to_numpy(zero_copy_only=False).astype(np.int64), array.dictionary.to_pylist()


def _contents(table: pa.Table) -> NDArray[np.object_]:
    numbers = table.column("value").to_numpy()
    found: NDArray[np.object_] = numbers.astype(object)
    found[~np.isfinite(numbers)] = None  # as JSON has it
    texts = table.column("text")
    if texts.null_count < len(texts):
        there = texts.is_valid().to_numpy()
        found[there] = texts.to_numpy()[there]
    return found
