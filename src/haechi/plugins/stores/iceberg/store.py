"""The history table behind the `HistoryStore` port: what the one writing process opens. Created by the application."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import Forgotten
from haechi.core.observation import STORED
from haechi.plugins.stores.iceberg import forgotten
from haechi.plugins.stores.iceberg.catalog import WriterLock, open_catalogue
from haechi.plugins.stores.iceberg.engine import Engine, clear_spill, spill_folder
from haechi.plugins.stores.iceberg.layout import HOURLY, INSTANCES, LINKS, OBSERVATIONS, POSITION, counters
from haechi.plugins.stores.iceberg.plan import FileSet
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.stored import settled
from haechi.plugins.stores.iceberg.table import WrittenTable
from haechi.plugins.stores.iceberg.upkeep import Upkeep

WRITTEN, DUPLICATES, EXPIRED = range(3)  # places in the counters of a link


class IcebergStore:
    """A `HistoryStore`. Raises `Conflict` when another process writes the same folder, `InvalidSettings` when it
    cannot.
    """

    def __init__(self, folder: Path, settings: HistorySettings | None = None) -> None:
        settings = settings or HistorySettings()
        folder = folder.resolve()
        self._lock = WriterLock(folder)
        self._taken_back: tuple[FileSet, tuple[Forgotten, ...]] | None = None
        try:
            clear_spill(folder)
            self._engine = Engine(spill_folder(folder), memory=settings.memory, threads=settings.threads)
            self._catalogue = open_catalogue(folder, synced=settings.synced)
            self.observations = WrittenTable(self._catalogue, OBSERVATIONS)
            self.hourly = WrittenTable(self._catalogue, HOURLY)
            self.instances = WrittenTable(self._catalogue, INSTANCES)
            self.upkeep = Upkeep(self.observations, self.hourly, self.instances, self._engine, settings)
        except BaseException:
            self._lock.release()
            raise

    def position(self) -> int:
        """Seq given with the last commit, 0 at first."""
        return self.observations.position

    def counters(self) -> Mapping[str, tuple[int, int, int]]:
        """Per link since the beginning: rows written, duplicates left out, rows expired by retention."""
        return counters(self.observations.properties)

    def append(self, rows: pa.Table, position: int, said: pa.Table | None = None) -> None:
        """See `HistoryStore.append`. Duplicates are left out here, so that no file ever holds one."""
        assert rows.schema == STORED, rows.schema
        self.observations.make_certain()
        rows = rows.filter(pc.greater(rows.column("seq"), self.position()))  # all, unless a failed commit had succeeded
        assert position >= self.position(), f"position goes back from {self.position()} to {position}"
        fresh = forgotten.in_rows(said) if said is not None else ()
        if said is not None and said.num_rows:
            self._append_said(said, position)
        without = (*self._forgotten(), *fresh)
        kept = forgotten.visible(rows, fresh)  # what was taken back before it was ever in a file never will be
        found = settled(self._engine, self.observations.files, kept, without)
        totals = {link: list(counts) for link, counts in self.counters().items()}
        for link, count in _lost(rows, kept).items():
            totals.setdefault(link, [0, 0, 0])[DUPLICATES] += count
        for one in pc.value_counts(found.rows.column("link")):
            totals.setdefault(one["values"].as_py(), [0, 0, 0])[WRITTEN] += one["counts"].as_py()
        for link, count in found.duplicates.items():
            totals.setdefault(link, [0, 0, 0])[DUPLICATES] += count
        self.observations.append(found.rows, {POSITION: str(position), LINKS: orjson.dumps(totals).decode()})

    def _append_said(self, said: pa.Table, position: int) -> None:
        """A commit of its own before that of the observations: readers leave out what is beyond their position."""
        self.instances.make_certain()
        said = said.filter(pc.greater(said.column("seq"), self.instances.position))
        if said.num_rows:
            order = [(name, "ascending") for name in INSTANCES.order]
            self.instances.append(said.sort_by(order), {POSITION: str(position)})

    def _forgotten(self) -> tuple[Forgotten, ...]:
        files = self.instances.files
        if self._taken_back is None or self._taken_back[0] is not files:
            self._taken_back = (files, forgotten.in_files(self._engine, files.files, 1 << 62))
        return self._taken_back[1]

    def maintain(self, now: datetime) -> bool:
        """See `HistoryStore.maintain`: the most urgent of roll-up, retention, merging, expiry."""
        return self.upkeep.step(now)

    def close(self) -> None:
        """Releases the table for the next writer. Twice is once."""
        self._catalogue.close()
        self._engine.close()
        self._lock.release()


def _lost(rows: pa.Table, kept: pa.Table) -> dict[str, int]:
    """How many rows of each link are in `rows` and not in `kept`."""
    if rows.num_rows == kept.num_rows:
        return {}
    left = {one["values"].as_py(): one["counts"].as_py() for one in pc.value_counts(kept.column("link"))}
    held = {one["values"].as_py(): one["counts"].as_py() for one in pc.value_counts(rows.column("link"))}
    return {link: count - left.get(link, 0) for link, count in held.items()}
