"""What every `EntityStore` (`EntityCensus`) keeps and finds; a new backend joins `STORES` and passes the suite."""

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_kit import SqliteCase, entity, ids, put, values

from haechi.core.errors import InvalidData
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Box, EntityQuery


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
