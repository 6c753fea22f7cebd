"""Context information provision, clauses 5.6.1 to 5.6.6, 5.6.17 to 5.6.19: one entity at a time."""

import asyncio
from typing import Any

import pytest
from conftest_ngsi import Api, problem

from haechi.core.observation import Observation

POINT = {"type": "Point", "coordinates": [126.7, 37.6]}
URN = "urn:ngsi-ld:Building:1"


async def test_5_6_1_create_answers_201_with_the_location_and_the_entity_is_there_at_once(api: Api) -> None:
    response = await api.http.post("entities", json={"id": URN, "type": "Building", "floors": 3, "location": POINT})
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["location"] == f"/ngsi-ld/v1/entities/{URN}"
    assert await api.get(URN) == {
        "id": URN,
        "type": "Building",
        "floors": {"type": "Property", "value": 3},
        "location": {"type": "GeoProperty", "value": POINT},
    }


async def test_5_6_1_create_of_what_exists_is_409_and_changes_nothing(api: Api) -> None:
    await api.make("1", floors=3)
    response = await api.http.post("entities", json={"id": URN, "type": "Building", "floors": 4})
    assert "exists already" in problem(response, 409, "AlreadyExists")
    assert (await api.get(URN, options="keyValues"))["floors"] == 3


async def test_5_6_1_of_many_creating_the_same_entity_at_once_exactly_one_succeeds(api: Api) -> None:
    responses = await asyncio.gather(
        *(api.http.post("entities", json={"id": URN, "type": "Building", "floors": n}) for n in range(12))
    )
    assert sorted(one.status_code for one in responses) == [201] + [409] * 11
    winner = next(n for n, one in enumerate(responses) if one.status_code == 201)
    assert (await api.get(URN, options="keyValues"))["floors"] == winner


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"type": "A"}, "id"),
        ({"id": "no uri", "type": "A"}, "id"),
        ({"id": URN}, "type"),
        ({"id": URN, "type": []}, "type"),
        ({"id": URN, "type": "1A"}, "name"),
        ({"id": URN, "type": "A", "a b": 1}, "name"),
        ({"id": URN, "type": "A", "x": None}, "value"),
        ({"id": URN, "type": "A", "x": {"type": "Property"}}, "value"),
        ({"id": URN, "type": "A", "x": {"type": "Property", "value": None}}, "null"),
        ({"id": URN, "type": "A", "x": {"type": "Property", "value": {"y": "urn:ngsi-ld:null"}}}, "inside"),
        ({"id": URN, "type": "A", "x": {"type": "Property", "object": URN}}, "object"),
        ({"id": URN, "type": "A", "x": {"type": "Propertyy", "value": 1}}, "unknown type"),
        ({"id": URN, "type": "A", "x": {"value": 1, "object": URN}}, "at once"),
        ({"id": URN, "type": "A", "x": {"type": "Relationship", "object": "no uri"}}, "URI"),
        ({"id": URN, "type": "A", "x": {"type": "Relationship", "object": URN, "unitCode": "CEL"}}, "unit"),
        ({"id": URN, "type": "A", "x": {"type": "LanguageProperty", "languageMap": {"en": 1}}}, "text"),
        ({"id": URN, "type": "A", "x": {"type": "LanguageProperty", "languageMap": {"k o": "a"}}}, "tag"),
        ({"id": URN, "type": "A", "x": {"type": "JsonProperty", "json": 3}}, "json"),
        ({"id": URN, "type": "A", "x": {"type": "ListProperty", "valueList": 3}}, "valueList"),
        ({"id": URN, "type": "A", "x": {"type": "ListRelationship", "objectList": ["x"]}}, "objectList"),
        ({"id": URN, "type": "A", "x": {"type": "VocabProperty", "vocab": 3}}, "vocab"),
        ({"id": URN, "type": "A", "x": {"value": 1, "observedAt": "yesterday"}}, "observedAt"),
        ({"id": URN, "type": "A", "x": {"value": 1, "observedAt": "2026-11-22T09:00:00+09:00"}}, "observedAt"),
        ({"id": URN, "type": "A", "x": [{"value": 1}, {"value": 2}]}, "datasetId"),
        ({"id": URN, "type": "A", "x": [{"value": 1}, {"value": 2, "datasetId": "@none"}]}, "datasetId"),
        ({"id": URN, "type": "A", "location": {"type": "Property", "value": 1}}, "GeoProperty"),
        ({"id": URN, "type": "A", "location": {"type": "GeoProperty", "value": "nowhere"}}, "geometry"),
        ({"id": URN, "type": "A", "location": {"type": "Point", "coordinates": [37.6, 126.7]}}, "longitude"),
        (
            {
                "id": URN,
                "type": "A",
                "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
            },
            "untangle",
        ),
        ({"id": URN, "type": "A", "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0]]]}}, "ring"),
        (
            {"id": URN, "type": "A", "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]}},
            "ends where it began",
        ),
        ({"id": URN, "type": "A", "scope": "no slash"}, "scope"),
        ({"id": URN, "type": "A", "observedAt": "2026-11-22T09:00:00Z"}, "observedAt"),
    ],
)
async def test_5_6_1_create_refuses_bad_content_naming_what_is_wrong(api: Api, document: Any, word: str) -> None:
    response = await api.http.post("entities", json=document)
    assert word in problem(response, 400, "BadRequestData")
    assert api.frames == []


async def test_5_6_1_values_become_observations_of_the_link_api(api: Api) -> None:
    await api.make(
        "1",
        floors=3,
        name="Hall",
        open=True,
        temp={"value": 21.5, "unitCode": "CEL", "observedAt": "2026-11-22T08:00:00Z"},
        second=[{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}],
        where={"type": "GeoProperty", "value": POINT, "observedAt": "2026-11-22T08:00:00Z"},
        location=POINT,
        owner={"object": "urn:ngsi-ld:Person:1"},
        title={"languageMap": {"en": "Hall"}},
        plan={"value": {"deep": 1}},
    )
    at = api.observed[0].received_at
    assert 1795338000000000 < at <= int(api.clock.at.timestamp() * 1e6)
    seen = {one.attribute: (one.content, one.observed_at, one.received_at, one.unit) for one in api.observed}
    eight = 1795334400000000
    assert seen == {
        "floors": (3.0, at, at, None),
        "name": ("Hall", at, at, None),
        "open": (True, at, at, None),
        "temp": (21.5, eight, at, "CEL"),
        "second": (1.0, at, at, None),
        "where": (POINT, eight, at, None),
    }
    assert {one.link for one in api.observed} == {"api"}
    tally = api.frames[-1].tallies["api"]
    assert (tally.received, tally.stored, tally.quarantined) == (6, 6, 0)
    assert "observedAt" not in (await api.get(URN))["floors"]


async def test_5_6_17_merge_changes_adds_and_removes_and_keeps_the_rest(api: Api) -> None:
    await api.make("1", a=1, b={"value": {"x": 1, "y": {"z": 2}}, "unitCode": "CEL"}, c=3)
    patch = {
        "a": {"value": 2},
        "b": {"value": {"y": {"z": "urn:ngsi-ld:null", "w": 5}}},
        "c": "urn:ngsi-ld:null",
        "d": "new",
        "type": "Hall",
    }
    response = await api.http.patch(f"entities/{URN}", json=patch)
    assert response.status_code == 204
    entity = await api.get(URN, options="keyValues")
    assert entity == {"id": URN, "type": ["Building", "Hall"], "a": 2, "b": {"x": 1, "y": {"w": 5}}, "d": "new"}
    assert (await api.get(URN))["b"]["unitCode"] == "CEL"
    assert {one.attribute: one.content for one in api.observed} == {"a": 2.0, "d": "new"}


async def test_5_6_17_merge_of_a_unit_alone_keeps_the_value_a_device_sent(api: Api) -> None:
    await api.make("1", temp={"value": 20, "unitCode": "CEL"})
    api.device(Observation(URN, "temp", 10**15, 10**15, value=25.0, unit="CEL"))
    assert (await api.http.patch(f"entities/{URN}", json={"temp": {"unitCode": "FAH"}})).status_code == 204
    temp = (await api.get(URN))["temp"]
    assert (temp["value"], temp["unitCode"]) == (25.0, "FAH")
    assert api.observed == []


async def test_5_6_17_merge_removes_one_instance_by_its_dataset(api: Api) -> None:
    await api.make("1", a=[{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}])
    patch = {"a": {"type": "Property", "value": "urn:ngsi-ld:null", "datasetId": "urn:d:2"}}
    assert (await api.http.patch(f"entities/{URN}", json=patch)).status_code == 204
    assert (await api.get(URN))["a"] == {"type": "Property", "value": 1}


async def test_5_6_17_merge_into_nothing_is_404_and_a_piece_of_nothing_400(api: Api) -> None:
    problem(await api.http.patch(f"entities/{URN}", json={"a": 1}), 404, "ResourceNotFound")
    await api.make("1")
    assert "whole" in problem(
        await api.http.patch(f"entities/{URN}", json={"a": {"unitCode": "CEL"}}), 400, "BadRequestData"
    )
    assert "agree" in problem(await api.http.patch(f"entities/{URN}", json={"id": "urn:x:2"}), 400, "BadRequestData")


async def test_5_6_18_replace_keeps_only_the_instant_of_creation(api: Api) -> None:
    await api.make("1", a=1, scope="/old")
    created = (await api.get(URN, options="sysAttrs"))["createdAt"]
    assert (await api.http.put(f"entities/{URN}", json={"type": "Hall", "b": 2, "scope": "/new"})).status_code == 204
    entity = await api.get(URN, options="sysAttrs,keyValues")
    assert {name: entity[name] for name in ("id", "type", "scope", "b", "createdAt")} == {
        "id": URN,
        "type": "Hall",
        "scope": "/new",
        "b": 2,
        "createdAt": created,
    }
    assert "a" not in entity
    assert entity["modifiedAt"] > created
    problem(await api.http.put("entities/urn:ngsi-ld:Building:2", json={"type": "A"}), 404, "ResourceNotFound")
    assert (await api.http.put(f"entities/{URN}", json={"c": 3})).status_code == 204
    assert await api.get(URN, options="keyValues") == {"id": URN, "type": "Hall", "c": 3}


async def test_5_6_3_append_adds_and_replaces_and_no_overwrite_keeps(api: Api) -> None:
    await api.make("1", a=1)
    assert (await api.http.post(f"entities/{URN}/attrs", json={"a": 2, "b": 3})).status_code == 204
    assert await api.get(URN, options="keyValues") == {"id": URN, "type": "Building", "a": 2, "b": 3}
    response = await api.http.post(f"entities/{URN}/attrs", params={"options": "noOverwrite"}, json={"a": 9, "c": 4})
    assert response.status_code == 207
    result = response.json()
    assert result["updated"] == ["https://uri.etsi.org/ngsi-ld/default-context/c"]
    assert [one["attributeName"] for one in result["notUpdated"]] == ["https://uri.etsi.org/ngsi-ld/default-context/a"]
    assert await api.get(URN, options="keyValues") == {"id": URN, "type": "Building", "a": 2, "b": 3, "c": 4}
    problem(await api.http.post("entities/urn:x:1/attrs", json={"a": 2}), 404, "ResourceNotFound")


async def test_5_6_3_append_of_another_dataset_adds_an_instance(api: Api) -> None:
    await api.make("1", a=1)
    body = {"a": {"type": "Property", "value": 2, "datasetId": "urn:d:2"}}
    assert (await api.http.post(f"entities/{URN}/attrs", json=body)).status_code == 204
    assert [one["value"] for one in (await api.get(URN))["a"]] == [1, 2]


async def test_5_6_2_update_changes_what_is_there_adds_the_rest_and_reports_what_cannot_be_removed(api: Api) -> None:
    """ETSI 011_01_03, 046_23: attributes that are not there are added."""
    await api.make("1", a=1)
    assert (await api.http.patch(f"entities/{URN}/attrs", json={"a": 2, "b": 3})).status_code == 204
    response = await api.http.patch(f"entities/{URN}/attrs", json={"a": 5, "c": "urn:ngsi-ld:null"})
    assert response.status_code == 207
    assert response.json()["updated"] == ["https://uri.etsi.org/ngsi-ld/default-context/a"]
    assert response.json()["notUpdated"][0]["attributeName"] == "https://uri.etsi.org/ngsi-ld/default-context/c"
    assert await api.get(URN, options="keyValues") == {"id": URN, "type": "Building", "a": 5, "b": 3}


async def test_5_6_4_partial_update_replaces_members_and_keeps_the_others(api: Api) -> None:
    await api.make("1", a={"value": {"x": 1}, "unitCode": "CEL", "accuracy": {"value": 0.1}})
    path = f"entities/{URN}/attrs/a"
    assert (await api.http.patch(path, json={"value": {"y": 2}})).status_code == 204
    attribute = (await api.get(URN))["a"]
    assert attribute == {
        "type": "Property",
        "value": {"y": 2},
        "unitCode": "CEL",
        "accuracy": {"type": "Property", "value": 0.1},
    }
    assert (await api.http.patch(path, json={"observedAt": "2026-11-22T08:00:00Z"})).status_code == 204
    assert (await api.get(URN))["a"]["observedAt"] == "2026-11-22T08:00:00Z"
    problem(await api.http.patch(f"entities/{URN}/attrs/b", json={"value": 1}), 404, "ResourceNotFound")
    problem(await api.http.patch(path, json={"value": 1, "datasetId": "urn:d:1"}), 404, "ResourceNotFound")
    problem(await api.http.patch(path, json={"type": "Relationship", "object": URN}), 400, "BadRequestData")
    problem(await api.http.patch(path, json={"value": {"y": "urn:ngsi-ld:null"}}), 400, "BadRequestData")


async def test_5_6_19_replace_attribute_replaces_the_whole_instance(api: Api) -> None:
    await api.make("1", a={"value": 1, "unitCode": "CEL"})
    path = f"entities/{URN}/attrs/a"
    assert (await api.http.put(path, json={"type": "Relationship", "object": "urn:x:1"})).status_code == 204
    assert (await api.get(URN))["a"] == {"type": "Relationship", "object": "urn:x:1"}
    problem(await api.http.put(f"entities/{URN}/attrs/b", json={"value": 1}), 404, "ResourceNotFound")


async def test_5_6_19_a_list_of_instances_is_refused_where_one_is_replaced(api: Api) -> None:
    await api.make("1", a=1)
    two = [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}]
    for method in ("PUT", "PATCH"):
        response = await api.http.request(method, f"entities/{URN}/attrs/a", json=two)
        assert "one instance" in problem(response, 400, "BadRequestData")
    assert (await api.http.put(f"entities/{URN}/attrs/a", json=[1, 2])).status_code == 204
    assert (await api.get(URN))["a"] == {"type": "Property", "value": [1, 2]}


