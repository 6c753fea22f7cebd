"""Keeps the evaluator's memory in the record store, exactly and cheaply. Used by the projection.

Series: each commit adds ONE journal document with the rows that were fed; every minute a checkpoint writes the series
that moved and empties the journal. Watchers: one document per (rule, entity), only while something is raised or
running. After a restart the checkpoint is loaded and the journal fed again: the same state, whatever instant the
process was killed at.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from haechi.core.times import SECOND
from haechi.ports import Change, RecordStore
from haechi.services.watch.evaluator import Evaluator, Row

COLLECTIONS: dict[str, Sequence[str]] = {
    "alarms": ("open", "state", "rule", "entity", "changed_at", "raised_at"),
    "transitions": ("alarm", "at"),
    "timers": (),
    "series": (),
    "journal": (),
    "meta": (),
}
"""The collections of watch's record store and the fields they are searched by."""

CHUNK = 500  # series per checkpoint document
EVERY_US = 60 * SECOND
EVERY_ROWS = 100_000
_ALL = 1 << 40
_LAYOUT = np.dtype(
    [("index", "<u4"), ("at", "<i8"), ("received", "<i8"), ("seq", "<i8"), ("value", "<f8"), ("quality", "u1")]
)


class Memory:
    """What the store holds of the evaluator, and what to add to it."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._known = 0  # series whose names are durable
        self._dirty: set[int] = set()  # chunks fed since the last checkpoint
        self._journal: list[str] = []
        self._rows = 0
        self._checked_at = 0

    def load(self, evaluator: Evaluator) -> None:
        """Fills an evaluator that is empty."""
        journal = self._store.find("journal", limit=_ALL)
        dumps = [one for chunk in self._store.find("series", limit=_ALL) for one in chunk["series"]]
        for entity, attribute, *_ in [*dumps, *(one for entry in journal for one in entry["new"])]:
            evaluator.series_of(entity, attribute)
        for series, dumped in zip(evaluator.series, dumps, strict=False):
            series.load(dumped)
        for entry in journal:
            for offset, (_, _, unit) in enumerate(entry["new"]):
                evaluator.series[entry["first"] + offset].unit = unit
        self._known = len(evaluator.series)
        for entity in dict.fromkeys(one.entity for one in evaluator.series):
            evaluator.bind(entity)
        for entry in journal:
            self._replay(entry, evaluator)
        for timers in self._store.find("timers", limit=_ALL):
            watcher = evaluator.watchers.get((timers["rule"], timers["entity"]))
            if watcher is not None:
                watcher.load(timers)
        evaluator.resume()

    def _replay(self, entry: dict[str, Any], evaluator: Evaluator) -> None:
        self._journal.append(entry["id"])
        for index, at, received, seq, value, quality in _unpacked(entry):
            evaluator.series[index].feed(at, received, value, quality, seq)
            self._dirty.add(index // CHUNK)
            self._rows += 1

    def changes(self, evaluator: Evaluator, seq: int, now: int, forced: bool) -> list[Change]:
        """What makes the evaluator's state durable together with position `seq`. `forced`: with a checkpoint."""
        rows, evaluator.rows = evaluator.rows, []
        changes = list(self._timers(evaluator))
        self._dirty.update(row[0] // CHUNK for row in rows)
        self._rows += len(rows)
        fresh = evaluator.series[self._known :]
        self._dirty.update(one.index // CHUNK for one in fresh)
        if forced or self._rows >= EVERY_ROWS or (self._rows and now - self._checked_at >= EVERY_US):
            changes += self._checkpoint(evaluator, now)
        elif rows or fresh:
            id = f"{seq:020d}" if rows else f"{seq:020d}.{self._known}"
            new = [[one.entity, one.attribute, one.unit] for one in fresh]
            changes.append(Change("journal", id, {"first": self._known, "new": new, **_packed(rows)}))
            self._journal.append(id)
        self._known = len(evaluator.series)
        return changes

    def _timers(self, evaluator: Evaluator) -> Iterator[Change]:
        for watcher in evaluator.touched:
            id = f"{watcher.rule.id} {watcher.entity}"
            if not watcher.quiet:
                yield Change("timers", id, watcher.dump())
            elif watcher.saved:
                yield Change("timers", id, None)
            watcher.saved = not watcher.quiet
        for rule, entity in evaluator.dropped:
            if (rule, entity) not in evaluator.watchers or not evaluator.watchers[rule, entity].saved:
                yield Change("timers", f"{rule} {entity}", None)
        evaluator.touched.clear()
        evaluator.dropped.clear()

    def _checkpoint(self, evaluator: Evaluator, now: int) -> Iterator[Change]:
        for chunk in sorted(self._dirty):
            members = evaluator.series[chunk * CHUNK : (chunk + 1) * CHUNK]
            yield Change("series", f"{chunk:09d}", {"series": [one.dump() for one in members]})
        for id in self._journal:
            yield Change("journal", id, None)
        self._dirty.clear()
        self._journal.clear()
        self._rows, self._checked_at = 0, now


def _packed(rows: list[Row]) -> dict[str, Any]:
    """Numbers in columns of bytes, anything else beside them by row."""
    if not rows:
        return {"rows": "", "others": {}}
    others = {number: row[4] for number, row in enumerate(rows) if row[4].__class__ is not float}
    plain = [row if row[4].__class__ is float else (*row[:4], 0.0, row[5]) for row in rows] if others else rows
    block = np.array(plain, _LAYOUT)
    columns = b"".join(np.ascontiguousarray(block[name]).tobytes() for name in _LAYOUT.names or ())
    return {
        "rows": b64encode(zlib.compress(columns, 1)).decode(),
        "others": {str(one): value for one, value in others.items()},
    }


def _unpacked(entry: dict[str, Any]) -> Iterator[Row]:
    if not entry["rows"]:
        return
    columns = zlib.decompress(b64decode(entry["rows"]))
    count, start = len(columns) // _LAYOUT.itemsize, 0
    parts: list[list[Any]] = []
    for name in _LAYOUT.names or ():
        kind = _LAYOUT[name]
        parts.append(np.frombuffer(columns, kind, count, start).tolist())
        start += count * kind.itemsize
    others = {int(number): value for number, value in entry["others"].items()}
    for number, (index, at, received, seq, value, quality) in enumerate(zip(*parts, strict=True)):
        yield index, at, received, seq, others.get(number, value), quality
