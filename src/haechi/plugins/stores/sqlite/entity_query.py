"""How `SqliteEntities` answers a query: choose the narrowest index, walk it in order of creation, test each."""

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

import orjson

from haechi.core import geo
from haechi.core.entity import location
from haechi.core.pattern import matching
from haechi.plugins.stores.sqlite import grid
from haechi.plugins.stores.sqlite.live import TOGETHER, Document, LiveReader
from haechi.ports import Box, EntityPage, EntityQuery

FIRST = 100  # documents read before it is known whether more are needed


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one state of the file."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def run(db: sqlite3.Connection, query: EntityQuery, values: LiveReader) -> EntityPage:
    """The page, and the total when it was asked for."""
    kinds = _kinds(db, query.types)
    if query.types and not kinds:
        return EntityPage([], 0 if query.count else None)
    if query.matches is None and query.id_pattern is None and not query.ids and query.box is None:
        return _plain(db, query, kinds, values)
    found = _matching(db, query, kinds, values)
    if not query.count:
        return EntityPage(list(islice(found, query.offset, query.offset + query.limit)))
    total, page = 0, []
    for entity in found:
        if query.offset <= total < query.offset + query.limit:
            page.append(entity)
        total += 1
    return EntityPage(page, total)


def page(db: sqlite3.Connection, query: EntityQuery, values: LiveReader) -> EntityPage | None:
    """The first documents of one type, by one statement; None: the question is another."""
    tested = query.ids or query.box is not None or query.id_pattern is not None or query.matches is not None
    if tested or query.count or not query.raw or len(query.types) != 1 or query.limit > FIRST + 1:
        return None
    found = values.page(db, query.types[0], query.limit, query.offset)
    return EntityPage([], None, [values.body(db, one) for one in found])


def _kinds(db: sqlite3.Connection, types: tuple[str, ...]) -> list[int]:
    sql = f"SELECT id FROM kind WHERE name IN ({','.join('?' * len(types))})"
    return sorted(number for (number,) in db.execute(sql, types))


def _plain(db: sqlite3.Connection, query: EntityQuery, kinds: list[int], values: LiveReader) -> EntityPage:
    """Types only: the index alone counts and skips."""
    total = None
    if query.count:
        total = sum(1 for _ in _of_kinds(db, kinds)) if len(kinds) > 1 else _count(db, kinds)
    numbers = list(islice(_of_kinds(db, kinds, query.offset if len(kinds) < 2 else 0), *_window(query, kinds)))
    documents = _documents(db, iter(numbers), values)
    if query.raw:
        return EntityPage([], total, [values.body(db, one) for one in documents])
    return EntityPage([values.entity(db, one) for one in documents], total)


def _window(query: EntityQuery, kinds: list[int]) -> tuple[int, int]:
    start = query.offset if len(kinds) > 1 else 0
    return start, start + query.limit


def _count(db: sqlite3.Connection, kinds: list[int]) -> int:
    sql = "SELECT count(*) FROM member WHERE kind = ?" if kinds else "SELECT count(*) FROM entity"
    return int(db.execute(sql, kinds).fetchone()[0])


def _of_kinds(db: sqlite3.Connection, kinds: list[int], offset: int = 0) -> Iterator[int]:
    """Numbers of entities that have one of the types (any, when none is named), each once, rising."""
    if not kinds:
        rows = db.execute("SELECT number FROM entity ORDER BY number LIMIT -1 OFFSET ?", (offset,))
        return (number for (number,) in rows)
    sql = "SELECT entity FROM member WHERE kind = ? ORDER BY entity LIMIT -1 OFFSET ?"
    streams = [(number for (number,) in db.execute(sql, (kind, offset))) for kind in kinds]
    if len(streams) == 1:
        return streams[0]
    return (number for number, _ in groupby(heapq.merge(*streams)))


def _matching(
    db: sqlite3.Connection, query: EntityQuery, kinds: list[int], values: LiveReader
) -> Iterator[dict[str, Any]]:
    for document in _candidates(db, query, kinds, values):
        if query.ids and query.types and not _has_type(document.body, query.types):
            continue
        entity = values.entity(db, document)
        if query.ids and query.box is not None and not _touches(entity, query.box):
            continue
        assert entity["id"] == document.id
        if query.matches is None or query.matches(entity):
            yield entity


def _candidates(db: sqlite3.Connection, query: EntityQuery, kinds: list[int], values: LiveReader) -> Iterator[Document]:
    if query.ids:
        sql = f"SELECT number FROM entity WHERE id IN ({','.join('?' * len(query.ids))}) ORDER BY number"
        numbers: Iterator[int] = (number for (number,) in db.execute(sql, query.ids))
    elif query.box is not None:
        numbers = iter(_in_box(db, query.box, kinds))
    else:
        numbers = _of_kinds(db, kinds)
    documents = _documents(db, numbers, values)
    return documents if query.id_pattern is None else _named(documents, query.id_pattern)


def _documents(db: sqlite3.Connection, numbers: Iterator[int], values: LiveReader) -> Iterator[Document]:
    size = FIRST  # a page is often full soon
    while some := list(islice(numbers, size)):
        yield from values.numbered(db, some)
        size = TOGETHER


def _named(documents: Iterator[Document], pattern: str) -> Iterator[Document]:
    matching(pattern, [])  # a bad pattern is refused even when there is nothing to test
    while some := list(islice(documents, TOGETHER)):
        for document, fits in zip(some, matching(pattern, [one.id for one in some]), strict=True):
            if fits:
                yield document


def _in_box(db: sqlite3.Connection, box: Box, kinds: list[int]) -> list[int]:
    kinds = kinds or [number for (number,) in db.execute("SELECT id FROM kind")]
    inside = "west <= :east AND east >= :west AND south <= :north AND north >= :south"
    bounds = {"west": box.west, "south": box.south, "east": box.east, "north": box.north}
    cells = grid.ranges(box)
    found: set[int] = set()
    for kind in kinds:
        if not cells:
            sql = f"SELECT entity FROM place WHERE kind = :kind AND {inside}"
            found.update(number for (number,) in db.execute(sql, {**bounds, "kind": kind}))
        sql = f"SELECT entity FROM place WHERE kind = :kind AND cell BETWEEN :first AND :last AND {inside}"
        for first, last in cells:
            found.update(n for (n,) in db.execute(sql, {**bounds, "kind": kind, "first": first, "last": last}))
    return sorted(found)


def _has_type(body: bytes, types: tuple[str, ...]) -> bool:
    return not set(types).isdisjoint(orjson.loads(body)["type"])


def _touches(entity: dict[str, Any], box: Box) -> bool:
    bounds = geo.extent(location(entity))
    if bounds is None:
        return False
    west, south, east, north = bounds
    return west <= box.east and east >= box.west and south <= box.north and north >= box.south
