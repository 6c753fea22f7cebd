"""Consumption: retrieval, queries, representations, discovery (clauses 4.5, 4.9, 4.10, 4.21, 5.7)."""

from typing import Any

import pytest
from conftest_ngsi import Api, problem

SQUARE = "[[[126.6,37.5],[126.8,37.5],[126.8,37.7],[126.6,37.7],[126.6,37.5]]]"
EVERY_KIND: dict[str, Any] = {
    "number": {"type": "Property", "value": 5, "unitCode": "CEL", "observedAt": "2026-11-22T08:00:00.250Z"},
    "plain": {"type": "Property", "value": "text"},
    "object": {"type": "Property", "value": {"a": [1, 2]}},
    "place": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1.0, 2.0]}},
    "owner": {"type": "Relationship", "object": "urn:x:1", "objectType": "Person"},
    "owners": {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]},
    "label": {"type": "LanguageProperty", "languageMap": {"ko": "집", "en": ["a", "b"]}},
    "colour": {"type": "VocabProperty", "vocab": "red"},
    "raw": {"type": "JsonProperty", "json": {"type": "anything", "value": None}},
    "list": {"type": "ListProperty", "valueList": [1, "a", [2]]},
    "ways": {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}, {"object": "urn:x:2"}]},
    "nested": {
        "type": "Property",
        "value": 1,
        "accuracy": {"type": "Property", "value": 2, "by": {"type": "Property", "value": 3}},
    },
    "several": [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:d:2"},
    ],
}
DISTRICTS = {"a": (126.70, 37.60), "b": (126.71, 37.60), "c": (127.50, 37.60)}


def _renamed() -> dict[str, Any]:
    return {("thing" if name == "object" else name): one for name, one in EVERY_KIND.items()}


async def test_4_5_normalized_comes_back_as_it_was_sent(api: Api) -> None:
    urn = await api.make("1", **_renamed())
    assert await api.get(urn) == {"id": urn, "type": "Building", **_renamed()}


async def test_4_5_concise_comes_back_as_what_it_means(api: Api) -> None:
    urn = await api.make("1", **_renamed())
    concise = await api.get(urn, options="concise")
    assert concise["plain"] == "text"
    assert concise["thing"] == {"value": {"a": [1, 2]}}
    assert concise["place"] == {"type": "Point", "coordinates": [1.0, 2.0]}
    assert concise["label"] == {"languageMap": {"ko": "집", "en": ["a", "b"]}}
    again = await api.make("2", **{name: one for name, one in concise.items() if name not in {"id", "type"}})
    first, second = await api.get(urn), await api.get(again)
    assert {**first, "id": ""} == {**second, "id": ""}


async def test_4_5_4_simplified_has_bare_values_and_a_map_of_datasets(api: Api) -> None:
    urn = await api.make("1", **_renamed())
    for form in (
        {"options": "keyValues"},
        {"options": "simplified"},
        {"format": "simplified", "options": "normalized"},
    ):
        simplified = await api.get(urn, **form)
        assert simplified == {
            "id": urn,
            "type": "Building",
            "number": 5,
            "plain": "text",
            "thing": {"a": [1, 2]},
            "place": {"type": "Point", "coordinates": [1.0, 2.0]},
            "owner": "urn:x:1",
            "owners": ["urn:x:1", "urn:x:2"],
            "label": {"languageMap": {"ko": "집", "en": ["a", "b"]}},
            "colour": {"vocab": "red"},
            "raw": {"json": {"type": "anything", "value": None}},
            "list": [1, "a", [2]],
            "ways": ["urn:x:1", "urn:x:2"],
            "nested": 1,
            "several": {"dataset": {"@none": 1, "urn:d:2": 2}},
        }


async def test_4_8_system_attributes_show_when_things_were_made_and_changed(api: Api) -> None:
    urn = await api.make("1", a=1)
    await api.http.patch(f"entities/{urn}", json={"a": 2})
    plain, full = await api.get(urn), await api.get(urn, options="sysAttrs")
    assert "createdAt" not in plain
    assert "modifiedAt" not in plain["a"]
    assert "2026-11-22T09:00:00Z" < full["createdAt"] == full["a"]["createdAt"]
    assert full["createdAt"] < full["modifiedAt"] == full["a"]["modifiedAt"] <= "2026-11-22T09:01:00Z"


