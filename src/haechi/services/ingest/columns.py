"""Rows to the columns of one frame. Used by `batch.Builder`.

pyarrow takes 4 us to build an array however short, and a steady stream makes short frames. So instants and numbers go
in as the bytes they are, and a column that holds one value in all its rows (link, unit, good quality, no text) is a
piece of an array made once.
"""

from array import array
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from haechi.core.frame import EMPTY
from haechi.core.observation import INSTANT, SCHEMA
from haechi.services.ingest.mapping import Row

LONG, KEPT, WORD = 1_024, 256, 64  # rows of arrays made once, how many of those are kept, characters of their value
_FLOAT, _TEXT, _BYTE = pa.float64(), pa.string(), pa.uint8()
_same: dict[tuple[Any, pa.DataType], pa.Array] = {}


def observations(rows: Sequence[Row]) -> tuple[pa.RecordBatch, str | None]:
    """The rows in `core.observation.SCHEMA`, order kept, and the link all of them came by, None when not one."""
    if not rows:
        return EMPTY, None
    places, observed_at, received_at, value, text, quality = zip(*rows, strict=True)
    entity, attribute, unit, link = zip(*places, strict=True)
    arrays = [
        pa.array(entity, _TEXT),
        _column(attribute, _TEXT),
        _instants(observed_at),
        _instants(received_at),
        _numbers(value),
        _column(text, _TEXT),
        _column(unit, _TEXT),
        _column(quality, _BYTE),
        _column(link, _TEXT),
    ]
    only = link[0] if link.count(link[0]) == len(link) else None
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA), only


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    first, size = values[0], len(values)
    short = not isinstance(first, str) or len(first) <= WORD
    if size > LONG or not short or values.count(first) != size:
        return pa.array(values, kind)
    made = _same.get((first, kind))
    if made is None:
        made = pa.array([first] * LONG, kind)
        if len(_same) < KEPT:
            _same[first, kind] = made
    return made.slice(0, size)


def _instants(values: Sequence[int]) -> pa.Array:
    return pa.Array.from_buffers(INSTANT, len(values), [None, pa.py_buffer(array("q", values))])


def _numbers(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.Array.from_buffers(_FLOAT, len(values), [None, pa.py_buffer(array("d", values))])
    except TypeError:  # among them what is no number
        return pa.array(values, _FLOAT)
