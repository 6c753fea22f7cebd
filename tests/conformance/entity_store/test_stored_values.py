"""Newest values beside the documents (`LiveValues`): part of the entity, and of its batch."""

import sqlite3
import threading

import orjson
import pytest
from stored_kit import SqliteCase, entity, put, value_of, values

from haechi.core.errors import Unavailable
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import EntityQuery


def test_a_value_is_part_of_the_entity_until_an_equal_or_later_one_or_a_document_replaces_it(
    case: SqliteCase, store: SqliteEntities
) -> None:
    reader = case.reader()
    put(store, entity(1, x=0, y=0), entity(2, x=0))
    assert store.held(values(5, [1, 2, 3], 1.5)).tolist() == [False, False, False]
    store.apply({}, 2, values=[values(5, [1, 2], 1.5)])
    assert store.held(values(5, [1, 2, 3], 1.5)).tolist() == [True, True, False]
    assert store.held(values(5, [1], 1.5, "y")).tolist() == [False]
    for content, observed_at in (("2.5", 4), ('"open"', 5), ("[1]", 6), (None, 6)):
        store.apply({}, 3, values=[values(observed_at, [1], content)])
        now = 1.5 if observed_at == 4 else content and orjson.loads(content)
        assert [value_of(one, 1) for one in (store, reader)] == [now, now]
    (whole,) = reader.query(EntityQuery(ids=("urn:ngsi-ld:Sensor:1",))).entities
    said = {"value": None, "observedAt": 6, "unitCode": "CEL", "quality": 0, "modifiedAt": 6}
    assert whole["attrs"]["x"] == [{"type": "Property", **said}]
    assert (whole["modifiedAt"], whole["attrs"]["y"][0]) == (6, {"type": "Property", "value": 0})
    put(store, entity(1, x=7))
    assert store.held(values(5, [1, 2], 1.5)).tolist() == [False, True]
    assert [value_of(reader, 1), value_of(reader, 2)] == [7, 1.5]
    reader.close()


def test_values_and_documents_of_one_batch_are_seen_together_or_not_at_all(
    case: SqliteCase, store: SqliteEntities
) -> None:
    put(store, *(entity(n, x=0, y=0) for n in range(100)))
    reader, torn, stop = case.reader(), [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            page = reader.query(EntityQuery(types=("Sensor",), limit=500))
            seen = {one["attrs"][name][0]["value"] for one in page.entities for name in "xy"}
            alone = orjson.loads(reader.load(["urn:ngsi-ld:Sensor:7"])["urn:ngsi-ld:Sensor:7"])["attrs"]
            torn.extend([seen] if len(seen) != 1 or alone["x"][0]["value"] != alone["y"][0]["value"] else [])

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(1, 40):
        puts = {one["id"]: one for one in (entity(n, x=turn, y=turn) for n in range(turn % 3, 100, 3))}
        rest = [n for n in range(100) if n % 3 != turn % 3]
        store.apply(puts, turn, values=[values(turn, rest, turn, "x"), values(turn, rest, turn, "y")])
    stop.set()
    for thread in threads:
        thread.join()
    reader.close()
    assert torn == []


def test_a_batch_that_fails_leaves_no_value_and_nothing_remembered_of_it(store: SqliteEntities) -> None:
    put(store, entity(1, x=0), entity(2, x=0))
    store.apply({}, 2, values=[values(5, [1], 1.0)])
    bad = values(6, [2], object())
    with pytest.raises((Unavailable, sqlite3.Error)):
        store.apply({"urn:ngsi-ld:Sensor:1": None}, 3, values=[values(6, [2], 2.0, "z"), bad])
    assert (store.position(), value_of(store, 1), value_of(store, 2)) == (2, 1.0, 0)
    assert store.held(values(5, [1, 2], 1.5)).tolist() == [True, False]
    assert not store.held(values(5, [2], 1.5, "z")).any()