async def test_4_21_pick_and_omit_choose_members(api: Api) -> None:
    urn = await api.make("1", a=1, b=2, scope="/gimpo")
    assert await api.get(urn, pick="id,a", options="keyValues") == {"id": urn, "a": 1}
    assert await api.get(urn, pick="a|b", options="keyValues") == {"a": 1, "b": 2}
    assert await api.get(urn, omit="type,scope,a", options="keyValues") == {"id": urn, "b": 2}
    assert await api.get(urn, attrs="a", options="keyValues") == {
        "id": urn,
        "type": "Building",
        "scope": "/gimpo",
        "a": 1,
    }
    for wrong in (
        {"pick": "a", "omit": "a"},
        {"pick": "a", "attrs": "a"},
        {"omit": "a", "attrs": "b"},
        {"pick": "a,,b"},
    ):
        problem(await api.http.get(f"entities/{urn}", params=wrong), 400, "BadRequestData")
    problem(await api.http.get(f"entities/{urn}", params={"pick": "a{b"}), 400, "BadRequestData")
    problem(await api.http.get(f"entities/{urn}", params={"pick": "a{b}"}), 400, "BadRequestData")
    problem(await api.http.get(f"entities/{urn}", params={"pick": "zzz"}), 404, "ResourceNotFound")
    problem(await api.http.get(f"entities/{urn}", params={"attrs": "zzz"}), 404, "ResourceNotFound")


async def test_5_7_1_retrieve_tells_apart_a_bad_name_and_a_missing_entity(api: Api) -> None:
    problem(await api.http.get("entities/nouri"), 400, "BadRequestData")
    problem(await api.http.get("entities/urn:x:1"), 404, "ResourceNotFound")
    urn = await api.make("1")
    problem(await api.http.get(f"entities/{urn}", params={"type": "Vehicle"}), 404, "ResourceNotFound")
    problem(await api.http.get(f"entities/{urn}", params={"options": "fancy"}), 400, "InvalidRequest")
    problem(await api.http.get(f"entities/{urn}", params={"format": "xml"}), 400, "InvalidRequest")


