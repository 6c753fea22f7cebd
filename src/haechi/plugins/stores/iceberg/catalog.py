"""The catalogue: one SQLite file that names each table's current metadata. Opened by the writer; readers only look
into it.
"""

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import StaticTable, Table

from haechi.core.errors import Conflict, InvalidSettings
from haechi.plugins.stores.iceberg.files import SCHEME
from haechi.plugins.stores.iceberg.layout import HOURLY, INSTANCES, OBSERVATIONS, TableLayout
from haechi.plugins.stores.iceberg.written import WriterCatalogue

NAMESPACE = "haechi"
_SYNCED = "haechi.plugins.stores.iceberg.files.SyncedFiles"
_LAZY = "haechi.plugins.stores.iceberg.files.LazyFiles"


def catalogue_path(folder: Path) -> Path:
    """Where the catalogue lies inside the history folder."""
    return folder / "catalogue.db"


class WriterLock:
    """Held by the one process that writes; the operating system frees it when the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidSettings(f"cannot write to {folder}: {error}; check that it exists and is ours") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise Conflict(
                f"another process writes history in {folder}: stop it, or give this one its own --data"
            ) from error

    def release(self) -> None:
        """Lets the next writer in. Twice is once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_catalogue(folder: Path, *, synced: bool) -> WriterCatalogue:
    """The catalogue, created with all tables when it is new."""
    files = {"py-io-impl": _SYNCED if synced else _LAZY, "warehouse": f"{SCHEME}{folder}/warehouse"}
    catalogue = WriterCatalogue(catalogue_path(folder), NAMESPACE, **files)
    for layout in (OBSERVATIONS, HOURLY, INSTANCES):
        load_or_create(catalogue, layout)
    return catalogue


def load_or_create(catalogue: WriterCatalogue, layout: TableLayout) -> Table:
    """The table of this layout."""
    try:
        return catalogue.load_table((NAMESPACE, layout.name))
    except NoSuchTableError:
        return catalogue.make(layout.name, layout.schema, layout.partitions, layout.sort_order, layout.properties)


def committed_locations(folder: Path) -> dict[str, str]:
    """Metadata file of each table, both as of one instant; empty before the writer has made them."""
    path = catalogue_path(folder)
    if not path.exists():
        return {}
    sql = "SELECT table_name, metadata_location FROM iceberg_tables WHERE table_namespace = ?"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        try:
            return dict(db.execute(sql, (NAMESPACE,)).fetchall())
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # the writer is just creating it
                return {}
            raise


def committed_table(location: str) -> Table:
    """A table as one metadata file describes it."""
    return StaticTable.from_metadata(location, {"py-io-impl": _LAZY})
