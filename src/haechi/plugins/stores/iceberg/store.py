"""The history table behind the `HistoryStore` port: what the one writing process opens. Created by the application."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.observation import STORED
from haechi.plugins.stores.iceberg.catalog import WriterLock, open_catalogue
from haechi.plugins.stores.iceberg.engine import Engine, clear_spill, spill_folder
from haechi.plugins.stores.iceberg.layout import HOURLY, LINKS, OBSERVATIONS, POSITION, counters
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
        try:
            clear_spill(folder)
            self._engine = Engine(spill_folder(folder), memory=settings.memory, threads=settings.threads)
            self._catalogue = open_catalogue(folder, synced=settings.synced)
            self.observations = WrittenTable(self._catalogue, OBSERVATIONS)
            self.hourly = WrittenTable(self._catalogue, HOURLY)
            self.upkeep = Upkeep(self.observations, self.hourly, self._engine, settings)
        except BaseException:
            self._lock.release()
            raise

    def position(self) -> int:
        """Seq given with the last commit, 0 at first."""
        return self.observations.position

    def counters(self) -> Mapping[str, tuple[int, int, int]]:
        """Per link since the beginning: rows written, duplicates left out, rows expired by retention."""
        return counters(self.observations.properties)

    def append(self, rows: pa.Table, position: int) -> None:
        """See `HistoryStore.append`. Duplicates are left out here, so that no file ever holds one."""
        assert rows.schema == STORED, rows.schema
        self.observations.make_certain()
        rows = rows.filter(pc.greater(rows.column("seq"), self.position()))  # all, unless a failed commit had succeeded
        assert position >= self.position(), f"position goes back from {self.position()} to {position}"
        found = settled(self._engine, self.observations.files, rows)
        totals = {link: list(counts) for link, counts in self.counters().items()}
        for one in pc.value_counts(found.rows.column("link")):
            totals.setdefault(one["values"].as_py(), [0, 0, 0])[WRITTEN] += one["counts"].as_py()
        for link, count in found.duplicates.items():
            totals.setdefault(link, [0, 0, 0])[DUPLICATES] += count
        self.observations.append(found.rows, {POSITION: str(position), LINKS: orjson.dumps(totals).decode()})

    def maintain(self, now: datetime) -> bool:
        """See `HistoryStore.maintain`: the most urgent of roll-up, retention, merging, expiry."""
        return self.upkeep.step(now)

    def close(self) -> None:
        """Releases the table for the next writer. Twice is once."""
        self._catalogue.close()
        self._engine.close()
        self._lock.release()
