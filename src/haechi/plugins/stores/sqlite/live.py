"""Newest observed values beside the documents of `SqliteEntities`: one narrow row per plain Property a device reports.

An observation of such a property changes one row; its document is neither read nor written. Whoever reads a document
folds its rows in; whoever writes one takes them out again, in the same transaction.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson

from haechi.core import entity as stored
from haechi.core.entity import Entity
from haechi.core.errors import NotSupported
from haechi.core.values import Values
from haechi.plugins.stores.sqlite.sets import Pairs

# A series is the number of its entity and that of its attribute in one integer, so that the rows of an entity lie
# side by side and are found by one range.
SCHEMA = """
CREATE TABLE IF NOT EXISTS attribute (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS live (
    series INTEGER PRIMARY KEY, observed_at INTEGER NOT NULL, value, unit TEXT, quality INTEGER NOT NULL,
    modified_at INTEGER NOT NULL);
"""
_BITS = 20
_MOST = (1 << _BITS) - 1  # attributes with names of their own
_REMEMBERED = 1 << 20  # entities whose number the writer keeps, about 170 bytes each
_JOIN = f"live ON series > entity.number << {_BITS} AND series <= entity.number << {_BITS} | {_MOST}"
_COLUMNS = "series, observed_at, value, unit, quality, modified_at"
_NEWER = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
# Of two observations of one instant the later arrival wins.
_PUT = (
    f"INSERT INTO live ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (series) DO UPDATE SET {_NEWER} "
    "WHERE excluded.observed_at >= live.observed_at"
)
TOGETHER = 500  # documents asked for at once at most
_SIZES = (1, 20, 100, TOGETHER)  # of lists in statements: few forms, so that each is compiled once

Row = Sequence[Any]  # number of the entity, id, document, then as _COLUMNS
_T = TypeVar("_T")


class Document(NamedTuple):
    """A document as it was written, and what was observed since."""

    id: str
    body: bytes
    rows: list[Row]


def _asking(condition: str) -> str:
    return f"SELECT entity.number, id, body, {_COLUMNS} FROM entity LEFT JOIN {_JOIN} WHERE {condition}"


_BY_ID = {size: _asking(f"id IN ({','.join('?' * size)})") for size in _SIZES}
_BY_NUMBER = {size: _asking(f"entity.number IN ({','.join('?' * size)}) ORDER BY entity.number") for size in _SIZES}


class LiveReader:
    """Documents with their newest values, for any thread: each call names the connection of its own."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def named(self, db: sqlite3.Connection, ids: Sequence[str]) -> list[Document]:
        """Those of at most TOGETHER entities that exist, all of one instant, in no order."""
        return _documents(db, _BY_ID, ids)

    def numbered(self, db: sqlite3.Connection, numbers: Sequence[int]) -> list[Document]:
        """Those of at most TOGETHER entities that exist, by rising number, all of one instant."""
        return _documents(db, _BY_NUMBER, numbers)

    def entity(self, db: sqlite3.Connection, document: Document) -> Entity:
        """The entity as it is now."""
        entity: Entity = orjson.loads(document.body)
        if not document.rows:
            return entity
        attributes = entity["attrs"]
        names = self._names
        modified_at = 0
        for _, _, _, series, observed_at, value, unit, quality, at in document.rows:
            name = names.get(series & _MOST)
            instance = stored.find(attributes[self._name(db, series & _MOST) if name is None else name], None)
            assert instance is not None, "what has a live value is in the document"
            instance["value"] = orjson.loads(value) if type(value) is str else value
            instance["observedAt"], instance["quality"], instance["modifiedAt"] = observed_at, quality, at
            if unit is not None:
                instance["unitCode"] = unit
            else:
                instance.pop("unitCode", None)
            modified_at = max(modified_at, at)
        entity["modifiedAt"] = modified_at
        return entity

    def body(self, db: sqlite3.Connection, document: Document) -> bytes:
        """The entity as it is now, as JSON."""
        return orjson.dumps(self.entity(db, document)) if document.rows else document.body

    def rows(self, db: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[Row]]:
        """What was observed since the documents of these entities were written."""
        found: dict[int, list[Row]] = {}
        for wanted in chunks(numbers):
            which = f"entity.number IN ({','.join('?' * len(wanted))})"
            sql = f"SELECT entity.number, NULL, NULL, {_COLUMNS} FROM entity JOIN {_JOIN} WHERE {which}"
            for row in db.execute(sql, wanted):
                found.setdefault(row[0], []).append(row)
        return found

    def _name(self, db: sqlite3.Connection, number: int) -> str:
        """New names are looked up when they first occur; what has been committed never changes."""
        self._names.update(db.execute("SELECT id, name FROM attribute"))
        return self._names[number]


class LiveWriter:
    """The rows as their one writer sees them. What it remembers is forgotten when a transaction fails."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of entities
        self._attributes: dict[str, int] = {}
        self._there = Pairs()  # entity and attribute of rows known to exist

    def held(self, db: sqlite3.Connection, values: Values) -> Any:
        """Which of these series have a row, as booleans."""
        entity, attribute = self._codes(db, values)
        known = self._there.has(entity, attribute)
        unsure = np.flatnonzero(~known & (entity > 0) & (attribute > 0))
        if len(unsure):
            series = entity[unsure] << _BITS | attribute[unsure]
            found: list[int] = []
            for wanted in chunks(series.tolist()):
                sql = f"SELECT series FROM live WHERE series IN ({','.join('?' * len(wanted))})"
                found += [one for (one,) in db.execute(sql, wanted)]
            there = unsure[np.isin(series, np.array(found, dtype=np.int64))]
            self._there.add(entity[there], attribute[there])
            known[there] = True
        return known

    def put(self, db: sqlite3.Connection, values: Values) -> None:
        """Makes or changes the rows of entities that exist."""
        for name in values.attributes:
            if name not in self._attributes:
                self._number_attribute(db, name)
        entity, attribute = self._codes(db, values)
        assert entity.all(), "values of entities that are not there"
        series = entity << _BITS | attribute
        order = np.argsort(series, kind="stable")  # neighbours share pages
        columns = (series, values.observed_at, values.content, values.unit, values.quality)
        rows = zip(*(column[order].tolist() for column in columns), [values.at] * len(order), strict=True)
        db.executemany(_PUT, rows)
        self._there.add(entity, attribute)

    def drop(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Removes the rows of entities whose documents are written or gone."""
        sql = "DELETE FROM live WHERE series > ? AND series <= ?"
        db.executemany(sql, [(one << _BITS, one << _BITS | _MOST) for one in sorted(numbers)])
        self._there.drop(numbers)

    def gone(self, id: str) -> None:
        """The entity is deleted: its number may become another's."""
        self._numbers.pop(id, None)

    def forget(self) -> None:
        """After a rolled back transaction nothing remembered can be trusted."""
        self._numbers.clear()
        self._attributes.clear()
        self._there.clear()

    def _codes(self, db: sqlite3.Connection, values: Values) -> tuple[Any, Any]:
        """Number of the entity and of the attribute of each row; 0: it has none."""
        numbers, attributes = self._numbers, self._attributes
        unknown = [id for id in values.entities if id not in numbers]
        for wanted in chunks(unknown):
            sql = f"SELECT id, number FROM entity WHERE id IN ({','.join('?' * len(wanted))})"
            numbers.update(db.execute(sql, wanted))
        if not attributes:
            attributes.update(db.execute("SELECT name, id FROM attribute"))
        of_entities = np.array([numbers.get(id, 0) for id in values.entities], dtype=np.int64)
        of_attributes = np.array([attributes.get(name, 0) for name in values.attributes], dtype=np.int64)
        if len(numbers) > _REMEMBERED:
            for id in list(numbers)[: len(numbers) - _REMEMBERED]:
                del numbers[id]
        return of_entities[values.entity], of_attributes[values.attribute]

    def _number_attribute(self, db: sqlite3.Connection, name: str) -> None:
        db.execute("INSERT OR IGNORE INTO attribute (name) VALUES (?)", (name,))
        number = int(db.execute("SELECT id FROM attribute WHERE name = ?", (name,)).fetchone()[0])
        if number > _MOST:
            raise NotSupported(f"more than {_MOST:,} names of observed attributes; map devices to fewer")
        self._attributes[name] = number


def _documents(db: sqlite3.Connection, asking: Mapping[int, str], wanted: Sequence[str | int]) -> list[Document]:
    size = len(wanted)
    if size not in _SIZES:
        size = next(one for one in _SIZES if one > size)
        wanted = [*wanted, *[None] * (size - len(wanted))]  # type: ignore[list-item]  # a number that no entity has
    found: list[Document] = []
    last = 0
    for row in db.execute(asking[size], wanted):
        if row[0] != last:
            last = row[0]
            found.append(Document(row[1], row[2], [] if row[3] is None else [row]))
        else:
            found[-1].rows.append(row)
    return found


def chunks(values: Sequence[_T], size: int = 10_000) -> list[Sequence[_T]]:
    """Pieces that fit one statement."""
    return [values[start : start + size] for start in range(0, len(values), size)]
