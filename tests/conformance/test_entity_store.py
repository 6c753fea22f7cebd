"""What every `EntityStore` (`EntityCensus`, `LiveValues`) keeps; a new backend joins `STORES` and passes the suite."""

import dataclasses
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haechi.core.errors import InvalidData, Unavailable
from haechi.core.values import Values
from haechi.plugins.stores.sqlite import live
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Box, EntityQuery


class SqliteCase:
    """Opens the writer and readers of one live model."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "entities.db"

    def writer(self) -> SqliteEntities:
        return SqliteEntities(self.path)

    def reader(self) -> SqliteEntities:
        return SqliteEntities(self.path, read_only=True)


STORES: dict[str, Callable[[Path], SqliteCase]] = {"sqlite": SqliteCase}


@pytest.fixture(params=sorted(STORES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteCase:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(case: SqliteCase) -> Iterator[SqliteEntities]:
    opened = case.writer()
    yield opened
    opened.close()


def entity(
    number: int, types: tuple[str, ...] = ("Sensor",), geometry: Any = None, **attributes: Any
) -> dict[str, Any]:
    attrs: dict[str, Any] = {name: [{"type": "Property", "value": value}] for name, value in attributes.items()}
    if geometry is not None:
        geometry = {"type": "Point", "coordinates": list(geometry)} if isinstance(geometry, tuple) else geometry
        attrs["location"] = [{"type": "GeoProperty", "value": geometry}]
    return {
        "id": f"urn:ngsi-ld:{types[0]}:{number}",
        "type": list(types),
        "createdAt": 1,
        "modifiedAt": 1,
        "attrs": attrs,
    }


def put(store: SqliteEntities, *entities: dict[str, Any], position: int = 1) -> None:
    store.apply({one["id"]: one for one in entities}, position)


def ids(store: SqliteEntities, **query: Any) -> list[str]:
    return [one["id"].rpartition(":")[2] for one in store.query(EntityQuery(**query)).entities]


def test_a_new_store_is_empty_at_position_zero(store: SqliteEntities) -> None:
    assert store.position() == 0
    assert store.load(["urn:x:1"]) == {}
    assert store.query(EntityQuery(count=True)).total == 0
    assert list(store.shapes()) == []


def test_what_was_put_is_loaded_with_its_position(store: SqliteEntities) -> None:
    made = entity(1, name="수압계", deep={"a": [1, 2.5, None, True]})
    store.apply({made["id"]: made}, 7)
    assert store.position() == 7
    found = store.load([made["id"], "urn:ngsi-ld:Sensor:2"])
    assert {id: orjson.loads(body) for id, body in found.items()} == {made["id"]: made}


def test_changing_a_document_after_it_was_put_changes_nothing_stored(store: SqliteEntities) -> None:
    made = entity(1, x=1)
    put(store, made)
    made["attrs"]["x"][0]["value"] = 2
    assert orjson.loads(store.load([made["id"]])[made["id"]])["attrs"]["x"][0]["value"] == 1


def test_what_another_thread_loads_is_never_older_than_what_the_writer_stored(store: SqliteEntities) -> None:
    with ThreadPoolExecutor(1) as other:
        for turn in range(50):
            put(store, entity(1, x=turn), position=turn)
            body = other.submit(store.load, ["urn:ngsi-ld:Sensor:1"]).result()["urn:ngsi-ld:Sensor:1"]
            assert orjson.loads(body)["attrs"]["x"][0]["value"] == turn
            assert orjson.loads(store.load(["urn:ngsi-ld:Sensor:1"])["urn:ngsi-ld:Sensor:1"]) == orjson.loads(body)


def test_everything_survives_closing_and_opening_again(case: SqliteCase) -> None:
    first = case.writer()
    put(first, entity(1, ("A", "B"), (126.7, 37.6), x=1), entity(2), position=5)
    first.close()
    again = case.writer()
    assert again.position() == 5
    put(again, entity(1, ("A",), (127.7, 37.6), y=1), position=6)
    assert ids(again, types=("B",)) == []
    assert ids(again, types=("A",), box=Box(127, 37, 128, 38)) == ["1"]
    again.close()


def test_entities_come_in_order_of_creation_and_pages_fit_together(store: SqliteEntities) -> None:
    numbers = list(range(50))
    random.Random(3).shuffle(numbers)
    for number in numbers:
        put(store, entity(number, ("A",) if number % 2 else ("B", "A")))
    assert ids(store, types=("A",), limit=100) == [str(n) for n in numbers]
    put(store, entity(numbers[0], ("A",) if numbers[0] % 2 else ("B", "A"), x=2))
    pages = [ids(store, types=("A", "B"), limit=7, offset=start) for start in range(0, 50, 7)]
    assert [one for page in pages for one in page] == [str(n) for n in numbers]


def test_a_page_of_documents_holds_what_the_page_of_entities_does(store: SqliteEntities) -> None:
    put(store, *(entity(number, temperature=number, x=0, y=0) for number in range(5)), entity(9, ("Other",)))
    store.apply({}, 2, values=[values(5, [1, 3], 1.5), values(6, [3], 2.5, "y")])
    pages = [
        EntityQuery(types=("Sensor",), limit=limit, offset=offset) for limit in (1, 3, 500) for offset in (0, 2, 5)
    ]
    queries = (EntityQuery(limit=3, offset=1), EntityQuery(types=("Sensor",), count=True), EntityQuery(types=("No",)))
    for query in (*queries, *pages):
        plain, raw = store.query(query), store.query(dataclasses.replace(query, raw=True))
        shown = raw.entities if raw.documents is None else [orjson.loads(one) for one in raw.documents]
        assert (shown, raw.total) == (plain.entities, plain.total)


@pytest.mark.parametrize("types", [(), ("A",), ("B",), ("A", "B"), ("C",)])
def test_an_entity_of_several_types_is_found_by_each_and_counted_once(
    store: SqliteEntities, types: tuple[str, ...]
) -> None:
    put(store, entity(1, ("A", "B")), entity(2, ("A",)), entity(3, ("B",)))
    expected = {(): 3, ("A",): 2, ("B",): 2, ("A", "B"): 3, ("C",): 0}[types]
    page = store.query(EntityQuery(types=types, count=True, limit=1))
    assert page.total == expected
    assert len(page.entities) == min(1, expected)


def test_a_changed_type_and_a_moved_place_change_what_finds_the_entity(store: SqliteEntities) -> None:
    here, there = Box(126, 37, 127, 38), Box(129, 35, 130, 36)
    put(store, entity(1, ("A",), (126.5, 37.5)))
    assert (ids(store, box=here), ids(store, box=there), ids(store, types=("A",))) == (["1"], [], ["1"])
    moved = {**entity(1, ("A",), (129.5, 35.5)), "type": ["B"]}
    put(store, moved)
    assert (ids(store, box=here), ids(store, box=there)) == ([], ["1"])
    assert (ids(store, types=("A",)), ids(store, types=("B",), box=there)) == ([], ["1"])
    put(store, {**entity(1, ("A",)), "type": ["B"]})
    assert ids(store, box=there) == []


def test_a_deleted_entity_is_gone_from_every_index(store: SqliteEntities) -> None:
    put(store, entity(1, ("A",), (126.5, 37.5)), entity(2, ("A",)))
    store.apply({"urn:ngsi-ld:A:1": None, "urn:ngsi-ld:A:404": None}, 2)
    assert store.load(["urn:ngsi-ld:A:1"]) == {}
    assert ids(store) == ids(store, types=("A",)) == ["2"]
    assert ids(store, box=Box(-180, -90, 180, 90)) == []
    assert [(one.types, one.count) for one in store.shapes()] == [(("A",), 1)]


def test_ids_narrow_together_with_type_pattern_box_and_test(store: SqliteEntities) -> None:
    put(store, *(entity(n, ("A",) if n % 2 else ("B",), (126.0 + n / 10, 37.5), x=n) for n in range(1, 9)))
    wanted = tuple(f"urn:ngsi-ld:{'A' if n % 2 else 'B'}:{n}" for n in (1, 2, 3, 5))
    assert ids(store, ids=wanted) == ["1", "2", "3", "5"]
    assert ids(store, ids=wanted, types=("A",)) == ["1", "3", "5"]
    assert ids(store, ids=wanted, types=("A",), id_pattern="[35]$") == ["3", "5"]
    assert ids(store, ids=wanted, box=Box(126.25, 37, 126.45, 38)) == ["3"]
    assert ids(store, ids=wanted, matches=lambda one: one["attrs"]["x"][0]["value"] > 2) == ["3", "5"]


def test_a_pattern_matches_anywhere_in_the_id_and_a_bad_one_is_refused(store: SqliteEntities) -> None:
    put(store, *(entity(n) for n in range(1200)))
    assert ids(store, id_pattern=":11[0-9]{2}$", limit=2000) == [str(n) for n in range(1100, 1200)]
    for bad in ("(", "(?<=x)y", r"(a)\1"):
        with pytest.raises(InvalidData, match="regular expression"):
            store.query(EntityQuery(types=("None", "Sensor"), id_pattern=bad))


def test_limit_zero_with_count_only_counts(store: SqliteEntities) -> None:
    put(store, *(entity(n, x=n) for n in range(30)))
    page = store.query(EntityQuery(limit=0, count=True, matches=lambda one: one["attrs"]["x"][0]["value"] < 12))
    assert (page.entities, page.total) == ([], 12)


def test_shapes_tell_types_attributes_kinds_and_how_many(store: SqliteEntities) -> None:
    put(store, entity(1, ("A",), (1.0, 2.0), x=1), entity(2, ("A",), (1.0, 2.0), x=2), entity(3, ("A", "B"), y=1))
    found = {(one.types, tuple(sorted(one.attributes.items()))): one.count for one in store.shapes()}
    assert found == {
        (("A",), (("location", "GeoProperty"), ("x", "Property"))): 2,
        (("A", "B"), (("y", "Property"),)): 1,
    }


_LON, _LAT = st.floats(-180, 180), st.floats(-90, 90)
_SIZE = st.sampled_from([0.0, 0.0, 0.0001, 0.004, 0.005, 0.03, 0.3, 3.0, 25.0, 200.0])


def _geometry(lon: float, lat: float, wide: float, high: float) -> dict[str, Any]:
    if wide == high == 0:
        return {"type": "Point", "coordinates": [lon, lat]}
    return {"type": "LineString", "coordinates": [[lon, lat], [min(180.0, lon + wide), min(90.0, lat + high)]]}


_GEOMETRIES = st.lists(st.builds(_geometry, _LON, _LAT, _SIZE, _SIZE), min_size=1, max_size=25)
_BOXES = st.builds(
    lambda west, south, wide, high: Box(west, south, min(180.0, west + wide), min(90.0, south + high)),
    _LON,
    _LAT,
    _SIZE,
    _SIZE,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries=_GEOMETRIES, boxes=st.lists(_BOXES, min_size=1, max_size=8))
def test_a_box_finds_exactly_what_touches_it_however_large(
    store: SqliteEntities, geometries: list[dict[str, Any]], boxes: list[Box]
) -> None:
    store.apply({f"urn:ngsi-ld:Sensor:{n}": None for n in range(25)}, 1)
    put(store, *(entity(n, geometry=one) for n, one in enumerate(geometries)))
    corners = [Box(*one["coordinates"], *one["coordinates"]) for one in geometries if one["type"] == "Point"]
    for box in [*boxes, *corners]:
        expected = []
        for n, one in enumerate(geometries):
            line = [one["coordinates"]] if one["type"] == "Point" else one["coordinates"]
            (west, south), (east, north) = map(min, zip(*line, strict=True)), map(max, zip(*line, strict=True))
            if west <= box.east and east >= box.west and south <= box.north and north >= box.south:
                expected.append(str(n))
        assert sorted(ids(store, box=box, limit=100)) == sorted(expected)


def test_a_reader_sees_what_the_writer_committed_and_nothing_else(case: SqliteCase, store: SqliteEntities) -> None:
    reader = case.reader()
    put(store, entity(1), position=1)
    assert (reader.position(), ids(reader)) == (1, ["1"])
    put(store, entity(2), position=2)
    assert (reader.position(), ids(reader)) == (2, ["1", "2"])
    reader.close()


def test_a_reader_before_the_first_writer_says_what_to_start(case: SqliteCase) -> None:
    early = case.reader()
    with pytest.raises(Unavailable, match="start the pipeline"):
        early.position()
    writer = case.writer()
    assert early.position() == 0
    early.close()
    writer.close()


def test_readers_in_threads_see_whole_batches_while_the_writer_goes_on(case: SqliteCase, store: SqliteEntities) -> None:
    put(store, *(entity(n, x=0) for n in range(200)))
    reader, torn, stop = case.reader(), [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            values = {
                one["attrs"]["x"][0]["value"]
                for one in reader.query(EntityQuery(types=("Sensor",), limit=500)).entities
            }
            if len(values) != 1:
                torn.append(values)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(1, 60):
        put(store, *(entity(n, x=turn) for n in range(200)), position=turn)
    stop.set()
    for thread in threads:
        thread.join()
    reader.close()
    assert torn == []


def values(observed_at: int, numbers: Sequence[int], content: Any, attribute: str = "x") -> Values:
    """That content of that attribute of `Sensor` entities."""
    ids = [f"urn:ngsi-ld:Sensor:{number}" for number in numbers]
    count = len(ids)
    instants, none = np.full(count, observed_at), np.zeros(count, dtype=np.int64)
    contents, units = np.full(count, content, dtype=object), np.full(count, "CEL", dtype=object)
    return Values(ids, [attribute], np.arange(count), none, instants, contents, units, none, at=observed_at)


def value_of(store: SqliteEntities, number: int, attribute: str = "x") -> Any:
    id = f"urn:ngsi-ld:Sensor:{number}"
    return orjson.loads(store.load([id])[id])["attrs"][attribute][0]["value"]


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


def test_the_version_changes_with_every_commit_and_with_nothing_else(case: SqliteCase, store: SqliteEntities) -> None:
    reader = case.reader()
    put(store, entity(1, x=0))
    seen = [(store.version(), reader.version())]
    for change in (
        lambda: put(store, entity(1, x=1)),
        lambda: put(store, entity(2, x=1)),
        lambda: store.apply({}, 3, values=[values(5, [1], 1.5)]),
        lambda: store.apply({"urn:ngsi-ld:Sensor:2": None}, 4),
    ):
        change()
        now = (store.version(), reader.version())
        assert now[0] != seen[-1][0] and now[1] != seen[-1][1]
        store.query(EntityQuery(types=("Sensor",)))
        reader.load(["urn:ngsi-ld:Sensor:1"])
        assert (store.version(), reader.version()) == now
        seen.append(now)
    reader.close()


@pytest.mark.parametrize("statement", [live._ONE, live._OF_TYPE, live._PAGE, live._BY_ID[20], live._ROWS[20]])
def test_what_is_read_most_is_found_by_indexes(case: SqliteCase, store: SqliteEntities, statement: str) -> None:
    reader = case.reader()
    steps = reader._reader().execute(f"EXPLAIN QUERY PLAN {statement}", ["1"] * statement.count("?")).fetchall()
    tables = [step[3] for step in steps if step[3].startswith("SCAN") and step[3] != "SCAN 20 CONSTANT ROWS"]
    inner = {"SCAN entity"} if any("entity" in step[3] and step[3][0] in "CM" for step in steps) else set()
    assert set(tables) <= inner, "only a list that another step made is walked from end to end"
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


def test_a_batch_that_fails_leaves_no_trace(store: SqliteEntities) -> None:
    put(store, entity(1, ("A",), (126.5, 37.5), x=1), position=1)
    good, bad = entity(1, ("New",), (10.0, 10.0), z=1), entity(2, ("B",), x=object())
    with pytest.raises(TypeError):
        store.apply({"urn:ngsi-ld:A:1": good, "urn:ngsi-ld:B:2": bad}, 2)
    assert store.position() == 1
    assert ids(store, types=("New",)) == []
    put(store, entity(1, ("A",), (127.5, 37.5), x=2), entity(2, ("New",)), position=2)
    assert ids(store, box=Box(127, 37, 128, 38)) == ["1"]
    assert ids(store, types=("New",)) == ["2"]


_OPERATIONS = st.lists(
    st.dictionaries(
        st.integers(0, 6),
        st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from([("A",), ("B",), ("A", "B")]),
                st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 3))),
                st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)),
            ),
        ),
        max_size=5,
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_OPERATIONS)
def test_any_history_of_puts_and_deletes_answers_like_a_dictionary(store: SqliteEntities, batches: list[Any]) -> None:
    store.apply({f"urn:ngsi-ld:E:{n}": None for n in range(7)}, 0)
    model: dict[str, Any] = {}
    for position, batch in enumerate(batches, 1):
        puts: dict[str, Any] = {}
        for n, made in batch.items():
            id = f"urn:ngsi-ld:E:{n}"
            one = (
                None
                if made is None
                else {**entity(n, ("E",), made[1] and tuple(map(float, made[1])), **made[2]), "type": list(made[0])}
            )
            model.pop(id, None) if one is None else model.__setitem__(id, one)
            puts[id] = one
        store.load(list(puts))
        store.apply(puts, position)
    box = Box(1.0, 1.0, 2.0, 2.0)
    for types in ((), ("A",), ("B",)):
        chosen = {id: one for id, one in model.items() if not types or set(types) & set(one["type"])}
        page = store.query(EntityQuery(types=types, limit=100, count=True))
        assert {one["id"]: one for one in page.entities} == chosen
        assert page.total == len(chosen)
        inside = {id for id, one in chosen.items() if _inside(one)}
        assert {one["id"] for one in store.query(EntityQuery(types=types, box=box)).entities} == inside
    assert sum(one.count for one in store.shapes()) == len(model)


def _inside(one: dict[str, Any]) -> bool:
    if "location" not in one["attrs"]:
        return False
    return all(1 <= c <= 2 for c in one["attrs"]["location"][0]["value"]["coordinates"])


def test_changes_are_numbered_in_order_kept_over_a_restart_and_forgotten_when_seen(case: SqliteCase) -> None:
    store = case.writer()
    store.apply({}, 1, [b"a", b"b"])
    store.apply({}, 2, [b"c"])
    reader = case.reader()
    assert reader.changes(0, 2) == [(1, b"a"), (2, b"b")]
    assert reader.changes(2, 10) == [(3, b"c")]
    store.forget_changes(2, keep=100)
    assert reader.changes(0, 10) == [(3, b"c")]
    store.forget_changes(3, keep=100)
    assert (reader.changes(0, 10), reader.last_change()) == ([], 3)
    store.close()
    store = case.writer()
    store.apply({}, 3, [b"d", b"e", b"f"])
    assert reader.changes(3, 10) == [(4, b"d"), (5, b"e"), (6, b"f")], "a number is never given twice"
    store.forget_changes(0, keep=1)
    assert reader.changes(0, 10) == [(6, b"f")], "more than may be kept is not"
    reader.close()
    store.close()


_VICTIM = """
import sys
from pathlib import Path
import numpy as np
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.core.values import Values
store = SqliteEntities(Path(sys.argv[1]))
turn = store.position()
while True:
    turn += 1
    point = {"type": "Point", "coordinates": [turn % 180, 0]}
    attrs = {"x": [{"type": "Property", "value": turn}], "location": [{"type": "GeoProperty", "value": point}]}
    body = lambda n: {"id": f"urn:ngsi-ld:S:{n}", "type": ["S"], "attrs": attrs}
    ids, rows = [f"urn:ngsi-ld:Sensor:{n}" for n in range(300)], np.arange(300)
    made = {id: {"id": id, "type": ["Sensor"], "attrs": {"y": [{"type": "Property", "value": 0}]}} for id in ids}
    one, none = np.full(300, turn), np.full(300, None)
    seen = Values(ids, ["y"], rows, rows * 0, one, one.astype(object), none, rows * 0, turn)
    puts = {f"urn:ngsi-ld:S:{n}": body(n) for n in range(300)}
    store.apply(puts if turn > 1 else puts | made, turn, values=[seen])
    print(turn, flush=True)
"""


def test_kill_9_at_any_instant_leaves_documents_indexes_and_position_of_one_batch(tmp_path: Path) -> None:
    path, seed, acknowledged = tmp_path / "entities.db", random.Random(11), 0
    for _ in range(6):
        command = [sys.executable, "-c", _VICTIM, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as victim:
            assert victim.stdout is not None
            acknowledged = int(victim.stdout.readline())
            time.sleep(seed.uniform(0.01, 0.15))
            victim.send_signal(signal.SIGKILL)
            told = victim.stdout.read().split()
        acknowledged = max([acknowledged, *map(int, told)])
        store = SqliteEntities(path)
        position = store.position()
        assert position >= acknowledged
        found = store.query(EntityQuery(types=("S",), limit=1000)).entities
        assert {one["attrs"]["x"][0]["value"] for one in found} == {position}
        assert len(found) == 300
        beside = store.query(EntityQuery(types=("Sensor",), limit=1000)).entities
        assert [one["attrs"]["y"][0]["value"] for one in beside] == [position] * 300
        assert len(store.query(EntityQuery(box=Box(position % 180, 0, position % 180, 0), limit=1000)).entities) == 300
        store.close()
