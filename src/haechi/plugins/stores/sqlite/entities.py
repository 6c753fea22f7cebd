"""`EntityStore` on SQLite: the live model, one JSON document per entity, newest values of devices in rows beside it
(see `live`). Joined by `app.py`, written by context.

One writer; readers in any process open the same file read-only and never wait for it (WAL). `load` and `query` run on a
connection of the calling thread. Indexes: entities by type in order of creation, and by type and place (see `grid`).
"""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from haechi.core import entity as stored
from haechi.core import geo
from haechi.core.errors import Unavailable
from haechi.core.values import Values
from haechi.plugins.stores.sqlite import entity_query, grid, live
from haechi.plugins.stores.sqlite.live import Document, LiveReader, LiveWriter, chunks
from haechi.plugins.stores.sqlite.records import answering, connect
from haechi.ports import EntityPage, EntityQuery, EntityShape

_SCHEMA = """
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS shape (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entity (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, shape INTEGER NOT NULL,
    west REAL, south REAL, east REAL, north REAL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS change (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entity_shape ON entity (shape);
CREATE TABLE IF NOT EXISTS member (kind INTEGER, entity INTEGER, PRIMARY KEY (kind, entity)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
    kind INTEGER, cell INTEGER, entity INTEGER, west REAL, south REAL, east REAL, north REAL,
    PRIMARY KEY (kind, cell, entity)) WITHOUT ROWID;
"""
# Measured with 1 M entities of 577 bytes updated at random: small pages write less per update (2,048: 31,000/s, 4,096:
# 25,000/s), and a checkpoint each 128 MB of log writes pages once that were changed several times.
_PAGE = 2048
_CHECKPOINT_PAGES = 128 * 2**20 // _PAGE
_MAPPED = 8 * 2**30  # address space, not memory: reads come from the page cache without a system call
_REMEMBERED = 65_536  # entities the writer keeps as it wrote them, about 1 kB each


class _Keys(NamedTuple):
    """What the table and the indexes hold about one entity."""

    number: int
    shape: int
    extent: geo.Extent | None
    body: bytes = b""


_Made = tuple[str, _Keys, set[int]]  # id, keys, types of an entity that is to be indexed
_NOWHERE = (None, None, None, None)


