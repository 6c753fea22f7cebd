"""Newest observed values beside the documents of `SqliteEntities`: one narrow row per plain Property a device reports.

An observation of such a property changes one row; its document is neither read nor written. Whoever reads a document
folds its rows in; whoever writes one takes them out again, in the same transaction.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
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
_SIZES = (1, 5, 10, 20, 50, 100, TOGETHER)  # of lists in statements: few forms, so that each is compiled once

Row = tuple[int, int, Any, str | None, int, int]  # as _COLUMNS
_T = TypeVar("_T")
_NUMBER = itemgetter(0)


class Document(NamedTuple):
    """A document as it was written, and what was observed since."""

    id: str
    body: bytes
    rows: Sequence[Row]


_ONE = f"SELECT id, body, {_COLUMNS} FROM entity LEFT JOIN {_JOIN} WHERE id = ?"
# Entities of one type from an offset on. One statement sees one state of the file, and costs a fifth of five.
_OF_TYPE = (
    "SELECT number, entity.id, body FROM kind JOIN member ON member.kind = kind.id "
    "JOIN entity ON entity.number = member.entity WHERE kind.name = ? ORDER BY member.entity LIMIT ? OFFSET ?"
)
_PAGE = f"SELECT number, id, body, {_COLUMNS} FROM ({_OF_TYPE}) AS entity LEFT JOIN {_JOIN}"
_MARKS = {size: ",".join("?" * size) for size in _SIZES}
_BY_ID = {
    size: f"SELECT number, id, body, {_COLUMNS} FROM entity LEFT JOIN {_JOIN} WHERE id IN ({marks})"
    for size, marks in _MARKS.items()
}
_BY_NUMBER = {
    size: f"SELECT number, id, body FROM entity WHERE number IN ({marks}) ORDER BY number"
    for size, marks in _MARKS.items()
}
_ROWS = {
    size: f"WITH entity (number) AS (VALUES {','.join(['(?)'] * size)}) SELECT {_COLUMNS} FROM entity JOIN {_JOIN}"
    for size in _SIZES
}


class LiveReader:
    """Documents with their newest values, for any thread: each call names the connection of its own."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def named(self, db: sqlite3.Connection, id: str) -> Document | None:
        """The document of an entity, with its rows of the same instant, if there is one."""
        found = db.execute(_ONE, (id,)).fetchall()
        if not found:
            return None
        return Document(id, found[0][1], () if found[0][2] is None else [row[2:] for row in found])

    def all_named(self, db: sqlite3.Connection, ids: Sequence[str]) -> list[Document]:
        """Those of at most TOGETHER entities that exist, in no order, with their rows of the same instant."""
        return _documents(_ask(db, _BY_ID, ids))

    def numbered(self, db: sqlite3.Connection, numbers: Sequence[int]) -> list[Document]:
        """Those of at most TOGETHER entities that exist, by rising number. Call it inside of one transaction."""
        return self._with_rows(db, _ask(db, _BY_NUMBER, numbers))

    def page(self, db: sqlite3.Connection, type: str, limit: int, offset: int) -> list[Document]:
        """Those of one type by rising number, with their rows of the same instant."""
        return _documents(sorted(db.execute(_PAGE, (type, limit, offset)).fetchall(), key=_NUMBER))

    def _with_rows(self, db: sqlite3.Connection, found: Sequence[tuple[int, str, bytes]]) -> list[Document]:
        rows = self.rows(db, [number for number, _, _ in found])
        return [Document(id, body, rows.get(number, ())) for number, id, body in found]

    def rows(self, db: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[Row]]:
        """What was observed since the documents of these entities were written."""
        found: dict[int, list[Row]] = {}
        for wanted in chunks(numbers, TOGETHER):
            for row in _ask(db, _ROWS, wanted):
                found.setdefault(row[0] >> _BITS, []).append(row)
        return found

    def entity(self, db: sqlite3.Connection, document: Document) -> Entity:
        """The entity as it is now."""
        entity: Entity = orjson.loads(document.body)
        if not document.rows:
            return entity
        attributes, names = entity["attrs"], self._names
        for series, observed_at, value, unit, quality, modified_at in document.rows:
            name = names.get(series & _MOST) or self._name(db, series & _MOST)
            instance = attributes[name][0]
            if "datasetId" in instance:
                instance = stored.find(attributes[name], None)
            instance["value"] = orjson.loads(value) if type(value) is str else value
            instance["observedAt"], instance["quality"], instance["modifiedAt"] = observed_at, quality, modified_at
            if unit is not None:
                instance["unitCode"] = unit
            elif "unitCode" in instance:
                del instance["unitCode"]
        entity["modifiedAt"] = max([row[5] for row in document.rows])
        return entity

    def body(self, db: sqlite3.Connection, document: Document) -> bytes:
        """The entity as it is now, as JSON."""
        return orjson.dumps(self.entity(db, document)) if document.rows else document.body

    def _name(self, db: sqlite3.Connection, number: int) -> str:
        """New names are looked up when they first occur; what has been committed never changes."""
        self._names.update(db.execute("SELECT id, name FROM attribute"))
        return self._names[number]


