"""Removes files of a table that none of its kept states names. Called by the only writer, between commits."""

from pathlib import Path

from pyiceberg.table import Table

from haechi.plugins.stores.iceberg.files import local_path


def sweep(table: Table) -> int:
    """How many files were removed. Files being written cannot be among them: the caller is who would write them."""
    root = Path(local_path(table.location()))
    live = _named(table)
    dead = [path for path in root.rglob("*") if path.is_file() and str(path) not in live]
    for path in dead:
        path.unlink()
    for folder in sorted({path.parent for path in dead}):
        if folder.parent.name == "data" and not any(folder.iterdir()):
            folder.rmdir()
    return len(dead)


def _named(table: Table) -> set[str]:
    """Every file a kept state needs, and the metadata files a reader may be about to open."""
    names = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    manifests = {}
    for snapshot in table.snapshots():
        names.add(snapshot.manifest_list)
        manifests.update({one.manifest_path: one for one in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        names.add(path)
        names.update(
            entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        )
    return {local_path(name) for name in names}