class SqliteEntities:
    """The live model in one file. `read_only` instances may be made before the file is there."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._keys: dict[str, _Keys] = {}
        self._shapes: dict[Any, int] = {}
        self._kinds: dict[str, int] = {}
        self._absent: set[str] = set()  # asked for by the writer since it last wrote, and not there
        self._values, self._live = LiveReader(), LiveWriter()
        self._owner: int | None = None  # the thread that writes: only what it read itself cannot be out of date
        self._writer = None if read_only else self._create()

    def _create(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with sqlite3.connect(self._path) as fresh:
                fresh.execute(f"PRAGMA page_size={_PAGE}")  # only before the first table
                fresh.execute("PRAGMA journal_mode=WAL")
            fresh.close()
        db = _tuned(connect(self._path))
        db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA journal_size_limit={_CHECKPOINT_PAGES * _PAGE}")
        with db:
            for statement in (_SCHEMA + live.SCHEMA).split(";"):
                db.execute(statement)
        self._kinds = dict(db.execute("SELECT name, id FROM kind"))
        return db

    # --- writing ---

    def apply(
        self,
        puts: Mapping[str, Mapping[str, Any] | None],
        position: int,
        changes: Sequence[bytes] = (),
        values: Sequence[Values] = (),
    ) -> None:
        """One transaction. An instance opened read-only must not call it."""
        assert self._writer is not None, "this instance was opened read-only"
        with self._lock:
            self._owner = threading.get_ident()
            try:
                with self._writer as db:
                    self._remember(db, [id for id in puts if id not in self._keys and id not in self._absent])
                    self._put(db, puts)
                    for one in values:
                        self._live.put(db, one)
                    db.executemany("INSERT INTO change (body) VALUES (?)", [(one,) for one in changes])
                    db.execute("INSERT OR REPLACE INTO position VALUES (1, ?)", (position,))
            except sqlite3.Error as error:
                self._forget()
                raise Unavailable(f"cannot write {self._path}: {error}; check free space and rights") from error
            except BaseException:
                self._forget()
                raise
            finally:
                self._absent.clear()
        for id in list(islice(self._keys, max(len(self._keys) - _REMEMBERED, 0))):
            del self._keys[id]

    def _forget(self) -> None:
        """After a rolled back transaction nothing remembered can be trusted."""
        self._keys.clear()
        self._shapes.clear()
        self._live.forget()
        assert self._writer is not None
        self._kinds = dict(self._writer.execute("SELECT name, id FROM kind"))

    def _remember(self, db: sqlite3.Connection, ids: Sequence[str]) -> None:
        for some in chunks(ids):
            sql = f"SELECT id, number, shape, west, south, east, north, body FROM entity WHERE id IN ({_marks(some)})"
            for id, number, shape, west, south, east, north, body in db.execute(sql, some):
                self._keys[id] = _Keys(number, shape, None if west is None else (west, south, east, north), body)
        self._absent.update(id for id in ids if id not in self._keys)

    def _put(self, db: sqlite3.Connection, puts: Mapping[str, Mapping[str, Any] | None]) -> None:
        bodies: list[tuple[bytes, int]] = []
        made: list[_Made] = []
        written: list[int] = []  # numbers of documents there were
        number = int(db.execute("SELECT coalesce(max(number), 0) FROM entity").fetchone()[0])
        for id, entity in puts.items():
            known = self._keys.pop(id, None)
            written += [known.number] if known is not None else []
            if entity is None:
                self._delete(db, known)
                self._live.gone(id)
                continue
            # A copy: what orjson returns keeps all the room it was written in.
            body = bytes(memoryview(orjson.dumps(entity)))
            shape = self._shape(db, entity)
            extent = geo.extent(stored.location(entity)) if "location" in entity["attrs"] else None
            if known is None:
                number += 1
                keys = _Keys(number, shape, extent, body)
                made.append((id, keys, self._kinds_of(db, entity)))
            else:
                keys = _Keys(known.number, shape, extent, body)
                bodies.append((body, known.number))
                if shape != known.shape or extent != known.extent:
                    self._reindex(db, known, keys, self._kinds_of(db, entity))
            self._keys[id] = keys
        self._live.drop(db, written)
        bodies.sort(key=lambda row: row[1])  # neighbours share pages
        db.executemany("UPDATE entity SET body = ? WHERE number = ?", bodies)
        _insert(db, made)

    def _reindex(self, db: sqlite3.Connection, known: _Keys, keys: _Keys, kinds: set[int]) -> None:
        if keys.extent != known.extent or kinds != self._kinds_in(db, known.shape):
            self._unindex(db, known)
            _index(db, [("", keys, kinds)])
        sql = "UPDATE entity SET shape = ?, west = ?, south = ?, east = ?, north = ? WHERE number = ?"
        db.execute(sql, (keys.shape, *(keys.extent or _NOWHERE), known.number))

    def _kinds_in(self, db: sqlite3.Connection, shape: int) -> set[int]:
        body = db.execute("SELECT body FROM shape WHERE id = ?", (shape,)).fetchone()[0]
        return {self._kinds[name] for name in orjson.loads(body)[0]}

    def _unindex(self, db: sqlite3.Connection, known: _Keys) -> None:
        kinds = self._kinds_in(db, known.shape)
        db.executemany("DELETE FROM member WHERE kind = ? AND entity = ?", [(kind, known.number) for kind in kinds])
        if known.extent is not None:
            cell = grid.cell(known.extent)
            sql = "DELETE FROM place WHERE kind = ? AND cell = ? AND entity = ?"
            db.executemany(sql, [(kind, cell, known.number) for kind in kinds])

    def _delete(self, db: sqlite3.Connection, known: _Keys | None) -> None:
        if known is not None:
            self._unindex(db, known)
            db.execute("DELETE FROM entity WHERE number = ?", (known.number,))

    def _kinds_of(self, db: sqlite3.Connection, entity: Mapping[str, Any]) -> set[int]:
        for name in entity["type"]:
            if name not in self._kinds:
                self._kinds[name] = int(db.execute("INSERT INTO kind (name) VALUES (?)", (name,)).lastrowid or 0)
        return {self._kinds[name] for name in entity["type"]}

    def _shape(self, db: sqlite3.Connection, entity: Mapping[str, Any]) -> int:
        attributes: Mapping[str, Any] = entity["attrs"]
        key = (*entity["type"], None, *attributes, None, *[one[0]["type"] for one in attributes.values() if one])
        number = self._shapes.get(key)
        if number is None:
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            self._shapes[key] = number = _shape_number(db, orjson.dumps(stored.shape(entity)).decode())
        return number

    # --- reading ---

    def position(self) -> int:
        row = self._reader().execute("SELECT seq FROM position").fetchone()
        return row[0] if row else 0

    def version(self) -> object:
        # Of this thread's connection, which never writes: it tells of commits of all others, ours among them.
        db = self._reader()
        return db.execute("PRAGMA data_version").fetchone()[0]

    def load(self, ids: Sequence[str]) -> dict[str, bytes]:
        if threading.get_ident() == self._owner:
            return self._load_to_write(ids)
        db, values = self._reader(), self._values
        if len(ids) == 1:
            one = values.named(db, ids[0])
            return {} if one is None else {one.id: values.body(db, one)}
        if len(ids) <= live.TOGETHER:
            return {one.id: values.body(db, one) for one in values.all_named(db, ids)}
        with entity_query.snapshot(db):
            some = [values.all_named(db, few) for few in chunks(ids, live.TOGETHER)]
            return {one.id: values.body(db, one) for found in some for one in found}

    def _load_to_write(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The writing thread sees what it wrote last without asking, and will not have to look up what it asks now."""
        db = self._reader()
        self._remember(db, [id for id in ids if id not in self._keys and id not in self._absent])
        keys = {id: self._keys[id] for id in ids if id in self._keys}
        rows = self._values.rows(db, [one.number for one in keys.values()])
        return {id: self._values.body(db, Document(id, one.body, rows.get(one.number, ()))) for id, one in keys.items()}

    def held(self, values: Values) -> Any:
        """Which of these series have a row beside their document. The writing thread only."""
        return self._live.held(self._reader(), values)

    def query(self, query: EntityQuery) -> EntityPage:
        """Raises `InvalidData` for a bad `id_pattern`. All parts of the answer are of one instant."""
        db = self._reader()
        if (page := entity_query.page(db, query, self._values)) is not None:
            return page
        with entity_query.snapshot(db):
            return entity_query.run(db, query, self._values)

    def shapes(self) -> list[EntityShape]:
        counts = "SELECT shape, count(*) AS many FROM entity GROUP BY shape"
        sql = f"SELECT body, many FROM ({counts}) JOIN shape ON id = shape"
        rows = self._reader().execute(sql).fetchall()
        return [EntityShape(tuple(types), dict(attributes), many) for (types, attributes), many in _decoded(rows)]

    # --- changes, for subscriptions ---

    def changes(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        sql = "SELECT number, body FROM change WHERE number > ? ORDER BY number LIMIT ?"
        return self._reader().execute(sql, (after, limit)).fetchall()

    def last_change(self) -> int:
        row = self._reader().execute("SELECT seq FROM sqlite_sequence WHERE name = 'change'").fetchone()
        return int(row[0]) if row else 0

    def forget_changes(self, up_to: int, keep: int) -> None:
        assert self._writer is not None, "this instance was opened read-only"
        with self._lock, answering(), self._writer as db:
            newest = db.execute("SELECT coalesce(max(number), 0) FROM change").fetchone()[0]
            db.execute("DELETE FROM change WHERE number <= ?", (max(up_to, newest - keep),))

    def close(self) -> None:
        """Of the reading connections only this thread's: closing one that another thread reads from ends the process
        with a segmentation fault. The others end with their threads."""
        own: sqlite3.Connection | None = getattr(self._local, "db", None)
        with self._lock:
            for db in (own, self._writer):
                if db is not None:
                    db.close()

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection: readers never wait for each other nor for the writer."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            if not self._path.exists():
                raise Unavailable(f"{self._path} is not there yet; start the pipeline role, which creates it")
            db = _tuned(connect(self._path, read_only=True))
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'live'").fetchone() is None:
                db.close()
                raise Unavailable(f"{self._path} has no tables yet; its writer is just starting, try again")
            self._local.db = db
        return db


def _decoded(rows: Sequence[tuple[str, int]]) -> list[tuple[Any, int]]:
    return [(orjson.loads(body), many) for body, many in rows]


def _tuned(db: sqlite3.Connection) -> sqlite3.Connection:
    db.execute(f"PRAGMA mmap_size={_MAPPED}")
    db.execute("PRAGMA cache_size=-65536")
    return db


def _insert(db: sqlite3.Connection, made: Sequence[_Made]) -> None:
    sql = "INSERT INTO entity VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    rows = [(keys.number, id, keys.shape, *(keys.extent or _NOWHERE), keys.body) for id, keys, _ in made]
    db.executemany(sql, rows)
    _index(db, made)


def _index(db: sqlite3.Connection, made: Sequence[_Made]) -> None:
    members = [(kind, keys.number) for _, keys, kinds in made for kind in kinds]
    db.executemany("INSERT INTO member VALUES (?, ?)", members)
    places = [
        (kind, grid.cell(keys.extent), keys.number, *keys.extent)
        for _, keys, kinds in made
        if keys.extent is not None
        for kind in kinds
    ]
    db.executemany("INSERT INTO place VALUES (?, ?, ?, ?, ?, ?, ?)", places)


def _shape_number(db: sqlite3.Connection, body: str) -> int:
    row = db.execute("SELECT id FROM shape WHERE body = ?", (body,)).fetchone()
    return int(row[0] if row else db.execute("INSERT INTO shape (body) VALUES (?)", (body,)).lastrowid or 0)


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))
