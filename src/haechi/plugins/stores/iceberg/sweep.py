"""Removes files of a table that none of its kept states names, once no query can be reading them any more. Used by
`upkeep`.

Such files are left by merges, by retention and by commits that a kill cut short; they look alike and are treated alike.
"""

from datetime import datetime
from pathlib import Path

from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from haechi.plugins.stores.iceberg.files import local_path


class Sweeper:
    """For one table. `kept_s` is how long a file outlives the last state that names it: the longest query, with
    room.
    """

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._unnamed_since: dict[Path, datetime] = {}
        self._manifests: dict[str, list[ManifestFile]] = {}  # by manifest list; neither ever changes
        self._data: dict[str, list[str]] = {}  # by manifest

    def sweep(self, table: Table, now: datetime) -> int:
        """How many files were removed. Called by the only writer, between commits: no file is half-way to being
        named.
        """
        root = Path(local_path(table.location()))
        named = self._named(table)
        unnamed = [path for path in root.rglob("*") if path.is_file() and str(path) not in named]
        self._unnamed_since = {path: self._unnamed_since.get(path, now) for path in unnamed}
        dead = [path for path, since in self._unnamed_since.items() if (now - since).total_seconds() >= self._kept_s]
        for path in dead:
            path.unlink()
            del self._unnamed_since[path]
        for folder in sorted({path.parent for path in dead}):
            if folder.parent.name == "data" and not any(folder.iterdir()):
                folder.rmdir()
        return len(dead)

    def _named(self, table: Table) -> set[str]:
        """Every file a kept state needs, and the metadata files a reader may be about to open."""
        names = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
        self._manifests = {one.manifest_list: self._listed(one, table) for one in table.snapshots()}
        manifests = {one.manifest_path: one for listed in self._manifests.values() for one in listed}
        self._data = {path: self._entries(one, table) for path, one in manifests.items()}
        names.update(self._manifests, self._data, *self._data.values())
        return {local_path(name) for name in names}

    def _listed(self, snapshot: Snapshot, table: Table) -> list[ManifestFile]:
        return self._manifests.get(snapshot.manifest_list) or snapshot.manifests(table.io)

    def _entries(self, manifest: ManifestFile, table: Table) -> list[str]:
        known = self._data.get(manifest.manifest_path)
        if known is not None:
            return known
        return [one.data_file.file_path for one in manifest.fetch_manifest_entry(table.io, discard_deleted=True)]
