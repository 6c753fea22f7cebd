"""The writer's catalogue is Iceberg's JDBC catalogue as others write and read it, and two writers do not lose rows."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from haechi.plugins.stores.iceberg.catalog import NAMESPACE, open_catalogue
from haechi.plugins.stores.iceberg.layout import OBSERVATIONS, POSITION
from haechi.plugins.stores.iceberg.table import WrittenTable
from haechi.plugins.stores.iceberg.written import WriterCatalogue


def commit(table: WrittenTable, position: int) -> None:
    table.append(OBSERVATIONS.columns.empty_table(), {POSITION: str(position)})


def foreign(folder: Path) -> SqlCatalog:
    """pyiceberg's own catalogue on the same file."""
    return SqlCatalog("haechi", uri=f"sqlite:///{folder}/catalogue.db", warehouse=f"file://{folder}/warehouse")


def test_tables_another_catalogue_made_are_gone_on_with(tmp_path: Path) -> None:
    made, layout = foreign(tmp_path), OBSERVATIONS
    made.create_namespace(NAMESPACE)
    properties: dict[str, Any] = layout.properties
    made.create_table(
        (NAMESPACE, layout.name),
        layout.schema,
        partition_spec=layout.partitions,
        sort_order=layout.sort_order,
        properties=properties,
    ).append(layout.columns.empty_table(), snapshot_properties={POSITION: "3"})
    made.close()
    ours = open_catalogue(tmp_path, synced=False)
    table = WrittenTable(ours, layout)
    assert table.position == 3
    commit(table, 4)
    ours.close()
    again = foreign(tmp_path)
    assert sorted(again.list_tables(NAMESPACE)) == [(NAMESPACE, one) for one in ("hourly", "instances", "observations")]
    read = again.load_table((NAMESPACE, layout.name))
    snapshot = read.current_snapshot()
    assert snapshot is not None and snapshot.summary is not None
    assert snapshot.summary.additional_properties[POSITION] == "4"
    again.close()


def test_a_commit_on_a_state_that_is_not_the_newest_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first, second = open_catalogue(tmp_path, synced=False), open_catalogue(tmp_path, synced=False)
    behind = first.load_table((NAMESPACE, OBSERVATIONS.name))
    commit(WrittenTable(second, OBSERVATIONS), 7)
    with pytest.raises(CommitFailedException, match="another process"):
        first.commit_table(behind, (), behind.transaction().set_properties(a="b")._updates)
    assert WrittenTable(first, OBSERVATIONS).position == 7
    first.close()
    second.close()


def test_a_file_that_is_no_catalogue_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"somebody's notes" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        WriterCatalogue(tmp_path / "catalogue.db", NAMESPACE)
    assert (tmp_path / "catalogue.db").read_bytes().startswith(b"somebody's notes")
