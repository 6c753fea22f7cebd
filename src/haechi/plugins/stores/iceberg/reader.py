"""Committed states of the history table for a process that only reads: the `HistoryFiles` port. Created by the
application.
"""

import threading
from pathlib import Path

from pyiceberg.table import Table

from haechi.core.errors import Unavailable
from haechi.plugins.stores.iceberg.answer import Answers
from haechi.plugins.stores.iceberg.catalog import committed_locations, committed_table
from haechi.plugins.stores.iceberg.engine import Engine, spill_folder
from haechi.plugins.stores.iceberg.layout import HOURLY, INSTANCES, OBSERVATIONS, POSITION, counters
from haechi.plugins.stores.iceberg.plan import FileSet, Planner
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.windows import State

_ATTEMPTS = 5  # commits may follow each other while we read what the last one said


class IcebergFiles:
    """A `HistoryFiles`: looks into the catalogue when asked, reads only manifests it has not seen."""

    def __init__(self, folder: Path, settings: HistorySettings | None = None) -> None:
        settings = settings or HistorySettings()
        self._folder = folder.resolve()
        self._engine = Engine(spill_folder(self._folder), memory=settings.memory, threads=settings.threads)
        self._planners = {layout.name: Planner(layout) for layout in (OBSERVATIONS, HOURLY, INSTANCES)}
        self._lock = threading.Lock()
        self._locations: dict[str, str] = {}
        self._newest = Answers(State(0, FileSet(), FileSet(), 0), {}, self._engine)

    def newest(self) -> Answers:
        """See `HistoryFiles.newest`."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                locations = committed_locations(self._folder)
                if locations == self._locations:
                    return self._newest
                try:
                    self._newest = self._read(locations)
                except FileNotFoundError:
                    continue  # replaced and swept while we read: the catalogue names a newer one by now
                self._locations = locations
                return self._newest
        raise Unavailable(
            f"the newest state of {self._folder} cannot be read: its metadata files keep disappearing; retry"
        )

    def close(self) -> None:
        """Frees memory; questions under way fail."""
        self._engine.close()

    def _read(self, locations: dict[str, str]) -> Answers:
        tables = {name: committed_table(location) for name, location in locations.items()}
        files = {name: self._planners[name].files(table) for name, table in tables.items()}
        properties = {name: _properties(table) for name, table in tables.items()}
        told = properties.get(OBSERVATIONS.name, {})
        rolled = properties.get(HOURLY.name, {}).get(POSITION, "0")
        state = State(
            position=int(told.get(POSITION, "0")),
            files=files.get(OBSERVATIONS.name, FileSet()),
            hourly=files.get(HOURLY.name, FileSet()),
            rolled=int(rolled),
            instances=files.get(INSTANCES.name, FileSet()),
        )
        return Answers(state, counters(told), self._engine)


def _properties(table: Table) -> dict[str, str]:
    snapshot = table.current_snapshot()
    return {} if snapshot is None or snapshot.summary is None else dict(snapshot.summary.additional_properties)
