"""Keeps the evaluator's memory in the record store, exactly and cheaply. Used by the projection.

Series: each commit adds ONE journal document with the rows that were fed; a checkpoint, each minute at most unless rows
are many, writes the series that moved and empties the journal. Watchers: one document per (rule, entity), only while
something is raised or running. After a restart the checkpoint is loaded and the journal fed again: the same state,
whatever instant the process was killed at.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from haechi.core.times import SECOND
from haechi.ports import Change, RecordStore
from haechi.services.watch.evaluator import Evaluator
from haechi.services.watch.rows import LAYOUT, Run

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
WORTH = 2  # rows journalled for each series a checkpoint writes: of a million sensors each minute brings one row
ENTRIES_MOST = 60_000  # of the journal, whatever is in them: ten minutes of a city that says something all the time
REMOVED = 500  # of them a commit
SWEEP = 4  # chunks a commit, so that no commit is a long one
_ALL = 1 << 40

Row = tuple[int, int, int, int, Any, int]  # series index, observed_at, received_at, seq, value, quality


class Memory:
    """What the store holds of the evaluator, and what to add to it."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._known = 0  # series whose names are durable
        self._dirty: set[int] = set()  # chunks fed since the last checkpoint began
        self._journal: list[str] = []
        self._sweep: list[int] = []  # chunks the running checkpoint has still to write
        self._swept: list[str] = []  # journal that is of no use once it has
        self._rows = 0
        self._checked_at = 0

    def load(self, evaluator: Evaluator) -> None:
        """Fills an evaluator that is empty."""
        journal = self._store.find("journal", limit=_ALL)
        dumps = {
            int(chunk["id"]) * CHUNK + offset: dumped
            for chunk in self._store.find("series", limit=_ALL)
            for offset, dumped in enumerate(chunk["series"])
        }
        fresh = {entry["first"] + offset: one for entry in journal for offset, one in enumerate(entry["new"])}
        for index in range(len(dumps.keys() | fresh.keys())):
            entity, attribute, *_ = dumps.get(index) or fresh[index]
            series = evaluator.series_of(entity, attribute)
            if index in dumps:
                series.load(dumps[index])
            else:
                series.unit = fresh[index][2]
        self._known = len(evaluator.series)
        for entity in dict.fromkeys(one.entity for one in evaluator.series):
            evaluator.bind(entity)
        for entry in journal:
            self._replay(entry, evaluator)
        for timers in self._store.find("timers", limit=_ALL):
            watcher = evaluator.watcher(timers["rule"], timers["entity"])
            if watcher is not None:
                watcher.load(timers)
        evaluator.resume()

    def _replay(self, entry: dict[str, Any], evaluator: Evaluator) -> None:
        self._journal.append(entry["id"])
        for number, unit in entry.get("units", {}).items():
            evaluator.series[int(number)].unit = unit
        for index, at, received, seq, value, quality in _unpacked(entry):
            evaluator.series[index].feed(at, received, value, quality, seq)
            self._dirty.add(index // CHUNK)
            self._rows += 1

    def changes(self, evaluator: Evaluator, seq: int, now: int) -> list[Change]:
        """What makes the evaluator's state durable together with position `seq`."""
        runs, evaluator.runs = evaluator.runs, []
        rows, others = _together(runs)
        emptied, evaluator.emptied = evaluator.emptied, set()
        changes = list(self._timers(evaluator))
        self._dirty.update(np.unique(rows["index"] // CHUNK).tolist())
        self._rows += len(rows)
        fresh = evaluator.series[self._known :]
        self._dirty.update(one.index // CHUNK for one in (*fresh, *emptied))
        if len(rows) or fresh:
            id = f"{seq:020d}" if len(rows) else f"{seq:020d}.{self._known}"
            new = [[one.entity, one.attribute, one.unit] for one in fresh]
            units = {str(one.index): one.unit for one in evaluator.learnt}
            entry = {"first": self._known, "new": new, "units": units, **_packed(rows, others)}
            changes.append(Change("journal", id, entry))
            evaluator.learnt.clear()
            self._journal.append(id)
        self._known = len(evaluator.series)
        if emptied or (not (self._sweep or self._swept) and self._is_due(now)):
            self._begin(now)
        if emptied:  # at once: the journal would fill them again
            changes += self._checkpoint(evaluator, len(self._sweep), len(self._swept))
        elif self._sweep or self._swept:
            changes += self._checkpoint(evaluator, SWEEP, REMOVED)
        return changes

    def _is_due(self, now: int) -> bool:
        """A checkpoint writes every series of the chunks that were fed: it waits until the rows are worth it."""
        if len(self._journal) >= ENTRIES_MOST:
            return True
        enough = self._rows >= WORTH * CHUNK * len(self._dirty)
        return enough and (self._rows >= EVERY_ROWS or (self._rows > 0 and now - self._checked_at >= EVERY_US))

    def _timers(self, evaluator: Evaluator) -> Iterator[Change]:
        for watcher in evaluator.touched:
            id = f"{watcher.rule.id} {watcher.entity}"
            if not watcher.quiet:
                yield Change("timers", id, watcher.dump())
            elif watcher.saved:
                yield Change("timers", id, None)
            watcher.saved = not watcher.quiet
        for rule, entity in evaluator.dropped:
            again = evaluator.watcher(rule, entity)
            if again is None or not again.saved:
                yield Change("timers", f"{rule} {entity}", None)
        evaluator.touched.clear()
        evaluator.dropped.clear()

    def _begin(self, now: int) -> None:
        """A checkpoint of what moved. Rows that come while it runs may be in it: feeding them again changes nothing."""
        self._sweep = sorted(self._dirty | set(self._sweep))
        self._swept += self._journal
        self._dirty, self._journal, self._rows, self._checked_at = set(), [], 0, now

    def _checkpoint(self, evaluator: Evaluator, count: int, removed: int) -> Iterator[Change]:
        """So many chunks; when all are written, so many entries of the journal from the oldest on."""
        chosen, self._sweep = self._sweep[:count], self._sweep[count:]
        for chunk in chosen:
            members = evaluator.series[chunk * CHUNK : (chunk + 1) * CHUNK]
            yield Change("series", f"{chunk:09d}", {"series": [one.dump() for one in members]})
        if not self._sweep:
            gone, self._swept = self._swept[:removed], self._swept[removed:]
            yield from (Change("journal", id, None) for id in gone)


def _together(runs: Sequence[Run]) -> tuple[npt.NDArray[np.void], dict[int, Any]]:
    """The rows of all, in order, and by row what is not a number."""
    blocks, others, start = [np.zeros(0, LAYOUT)], dict[int, Any](), 0
    for block, apart in (one.fed() for one in runs):
        others |= {start + row: content for row, content in apart.items()}
        blocks.append(block)
        start += len(block)
    return np.concatenate(blocks), others


def _packed(rows: npt.NDArray[np.void], others: dict[int, Any]) -> dict[str, Any]:
    """Numbers in columns of bytes, anything else beside them by row."""
    if not len(rows):
        return {"rows": "", "others": {}}
    columns = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in LAYOUT.names or ())
    return {
        "rows": b64encode(zlib.compress(columns, 1)).decode(),
        "others": {str(one): value for one, value in others.items()},
    }


def _unpacked(entry: dict[str, Any]) -> Iterator[Row]:
    if not entry["rows"]:
        return
    columns = zlib.decompress(b64decode(entry["rows"]))
    count, start = len(columns) // LAYOUT.itemsize, 0
    parts: list[list[Any]] = []
    for name in LAYOUT.names or ():
        kind = LAYOUT[name]
        parts.append(np.frombuffer(columns, kind, count, start).tolist())
        start += count * kind.itemsize
    others = {int(number): value for number, value in entry["others"].items()}
    for number, (index, at, received, seq, value, quality) in enumerate(zip(*parts, strict=True)):
        yield index, at, received, seq, others.get(number, value), quality
