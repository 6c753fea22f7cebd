"""Files of snapshots: each a store of entities as the live model is, changed by the same projection. For `broker`."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

from haechi.app.snapshot_past import PastFile
from haechi.core.frame import Frame, encode
from haechi.core.times import to_us
from haechi.plugins.stores.iceberg.engine import Engine, spill_folder
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Clock, Record
from haechi.services.context.projection import ContextProjection

PAST = ".arrow"


class SnapshotFile:
    """One of them; written by one thread."""

    def __init__(self, path: Path, clock: Clock, writer: ThreadPoolExecutor, engine: Callable[[], Engine]) -> None:
        self.store = SqliteEntities(path)
        self.past = PastFile(path.with_suffix(PAST), engine)
        self._clock, self._writer = clock, writer
        self._projection = ContextProjection(self.store)

    async def write(self, frame: Frame) -> None:
        """What a request changes; returns when reads see it."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._apply, frame)

    async def pour(self, entities: Mapping[str, Any]) -> None:
        """Whole entities, as they are."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, lambda: self.store.apply(entities, self.store.position() + 1))

    def _apply(self, frame: Frame) -> None:
        now = self._clock.now()
        self._projection.apply([Record(self.store.position() + 1, "entity", encode(frame), to_us(now))], now)

    def close(self) -> None:
        self.store.close()


class SnapshotFiles:
    """A folder of them."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._open: dict[str, SnapshotFile] = {}
        self._engine: Engine | None = None

    def engine(self) -> Engine:
        """What answers questions about the past of any of them; made for the first."""
        if self._engine is None:
            self._engine = Engine(spill_folder(self._folder), memory="256MB", threads=1)
        return self._engine

    def open(self, name: str) -> SnapshotFile:
        """The one of that name, made when there is none."""
        if name not in self._open:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open[name] = SnapshotFile(self._path(name), self._clock, self._writer, self.engine)
        return self._open[name]

    def remove(self, name: str) -> None:
        """With its file."""
        if name in self._open:
            self._open.pop(name).close()
        for end in ("", "-wal", "-shm"):
            Path(f"{self._path(name)}{end}").unlink(missing_ok=True)
        self._path(name).with_suffix(PAST).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{blake2b(name.encode(), digest_size=16).hexdigest()}.db"