@pytest.fixture
async def district(api: Api) -> Api:
    for name, (lon, lat) in DISTRICTS.items():
        await api.make(
            name, "Sensor", level=ord(name) - 96, kind=name, location={"type": "Point", "coordinates": [lon, lat]}
        )
    await api.make(
        "t",
        "Tank",
        level=2,
        area={"type": "Point", "coordinates": [126.7, 37.6]},
        at={"object": "urn:ngsi-ld:Sensor:a"},
    )
    return api


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"type": "Sensor"}, "abc"),
        ({"type": "Sensor,Tank"}, "abct"),
        ({"type": "Sensor|Tank"}, "abct"),
        ({"type": "(Sensor;Tank)"}, ""),
        ({"type": "*"}, "abct"),
        ({"local": "true"}, "abct"),
        ({"type": "Sensor", "id": "urn:ngsi-ld:Sensor:c,urn:ngsi-ld:Sensor:a,urn:ngsi-ld:Tank:t"}, "ac"),
        ({"type": "Sensor,Tank", "idPattern": "[ct]$"}, "ct"),
        ({"attrs": "kind"}, "abc"),
        ({"attrs": "area,kind"}, "abct"),
        ({"q": "level>=2"}, "bct"),
        ({"type": "Sensor", "q": 'level==2|kind=="a"'}, "ab"),
        ({"q": "at==urn:ngsi-ld:Sensor:a"}, "t"),
        ({"q": 'kind!="a"'}, "bc"),
        (
            {"type": "Sensor", "georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[126.7,37.6]"},
            "ab",
        ),
        (
            {"type": "Sensor", "georel": "near;maxDistance==800", "geometry": "Point", "coordinates": "[126.7,37.6]"},
            "a",
        ),
        (
            {"type": "Sensor", "georel": "near;minDistance==800", "geometry": "Point", "coordinates": "[126.7,37.6]"},
            "bc",
        ),
        ({"georel": "within", "geometry": "Polygon", "coordinates": SQUARE}, "ab"),
        ({"georel": "disjoint", "geometry": "Polygon", "coordinates": SQUARE}, "c"),
        ({"georel": "equals", "geometry": "Point", "coordinates": "[127.5,37.6]"}, "c"),
        ({"georel": "intersects", "geometry": "LineString", "coordinates": "[[126,37.6],[127,37.6]]"}, "ab"),
        ({"georel": "within", "geometry": "Polygon", "coordinates": SQUARE, "geoproperty": "area"}, "t"),
        ({"georel": "within", "geometry": "Polygon", "coordinates": SQUARE, "q": "level>1"}, "b"),
        ({"type": "Nothing"}, ""),
    ],
)
async def test_5_7_2_query_finds(district: Api, parameters: dict[str, str], expected: str) -> None:
    assert "".join(await district.ids(**parameters)) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"id": "urn:ngsi-ld:Sensor:a"},
        {"attrs": "createdAt"},
        {"type": "*", "local": "false"},
        {"type": "Sensor", "id": "nouri"},
        {"type": "Sensor", "idPattern": "("},
        {"type": "Sensor;"},
        {"type": "Sensor", "q": "level=>2"},
        {"type": "Sensor", "q": "(level>2"},
        {"type": "Sensor", "q": 'kind=="open'},
        {"type": "Sensor", "q": "kind==?open"},
        {"type": "Sensor", "q": "level>1..3"},
        {"type": "Sensor", "georel": "within"},
        {"type": "Sensor", "geoproperty": "area"},
        {"type": "Sensor", "georel": "touches", "geometry": "Point", "coordinates": "[1,2]"},
        {"type": "Sensor", "georel": "near", "geometry": "Point", "coordinates": "[1,2]"},
        {"type": "Sensor", "georel": "near;maxDistance==0", "geometry": "Point", "coordinates": "[1,2]"},
        {"type": "Sensor", "georel": "near;maxDistance==inf", "geometry": "Point", "coordinates": "[1,2]"},
        {"type": "Sensor", "georel": "near;maxDistance==1e99", "geometry": "Point", "coordinates": "[1,2]"},
        {"type": "Sensor", "georel": "within", "geometry": "Circle", "coordinates": "[1,2]"},
        {
            "type": "Sensor",
            "georel": "within",
            "geometry": "Polygon",
            "coordinates": "[[[0,0],[1,1],[1,0],[0,1],[0,0]]]",
        },
        {"type": "Sensor", "georel": "within", "geometry": "Polygon", "coordinates": "[[[0,0],[1,1]"},
        {"type": "Sensor", "limit": "-1"},
        {"type": "Sensor", "limit": "1001"},
        {"type": "Sensor", "limit": "0"},
        {"type": "Sensor", "offset": "x"},
        {"type": "Sensor", "count": "yes"},
        {"type": "Sensor", "local": "perhaps"},
        {"type": "Sensor", "splitEntities": "x"},
        {"type": "!Sensor"},
        {"type": "Sensor\0"},
    ],
)
async def test_5_7_2_a_wrong_query_is_bad_request_data(district: Api, parameters: dict[str, str]) -> None:
    problem(await district.http.get("entities", params=parameters), 400, "BadRequestData")


async def test_5_5_2_a_parameter_that_stands_twice_is_refused_unless_it_is_a_list(district: Api) -> None:
    wrong = await district.http.get("entities", params=[("type", "Sensor"), ("q", "level>1"), ("q", "level<9")])
    assert "q stands twice" in problem(wrong, 400, "InvalidRequest")
    listed = await district.http.get(
        "entities", params=[("type", "Sensor"), ("type", "Tank"), ("options", "keyValues")]
    )
    assert {one["type"] for one in listed.json()} == {"Sensor", "Tank"}


async def test_5_7_2_an_empty_geo_query_in_a_body_is_refused(district: Api) -> None:
    asked = {"type": "Query", "entities": [{"type": "Sensor"}], "geoQ": {}}
    problem(await district.http.post("entityOperations/query", json=asked), 400, "BadRequestData")


async def test_6_3_10_pages_are_linked_both_ways_and_6_3_13_counted(api: Api) -> None:
    for number in range(5):
        await api.make(str(number), level=number)
    first = await api.http.get("entities", params={"type": "Building", "q": "level>=0", "limit": 2, "count": "true"})
    assert first.headers["NGSILD-Results-Count"] == "5"
    links = first.headers.get_list("link")
    assert [one.partition("; ")[2] for one in links if 'rel="next"' in one or 'rel="prev"' in one] == [
        'rel="next";type="application/json"'
    ]
    seen, following = [], str(first.url)
    while following:
        page = await api.http.get(following)
        seen += [one["id"][-1] for one in page.json()]
        nexts = [one for one in page.headers.get_list("link") if 'rel="next"' in one]
        following = "http://haechi" + nexts[0].partition(">")[0][1:] if nexts else ""
    assert seen == ["0", "1", "2", "3", "4"]
    last = page.headers.get_list("link")
    assert any('rel="prev"' in one and "offset=2" in one for one in last)
    counted = await api.http.get("entities", params={"type": "Building", "limit": 0, "count": "true"})
    assert (counted.json(), counted.headers["NGSILD-Results-Count"]) == ([], "5")
    assert not any('rel="next"' in one for one in counted.headers.get_list("link"))


