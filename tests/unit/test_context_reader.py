"""Views of the live model for the console: facilities, latest values, the nearest of a type; names and patterns."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haechi.core import urn
from haechi.core.errors import InvalidData
from haechi.core.pattern import compile_pattern, matching
from haechi.core.times import parse_iso
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.services.context import reader

AT = parse_iso("2026-11-22T09:00:00Z")


def entity(number: int, type: str, lon: float | None, **attributes: Any) -> dict[str, Any]:
    attrs = dict(attributes)
    if lon is not None:
        attrs["location"] = [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, 37.6]}}]
    return {"id": f"urn:ngsi-ld:{type}:{number}", "type": [type], "attrs": attrs}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = SqliteEntities(tmp_path / "context.db")
    named = [{"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "a"}}]
    flow = [{"type": "Property", "value": 1.5, "unitCode": "MQH", "observedAt": AT, "quality": 2}]
    made = [
        entity(1, "Pump", 126.7, name=named, flow=flow, state=[{"type": "Property", "value": "on", "observedAt": AT}]),
        entity(2, "Pump", 126.8, name=[{"type": "Property", "value": "P2"}], floors=[{"type": "Property", "value": 3}]),
        entity(3, "Pump", None, flow=flow),
        entity(4, "Camera", 126.9),
        entity(5, "Camera", 127.5),
        entity(6, "Camera", -70.0),
    ]
    opened.apply({one["id"]: one for one in made}, 1)
    yield opened
    opened.close()


def test_facilities_are_columns_of_what_has_a_place_named_in_each_language(store: SqliteEntities) -> None:
    assert reader.facilities(store, {"Pump": "water", "Camera": "safety"}, ("ko", "zh")) == {
        "id": [f"urn:ngsi-ld:{one}" for one in ("Pump:1", "Pump:2", "Camera:4", "Camera:5", "Camera:6")],
        "type": ["Pump", "Pump", "Camera", "Camera", "Camera"],
        "domain": ["water", "water", "safety", "safety", "safety"],
        "lon": [126.7, 126.8, 126.9, 127.5, -70.0],
        "lat": [37.6] * 5,
        "name": {
            "ko": ["가", "P2", "urn:ngsi-ld:Camera:4", "urn:ngsi-ld:Camera:5", "urn:ngsi-ld:Camera:6"],
            "zh": ["a", "P2", "urn:ngsi-ld:Camera:4", "urn:ngsi-ld:Camera:5", "urn:ngsi-ld:Camera:6"],
        },
    }
    assert reader.facilities(store, {})["id"] == []


def test_latest_are_columns_of_observed_numbers_only(store: SqliteEntities) -> None:
    assert reader.latest(store, ["Pump", "Camera"]) == {
        "entity": ["urn:ngsi-ld:Pump:1", "urn:ngsi-ld:Pump:3"],
        "attribute": ["flow", "flow"],
        "value": [1.5, 1.5],
        "unit": ["MQH", "MQH"],
        "observed_at": ["2026-11-22T09:00:00Z"] * 2,
        "quality": [2, 2],
    }


def test_the_nearest_come_first_from_however_far(store: SqliteEntities) -> None:
    found = reader.nearest(store, "Camera", 126.7, 37.6, 3)
    assert [one["id"][-1] for one, _ in found] == ["4", "5", "6"]
    assert found[0][1] == pytest.approx(17_620, rel=0.01)
    assert found[2][1] > 10_000_000
    assert reader.nearest(store, "Nothing", 126.7, 37.6, 3) == []
    assert len(reader.nearest(store, "Camera", 126.7, 37.6, 1)) == 1


def test_get_gives_the_document_or_nothing(store: SqliteEntities) -> None:
    found = reader.get(store, "urn:ngsi-ld:Camera:4")
    assert found is not None
    assert found["type"] == ["Camera"]
    assert reader.get(store, "urn:ngsi-ld:Camera:404") is None


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("urn:ngsi-ld:Pump:gimpo:1", "Pump"),
        ("urn:ngsi-ld:Pump:", None),
        ("urn:ngsi-ld:1Pump:1", None),
        ("urn:other:Pump:1", None),
        ("urn:ngsi-ld:Pump:a b", None),
        ("", None),
    ],
)
def test_the_type_is_read_from_the_name(name: str, type: str | None) -> None:
    assert urn.type_of(name) == type


@pytest.mark.parametrize("name", ["urn:x:1", "https://a.example/b?c#d", "urn:ngsi-ld:건물:1", "a:b"])
def test_names_that_are_uris(name: str) -> None:
    assert urn.is_uri(name)


@pytest.mark.parametrize(
    "name",
    ["", "x", ":x", "urn:", "a b:c", "urn:a<b", "urn:a\u200bb", "urn:a\u202eb", "urn:a\ufeff", "urn:a\u3164", 5, None],
)
def test_names_that_are_none(name: Any) -> None:
    assert not urn.is_uri(name)


@example("$?", ["a"])
@given(st.text("ab.*+?()[]^$|\\d{}1,", max_size=8), st.lists(st.text("ab1.\n", max_size=6), max_size=4))
def test_one_by_one_and_all_at_once_a_pattern_matches_the_same(pattern: str, texts: list[str]) -> None:
    try:
        test = compile_pattern(pattern)
    except InvalidData:
        with pytest.raises(InvalidData):
            matching(pattern, texts)
        return
    assert [test(one) for one in texts] == matching(pattern, texts)
