"""The newest numeric value of each series and in which beat it last changed. Fed by `live.LiveHub`, one thread only.

Columns, not objects: a batch costs one dictionary look-up per row and a few numpy calls, however many clients watch.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

_START = 1024
Array = npt.NDArray[Any]


class Series:
    """Grows with the series of the city, never with time or clients. `domain_of` maps an entity's URN to its domain."""

    def __init__(self, domain_of: Callable[[str], str]) -> None:
        self._domain_of = domain_of
        self._index: dict[str, dict[str, int]] = {}  # by entity, then by attribute
        self._entities: list[str] = []  # of each series
        self._attributes: list[str] = []
        self._domains: dict[str, int] = {}
        self._columns: dict[str, Array] = {
            "value": np.zeros(_START),
            "unit": np.full(_START, None, dtype=object),
            "observed_at": np.full(_START, np.iinfo(np.int64).min),
            "quality": np.zeros(_START, dtype=np.uint8),
            "beat": np.zeros(_START, dtype=np.int64),
            "domain": np.zeros(_START, dtype=np.int32),
        }

    def __len__(self) -> int:
        return len(self._entities)

    def put(self, batch: pa.RecordBatch, beat: int) -> int:
        """Takes the numbers of a batch in `observation.SCHEMA` in; returns how many were newer than what was known."""
        values = batch.column("value").to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(np.isfinite(values))
        observed_at = batch.column("observed_at").cast(pa.int64()).to_numpy()[rows]
        slots = self._slots(batch, rows)
        columns = self._columns
        newer = np.flatnonzero(observed_at >= columns["observed_at"][slots])
        # In order of time: where a series comes twice the last assignment wins.
        newer = newer[np.argsort(observed_at[newer], kind="stable")]
        slots, rows = slots[newer], rows[newer]
        columns["value"][slots] = values[rows]
        columns["observed_at"][slots] = observed_at[newer]
        columns["quality"][slots] = batch.column("quality").to_numpy()[rows]
        columns["unit"][slots] = batch.column("unit").to_numpy(zero_copy_only=False)[rows]
        columns["beat"][slots] = beat
        return len(slots)

    def _slots(self, batch: pa.RecordBatch, rows: Array) -> Array:
        numbers = pa.array(rows)
        entities = batch.column("entity").take(numbers).to_pylist()
        attributes = batch.column("attribute").take(numbers).to_pylist()
        index = self._index
        found = []
        for entity, attribute in zip(entities, attributes, strict=True):
            known = index.get(entity)
            slot = None if known is None else known.get(attribute)
            found.append(self._slot(entity, attribute) if slot is None else slot)
        return np.array(found, dtype=np.int64)

    def _slot(self, entity: str, attribute: str) -> int:
        slot = len(self._entities)
        if slot == len(self._columns["beat"]):
            self._grow()
        known = self._index.get(entity)
        if known:
            first = next(iter(known.values()))
            entity, domain = self._entities[first], int(self._columns["domain"][first])  # one text for all its series
        else:
            known = self._index[entity] = {}
            domain = self._domains.setdefault(self._domain_of(entity), len(self._domains))
        attribute = sys.intern(attribute)
        known[attribute] = slot
        self._entities.append(entity)
        self._attributes.append(attribute)
        self._columns["domain"][slot] = domain
        return slot

    def _grow(self) -> None:
        for name, column in self._columns.items():
            larger = np.zeros(len(column) * 2, dtype=column.dtype)
            larger[: len(column)] = column
            if name == "observed_at":
                larger[len(column) :] = np.iinfo(np.int64).min
            self._columns[name] = larger

    def changed(self, since: int, domains: frozenset[str] | None, entities: frozenset[str] | None = None) -> bytes:
        """The message `latest` with what changed after that beat in those domains, of those entities; empty when
        nothing did."""
        if entities is not None:
            beats, none = self._columns["beat"], dict[str, int]()
            found = [slot for one in entities for slot in self._index.get(one, none).values() if beats[slot] > since]
            if domains is not None:
                found = [slot for slot in found if self._domain_of(self._entities[slot]) in domains]
            return self._message(np.array(sorted(found))) if found else b""
        used = len(self._entities)
        wanted = self._columns["beat"][:used] > since
        if domains is not None:
            numbers = [number for domain, number in self._domains.items() if domain in domains]
            wanted &= np.isin(self._columns["domain"][:used], numbers)
        slots = np.flatnonzero(wanted)
        return self._message(slots) if len(slots) else b""

    def _message(self, slots: Array) -> bytes:
        numbers = slots.tolist()
        columns = {name: column[slots] for name, column in self._columns.items()}
        message = {
            "type": "latest",
            "entity": [self._entities[slot] for slot in numbers],
            "attribute": [self._attributes[slot] for slot in numbers],
            "value": columns["value"],
            "unit": columns["unit"].tolist(),
            "observed_at": instants(columns["observed_at"]),
            "quality": columns["quality"],
        }
        return orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)


def instants(microseconds: Array) -> list[str]:
    """RFC 3339 with milliseconds throughout, so that they also sort as text."""
    texts: list[str] = np.datetime_as_string(microseconds.astype("datetime64[us]"), unit="ms", timezone="UTC").tolist()
    return texts
