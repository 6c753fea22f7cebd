"""What an MQTT door remembers, in one SQLite file, so that it is there after a restart. The adapter uses it."""

import sqlite3
from pathlib import Path

from haechi.core.errors import Unavailable
from haechi.core.mqtt.hub import Hub, HubLimits


class KeptHub(Hub):
    """A `Hub` over the file `mqtt.db` in its folder."""

    def __init__(self, folder: str, limits: HubLimits, now: int) -> None:
        super().__init__(limits)
        Path(folder).mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(Path(folder) / "mqtt.db", isolation_level=None)
            self._file.executescript("pragma journal_mode=wal; pragma synchronous=normal")
            self._file.execute("create table if not exists kept (key text primary key, body blob) without rowid")
            rows = self._file.execute("select key, body from kept").fetchall()
        except sqlite3.Error as error:
            raise Unavailable(
                f"{folder}/mqtt.db cannot be opened: {error}; mend the disk or move the file away"
            ) from error
        for key, body in rows:
            self.restore(key, body, now)

    def note(self, id: str, device: str, at: int) -> None:
        """Keeps that a command goes out now, before it does: no restart may send it twice; `Unavailable`."""
        super().note(id, device, at)
        self.commit()

    def commit(self) -> None:
        """Writes what changed in one transaction that survives a kill; `Unavailable` when the disk does not take it."""
        if not self._changed:
            return
        rows = self.changes()
        try:
            with self._file:
                self._file.execute("begin immediate")
                self._file.executemany("delete from kept where key = ?", [(key,) for key, body in rows if body is None])
                self._file.executemany("insert or replace into kept values (?, ?)", [row for row in rows if row[1]])
        except sqlite3.Error as error:
            raise Unavailable(f"mqtt.db cannot be written: {error}; make room on the disk") from error
        self._changed = {}

    def sweep(self, now: int) -> None:
        """Ends what is over and commits."""
        super().sweep(now)
        self.commit()

    def close(self) -> None:
        """Commits and closes the file."""
        try:
            self.commit()
        finally:
            self._file.close()
