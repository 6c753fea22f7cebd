"""One Iceberg table with its writer: commits of rows and position, and the list of its files. Used by `store` and
`upkeep`.
"""

import sqlite3
from collections.abc import Callable, Mapping

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction

from haechi.core.errors import Unavailable
from haechi.core.times import from_us
from haechi.plugins.stores.iceberg.catalog import load_or_create
from haechi.plugins.stores.iceberg.layout import POSITION, TableLayout
from haechi.plugins.stores.iceberg.plan import FileSet, Planner
from haechi.plugins.stores.iceberg.written import WriterCatalogue


class WrittenTable:
    """A table as its only writer sees it. Every commit carries the properties of the last one, changed as given."""

    def __init__(self, catalogue: WriterCatalogue, layout: TableLayout) -> None:
        self.layout = layout
        self._catalogue = catalogue
        self._planner = Planner(layout)
        self._is_doubtful = False
        self._load()

    def _load(self) -> None:
        self.table = load_or_create(self._catalogue, self.layout)
        self.files: FileSet = self._planner.files(self.table)

    @property
    def position(self) -> int:
        """Seq given with the last commit."""
        return int(self.properties.get(POSITION, "0"))

    @property
    def properties(self) -> Mapping[str, str]:
        """What the last commit said besides its rows."""
        snapshot = self.table.current_snapshot()
        return {} if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties

    def append(self, rows: pa.Table, changed: Mapping[str, str]) -> None:
        """Adds rows and changes properties in one commit."""
        properties = {**self._own(), **changed}
        self._commit(lambda transaction: transaction.append(self._shaped(rows), snapshot_properties=properties))

    def replace(self, rows: pa.Table, where: str, changed: Mapping[str, str]) -> None:
        """Puts rows in the place of all that satisfy `where` (whole files, told by their statistics) in one commit."""
        properties = {**self._own(), **changed}

        def change(transaction: Transaction) -> None:
            transaction.overwrite(self._shaped(rows), where, snapshot_properties=properties)

        self._commit(change)

    def remove(self, where: str, changed: Mapping[str, str]) -> None:
        """Drops all rows that satisfy `where` (whole files)."""
        properties = {**self._own(), **changed}
        self._commit(lambda transaction: transaction.delete(where, snapshot_properties=properties))

    def forget(self, kept: int) -> int:
        """Forgets all states but the newest `kept`; their files stay until the sweep. Returns how many."""
        ordered = sorted(self.table.snapshots(), key=lambda one: one.sequence_number or 0)
        old = [one.snapshot_id for one in ordered[:-kept]]
        if old:
            self.table.maintenance.expire_snapshots().by_ids(old).commit()
        return len(old)

    def time_range(self, start: int, end: int) -> str:
        """Filter: start <= time < end, instants in microseconds."""
        name = self.layout.time
        return f"{name} >= '{from_us(start).isoformat()}' AND {name} < '{from_us(end).isoformat()}'"

    def _own(self) -> dict[str, str]:
        return {name: value for name, value in self.properties.items() if name.startswith("haechi.")}

    def _shaped(self, rows: pa.Table) -> pa.Table:
        return rows.select(self.layout.columns.names).cast(self.layout.columns)

    def _commit(self, change: Callable[[Transaction], None]) -> None:
        try:
            with self.table.transaction() as transaction:
                change(transaction)
        except (OSError, CommitFailedException, sqlite3.Error) as error:
            self._is_doubtful = True
            where = self.table.location()
            raise Unavailable(f"history cannot be written: {error}; free disk space or check {where}") from error
        self.files = self._planner.files(self.table)

    def make_certain(self) -> None:
        """After a commit that failed: reads which state holds now, since a lost answer may hide a success."""
        if not self._is_doubtful:
            return
        try:
            self._load()
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"history cannot be read: {error}; check {self.table.location()}") from error
        self._is_doubtful = False


def seq_range(low: int, high: int) -> str:
    """Filter: low <= seq <= high."""
    return f"seq >= {low} AND seq <= {high}"
