"""`RecordStore` on SQLite: one table of JSON documents per collection, indexes on the fields that are searched.

Used for alarms, incidents, accounts, quarantine and users. Every commit is synchronous (`synchronous=FULL`): what a
projection reports as applied survives power loss under `durability = "disk"`.
"""

import contextlib
import errno
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from haechi.core.errors import HaechiError, InvalidSettings, Unavailable
from haechi.ports import Change

_PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,  # a file system that found an error makes itself read-only
)
_NAME = "abcdefghijklmnopqrstuvwxyz_"


class SqliteRecords:
    """Documents of the given collections; `collections` maps each to the fields that `find` filters and orders by."""

    def __init__(self, path: Path, collections: Mapping[str, Sequence[str]], *, read_only: bool = False) -> None:
        self._fields = {name: tuple(fields) for name, fields in collections.items()}
        self._lock = threading.Lock()
        self._db = connect(path, read_only=read_only)
        if not read_only:
            self._create()

    def _create(self) -> None:
        with answering(), self._db as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL)"
            )
            for name, fields in self._fields.items():
                assert set(name) <= set(_NAME), name
                db.execute(f"CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")
                for one in fields:
                    db.execute(f"CREATE INDEX IF NOT EXISTS {name}_{one} ON {name} ({_column(one)})")

    def position(self) -> int:
        with self._lock, answering():
            row = self._db.execute("SELECT seq FROM position").fetchone()
        return row[0] if row else 0

    def commit(self, changes: Sequence[Change], position: int | None = None) -> None:
        with self._lock, answering(), self._db as db:
            for change in changes:
                self._known(change.collection)
                if change.body is None:
                    db.execute(f"DELETE FROM {change.collection} WHERE id = ?", (change.id,))
                else:
                    body = orjson.dumps({**change.body, "id": change.id}).decode()
                    db.execute(f"INSERT OR REPLACE INTO {change.collection} VALUES (?, ?)", (change.id, body))
            if position is not None:
                db.execute("INSERT OR REPLACE INTO position VALUES (1, ?)", (position,))

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        self._known(collection)
        with self._lock, answering():
            row = self._db.execute(f"SELECT body FROM {collection} WHERE id = ?", (id,)).fetchone()
        return orjson.loads(row[0]) if row else None

    def find(
        self, collection: str, where: Mapping[str, Any] = {}, order: str = "id", limit: int = 1000, offset: int = 0
    ) -> list[dict[str, Any]]:
        fields = (*self._known(collection), "id")
        clauses, values = [], []
        for name, wanted in where.items():
            assert name in fields, f"{collection}.{name} is not a searched field"
            options = list(wanted) if isinstance(wanted, (tuple, list, set, frozenset)) else [wanted]
            clauses.append(f"{_column(name)} IN ({','.join('?' * len(options))})")
            values += options
        assert order.lstrip("-") in fields, f"{collection} is not ordered by {order}"
        direction = "DESC" if order.startswith("-") else "ASC"
        condition = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        sorting = f"ORDER BY {_column(order.lstrip('-'))} {direction}, id LIMIT ? OFFSET ?"
        sql = f"SELECT body FROM {collection} {condition} {sorting}"
        with self._lock, answering():
            rows = self._db.execute(sql, (*values, limit, offset)).fetchall()
        return [orjson.loads(row[0]) for row in rows]

    def version(self) -> object:
        if not self._lock.acquire(blocking=False):
            return object()  # a commit may be under way: like nothing seen before
        try:
            with answering():
                # The first number tells of commits of other connections, the second of our own.
                return self._db.execute("PRAGMA data_version").fetchone()[0], self._db.total_changes
        finally:
            self._lock.release()

    def close(self) -> None:
        self._db.close()

    def _known(self, collection: str) -> tuple[str, ...]:
        assert collection in self._fields, f"no collection {collection}"
        return self._fields[collection]


def _column(field: str) -> str:
    return "id" if field == "id" else f"json_extract(body, '$.{field}')"


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """A full disk, a lock held for too long, a file that went away: `Unavailable`, tried again by the runner."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"the database does not answer: {error}; is the disk full?") from error


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode with full synchronisation, shared between threads under the caller's lock."""
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        # As a URI: a folder may have `#`, `?` or `%` in its name.
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        db = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
        if not read_only:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
    except (OSError, sqlite3.Error) as error:
        raise _not_opened(path, error) from error
    return db


def _not_opened(path: Path, error: OSError | sqlite3.Error) -> HaechiError:
    """A full disk or a lock passes: worth another try. A folder that is not there or not ours does not."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte: extended codes refine it
    if code in _PASSING or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return Unavailable(f"cannot open {path} now: {error}; is its disk full, or another program holding it?")
    return InvalidSettings(f"cannot open {path}: {error}; check that the folder exists and is writable")