class LiveWriter:
    """The rows as their one writer sees them. What it remembers is forgotten when a transaction fails."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of entities
        self._attributes: dict[str, int] = {}
        self._last: tuple[Sequence[str], Any] | None = None  # names last asked for and their numbers
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
        self._last = None

    def forget(self) -> None:
        """After a rolled back transaction nothing remembered can be trusted."""
        self._numbers.clear()
        self._last = None
        self._attributes.clear()
        self._there.clear()

    def _codes(self, db: sqlite3.Connection, values: Values) -> tuple[Any, Any]:
        """Number of the entity and of the attribute of each row; 0: it has none."""
        attributes = self._attributes
        if not attributes:
            attributes.update(db.execute("SELECT name, id FROM attribute"))
        numbers = self._numbers_of(db, values.entities)
        named = np.array([attributes.get(name, 0) for name in values.attributes], dtype=np.int64)
        return numbers[values.entity], named[values.attribute]

    def _numbers_of(self, db: sqlite3.Connection, ids: Sequence[str]) -> Any:
        """Numbers of these entities; what is asked again right away, as `put` does after `held`, is not looked up."""
        if self._last is not None and self._last[0] is ids and self._last[1].all():
            return self._last[1]
        numbers = self._numbers
        known = list(map(numbers.get, ids))  # once: of a million names each look costs more than all the rest here
        if None in known:
            for wanted in chunks([id for id, number in zip(ids, known, strict=True) if number is None]):
                sql = f"SELECT id, number FROM entity WHERE id IN ({','.join('?' * len(wanted))})"
                numbers.update(db.execute(sql, wanted))
            known = [numbers.get(id, 0) for id in ids]
        found = np.array(known, dtype=np.int64)
        self._last = (ids, found)
        for id in list(islice(numbers, max(len(numbers) - _REMEMBERED, 0))):
            del numbers[id]
        return found

    def _number_attribute(self, db: sqlite3.Connection, name: str) -> None:
        db.execute("INSERT OR IGNORE INTO attribute (name) VALUES (?)", (name,))
        number = int(db.execute("SELECT id FROM attribute WHERE name = ?", (name,)).fetchone()[0])
        if number > _MOST:
            raise NotSupported(f"more than {_MOST:,} names of observed attributes; map devices to fewer")
        self._attributes[name] = number


def _documents(found: Sequence[Any]) -> list[Document]:
    """Of rows of number, id, body, and what was observed since, side by side for each number."""
    entities = [list(rows) for _, rows in groupby(found, _NUMBER)]
    return [
        Document(rows[0][1], rows[0][2], () if rows[0][3] is None else [row[3:] for row in rows]) for rows in entities
    ]


def _ask(db: sqlite3.Connection, statements: Mapping[int, str], wanted: Sequence[Any]) -> list[Any]:
    """The rows of the statement made for so many."""
    size = len(wanted)
    if size not in statements:
        size = next(one for one in _SIZES if one > size)
        wanted = [*wanted, *[None] * (size - len(wanted))]  # which nothing has
    return db.execute(statements[size], wanted).fetchall()


def chunks(values: Sequence[_T], size: int = 10_000) -> list[Sequence[_T]]:
    """Pieces that fit one statement."""
    return [values[start : start + size] for start in range(0, len(values), size)]
