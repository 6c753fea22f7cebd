"""The newest numeric value of each series and in which beat it last changed. Fed by `live.LiveHub`, one thread only.

Columns, not objects: a batch costs one dictionary look-up per row and a few numpy calls, however many clients watch.
"""

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
        self._index: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self._of: dict[str, list[int]] = {}
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
        return len(self._names)

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
        entities = batch.column("entity").to_pylist()
        attributes = batch.column("attribute").to_pylist()
        index = self._index
        found = [index.get((entities[row], attributes[row]), -1) for row in rows.tolist()]
        for at, slot in enumerate(found):
            if slot < 0:
                found[at] = self._slot(entities[rows[at]], attributes[rows[at]])
        return np.array(found, dtype=np.int64)

    def _slot(self, entity: str, attribute: str) -> int:
        key = (entity, attribute)
        slot = self._index.get(key)
        if slot is None:
            slot = self._index[key] = len(self._names)
            self._names.append(key)
            self._of.setdefault(entity, []).append(slot)
            if slot == len(self._columns["beat"]):
                self._grow()
            domain = self._domain_of(entity)
            self._columns["domain"][slot] = self._domains.setdefault(domain, len(self._domains))
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
            of = self._of.get
            found = [slot for one in entities for slot in of(one, ()) if self._columns["beat"][slot] > since]
            if domains is not None:
                found = [slot for slot in found if self._domain_of(self._names[slot][0]) in domains]
            return self._message(np.array(sorted(found))) if found else b""
        used = len(self._names)
        wanted = self._columns["beat"][:used] > since
        if domains is not None:
            numbers = [number for domain, number in self._domains.items() if domain in domains]
            wanted &= np.isin(self._columns["domain"][:used], numbers)
        slots = np.flatnonzero(wanted)
        return self._message(slots) if len(slots) else b""

    def _message(self, slots: Array) -> bytes:
        names = [self._names[slot] for slot in slots.tolist()]
        columns = {name: column[slots] for name, column in self._columns.items()}
        message = {
            "type": "latest",
            "entity": [entity for entity, _ in names],
            "attribute": [attribute for _, attribute in names],
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
