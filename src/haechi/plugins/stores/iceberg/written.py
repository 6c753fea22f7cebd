"""The catalogue as its one writer sees it: Iceberg's JDBC catalogue in one SQLite file, without SQLAlchemy (21 MB and
a third of a second of each start). Opened by `catalog`.

What it writes is what pyiceberg's own `SqlCatalog`, Spark and Trino read.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.sorting import SortOrder

NAME = "haechi"
WAIT_S = 5.0  # for another process that looks into the file
_TABLES = """\
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL, property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);
"""
_ONE = "catalog_name = ? AND table_namespace = ? AND table_name = ?"


class WriterCatalogue(MetastoreCatalog, NoopCatalog):
    """Makes, loads and commits the tables of one namespace; raises `sqlite3.Error` when its file fails.

    pyiceberg may ask it from any thread, one at a time.
    """

    def __init__(self, path: Path, namespace: str, **properties: str) -> None:
        super().__init__(NAME, **properties)
        self._namespace = namespace
        self._db = sqlite3.connect(path, timeout=WAIT_S, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")  # stays with the file: readers never hold the writer up
        self._db.executescript(_TABLES)
        with self._db:
            exists = "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')"
            self._db.execute(exists, (NAME, namespace))

    def load_namespace_properties(self, namespace: Any) -> dict[str, str]:
        """Nothing is said of a namespace: its tables lie below the warehouse."""
        return {}

    def load_table(self, identifier: Any) -> Table:
        """The table as it was committed last; `NoSuchTableError` before it is made."""
        name = self.identifier_to_database_and_table(identifier)
        sql = f"SELECT metadata_location FROM iceberg_tables WHERE {_ONE}"
        with closing(self._db.execute(sql, (NAME, *name))) as found:
            row = found.fetchone()
        if row is None:
            raise NoSuchTableError(f"no table {'.'.join(name)}")
        (location,) = row
        metadata = FromInputFile.table_metadata(self._load_file_io(location=location).new_input(location))
        return Table(name, metadata, location, self._load_file_io(metadata.properties, location), self)

    def make(
        self, table: str, schema: Schema, partitions: PartitionSpec, order: SortOrder, properties: dict[str, str]
    ) -> Table:
        """A new table without rows."""
        name = (self._namespace, table)
        staged = self._create_staged_table(name, schema, None, partitions, order, properties)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        with self._db:
            sql = "INSERT INTO iceberg_tables VALUES (?, ?, ?, ?, NULL, 'TABLE')"
            self._db.execute(sql, (NAME, *name, staged.metadata_location))
        return self.load_table(name)

    def commit_table(self, table: Table, requirements: Sequence[Any], updates: Sequence[Any]) -> CommitTableResponse:
        """Puts the next state of a table in the place of the one it was made from; `CommitFailedException` when that is
        not the newest any more."""
        staged = self._update_and_stage_table(table, table.name(), tuple(requirements), tuple(updates))
        if staged.metadata == table.metadata:
            return _response(table)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        self._name(table, staged.metadata_location)
        return _response(staged)

    def _name(self, table: Table, location: str) -> None:
        sql = f"UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = metadata_location \
WHERE {_ONE} AND metadata_location = ?"
        with self._db:
            changed = self._db.execute(sql, (location, NAME, *table.name(), table.metadata_location))
            if changed.rowcount != 1:
                raise CommitFailedException(f"{'.'.join(table.name())} was changed by another process")

    def close(self) -> None:
        """Gives the file back."""
        self._db.close()


def _response(table: Table) -> CommitTableResponse:
    said: dict[str, Any] = {"metadata": table.metadata, "metadata-location": table.metadata_location}
    return CommitTableResponse(**said)