async def test_5_6_5_delete_attribute_by_default_by_dataset_and_all(api: Api) -> None:
    instances = [{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}, {"value": 3, "datasetId": "urn:d:3"}]
    await api.make("1", a=instances, b=1)
    path = f"entities/{URN}/attrs/a"
    assert (await api.http.delete(path, params={"datasetId": "urn:d:2"})).status_code == 204
    assert [one["value"] for one in (await api.get(URN))["a"]] == [1, 3]
    assert (await api.http.delete(path)).status_code == 204
    problem(await api.http.delete(path), 404, "ResourceNotFound")
    assert (await api.http.delete(path, params={"deleteAll": "true"})).status_code == 204
    assert await api.get(URN, options="keyValues") == {"id": URN, "type": "Building", "b": 1}
    problem(await api.http.delete(path, params={"deleteAll": "maybe"}), 400, "BadRequestData")


async def test_5_6_6_delete_removes_the_entity_when_the_type_fits(api: Api) -> None:
    await api.make("1")
    problem(await api.http.delete(f"entities/{URN}", params={"type": "Vehicle"}), 404, "ResourceNotFound")
    assert (await api.http.delete(f"entities/{URN}", params={"type": "Building"})).status_code == 204
    problem(await api.http.get(f"entities/{URN}"), 404, "ResourceNotFound")
    problem(await api.http.delete(f"entities/{URN}"), 404, "ResourceNotFound")
    problem(await api.http.delete("entities/nouri"), 400, "BadRequestData")


async def test_an_id_with_slashes_is_reached_by_its_escaped_form(api: Api) -> None:
    urn = await api.make("https://gimpo.example/buildings/1?x", a=1)
    escaped = "https%3A%2F%2Fgimpo.example%2Fbuildings%2F1%3Fx"
    response = await api.http.get(f"entities/{escaped}")
    assert response.json()["id"] == urn
    assert (await api.http.patch(f"entities/{escaped}/attrs/a", json={"value": 2})).status_code == 204
