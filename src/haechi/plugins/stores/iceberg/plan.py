"""The data files of a table's current state with what their statistics say, so that a query opens only those it needs.

Used by writer and readers. Manifests never change, so each is read once; what a query does costs no pyiceberg at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table

from haechi.plugins.stores.iceberg.files import local_path
from haechi.plugins.stores.iceberg.layout import TableLayout


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file. Bounds are inclusive, instants in microseconds."""

    path: str
    rows: int
    size: int
    partition: int  # day or month since 1970
    first_at: int
    last_at: int
    low: str  # smallest and largest entity
    high: str
    seq_low: int
    seq_high: int
    revised: bool


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files of one state, as columns for the search and as objects for the rest."""

    files: tuple[DataFile, ...] = ()
    first_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    last_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __iter__(self) -> Iterator[DataFile]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def within(self, start: int, end: int, entities: Sequence[str] = ()) -> list[DataFile]:
        """Files that may hold rows of [start, end) of any of these entities (of all, when none is named)."""
        hits = np.nonzero((self.first_at < end) & (self.last_at >= start))[0].tolist()
        found = [self.files[hit] for hit in hits]
        if not entities:
            return found
        if len(entities) == 1:
            return [one for one in found if one.low <= entities[0] <= one.high]
        low, high = min(entities), max(entities)
        return [one for one in found if one.low <= high and low <= one.high]


def file_set(files: Sequence[DataFile]) -> FileSet:
    """Files as a set that can be searched."""
    first_at = np.fromiter((one.first_at for one in files), np.int64, len(files))
    last_at = np.fromiter((one.last_at for one in files), np.int64, len(files))
    return FileSet(tuple(files), first_at, last_at)


class Planner:
    """Reads the file list of one table's states, remembering manifests between them."""

    def __init__(self, layout: TableLayout) -> None:
        self._layout = layout
        self._manifests: dict[str, tuple[DataFile, ...]] = {}

    def files(self, table: Table) -> FileSet:
        """The files of the table's current state."""
        snapshot = table.current_snapshot()
        if snapshot is None:
            return FileSet()
        manifests = snapshot.manifests(table.io)
        self._manifests = {one.manifest_path: self._entries(one, table) for one in manifests}
        return file_set([one for entries in self._manifests.values() for one in entries])

    def _entries(self, manifest: ManifestFile, table: Table) -> tuple[DataFile, ...]:
        known = self._manifests.get(manifest.manifest_path)
        if known is not None:
            return known
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        return tuple(self._described(entry.data_file) for entry in entries)

    def _described(self, file: IcebergFile) -> DataFile:
        at, entity, seq = (self._layout.field_id(name) for name in (self._layout.time, "entity", "seq"))
        flag = self._layout.field_id(self._layout.flag)
        lower, upper = file.lower_bounds, file.upper_bounds
        return DataFile(
            path=local_path(file.file_path),
            rows=file.record_count,
            size=file.file_size_in_bytes,
            partition=file.partition[0],
            first_at=_number(lower[at]),
            last_at=_number(upper[at]),
            low=lower[entity].decode(),
            high=upper[entity].decode(),
            seq_low=_number(lower[seq]),
            seq_high=_number(upper[seq]),
            revised=_number(upper[flag]) > 0,
        )


def _number(bound: bytes) -> int:
    """Iceberg stores bounds of integers and instants little-endian (spec, appendix D)."""
    return int.from_bytes(bound, "little", signed=True)