async def test_4_10_near_is_measured_in_metres_everywhere(api: Api) -> None:
    line = {"type": "LineString", "coordinates": [[1, 85], [0, 85.6]]}
    await api.make("high", "Line", location=line)
    await api.make("east", "Post", location={"type": "Point", "coordinates": [179.999, 10]})
    near = {"type": "Line", "georel": "near;maxDistance==10000", "geometry": "Point", "coordinates": "[0,85]"}
    assert await api.ids(**near) == ["high"]
    assert await api.ids(**{**near, "georel": "near;maxDistance==5000"}) == []
    across = {"type": "Post", "georel": "near;maxDistance==500", "geometry": "Point", "coordinates": "[-179.999,10]"}
    assert await api.ids(**across) == ["east"]
    far_line = {"geometry": "LineString", "coordinates": "[[-179.999,9.9],[-179.999,10.1]]"}
    assert await api.ids(**{**across, **far_line}) == ["east"]


async def test_a_geometry_a_device_sent_crossing_itself_answers_no_query_and_harms_none(api: Api) -> None:
    from haechi.core.observation import Observation

    bow = '{"type":"Polygon","coordinates":[[[126.6,37.5],[126.8,37.7],[126.8,37.5],[126.6,37.7],[126.6,37.5]]]}'
    api.device(Observation("urn:ngsi-ld:Area:1", "location", 1, 1, text=bow))
    await api.make("2", "Area", location={"type": "Point", "coordinates": [126.7, 37.55]})
    for georel in ("within", "overlaps", "contains", "equals"):
        found = await api.ids(type="Area", georel=georel, geometry="Polygon", coordinates=SQUARE)
        assert set(found) <= {"1", "2"}


async def test_5_7_5_to_5_7_7_types_are_listed_described_and_counted(district: Api) -> None:
    listed = (await district.http.get("types")).json()
    assert (listed["type"], listed["typeList"]) == ("EntityTypeList", ["Sensor", "Tank"])
    detailed = (await district.http.get("types", params={"details": "true"})).json()
    assert [(one["typeName"], one["attributeNames"]) for one in detailed] == [
        ("Sensor", ["kind", "level", "location"]),
        ("Tank", ["area", "at", "level"]),
    ]
    one = (await district.http.get("types/Tank")).json()
    assert (one["type"], one["entityCount"]) == ("EntityTypeInfo", 1)
    assert {each["attributeName"]: each["attributeTypes"] for each in one["attributeDetails"]} == {
        "area": ["GeoProperty"],
        "at": ["Relationship"],
        "level": ["Property"],
    }
    problem(await district.http.get("types/Nothing"), 404, "ResourceNotFound")
    problem(await district.http.get("types/Tank", params={"details": "true"}), 400, "InvalidRequest")


async def test_5_7_8_to_5_7_10_attributes_are_listed_described_and_counted(district: Api) -> None:
    listed = (await district.http.get("attributes")).json()
    assert (listed["type"], listed["attributeList"]) == ("AttributeList", ["area", "at", "kind", "level", "location"])
    detailed = (await district.http.get("attributes", params={"details": "true"})).json()
    assert {one["attributeName"]: one["typeNames"] for one in detailed}["level"] == ["Sensor", "Tank"]
    level = (await district.http.get("attributes/level")).json()
    assert (level["attributeCount"], level["attributeTypes"], level["typeNames"]) == (
        4,
        ["Property"],
        ["Sensor", "Tank"],
    )
    for missing in ("zzz", "id", "createdAt"):
        problem(await district.http.get(f"attributes/{missing}"), 404, "ResourceNotFound")
    await district.http.delete("entities/urn:ngsi-ld:Tank:t")
    assert "area" not in (await district.http.get("attributes")).json()["attributeList"]
