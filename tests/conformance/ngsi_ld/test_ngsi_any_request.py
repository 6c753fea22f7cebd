"""Whatever is sent, the face answers in the spec's shape and stores only what it can show again."""

import json
import random
from typing import Any

import pytest
from conftest_ngsi import Api

URNS = ("urn:ngsi-ld:A:1", "urn:ngsi-ld:A:2")
ATTRIBUTES: tuple[Any, ...] = (
    *(1, "t", True, 10**30, 1e308, None, "urn:ngsi-ld:null", [], [1, {"x": None}]),
    {"value": {"x": [1, {"y": None}]}},
    {"type": "Point", "coordinates": [1, 2]},
    {"type": "Point", "coordinates": ["a"]},
    {"type": "GeometryCollection", "geometries": [1]},
    {"type": "GeoProperty", "value": {"type": "LineString", "coordinates": [[1, 1], [1, 1]]}},
    {"type": "GeoProperty", "value": '{"type":"Point","coordinates":[1,2,3]}'},
    *({"object": "urn:x:1"}, {"languageMap": {"ko": "a"}}, {"vocab": ["v", "w"]}, {"json": [{"a": 1}]}),
    *(
        {"valueList": [1]},
        {"objectList": ["urn:x:1"]},
        {"unitCode": "X"},
        {"c": {"value": 9}},
        {"type": "Foo", "value": 1},
    ),
    [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}],
    {"value": 1, "observedAt": "2026-01-01T00:00:00Z", "unitCode": "C", "c": {"value": 3, "d": 2}},
    {"value": 1, "observedAt": "9999-12-31T23:59:59Z"},
    {"value": 1, "observedAt": "0000-01-01T00:00:00Z"},
    {"type": "Property", "value": "urn:ngsi-ld:null", "datasetId": "urn:d:1"},
    {"value": 2, "c": "urn:ngsi-ld:null"},
)
METHODS = {
    "entities": ("GET", "POST"),
    "entities/{id}": ("GET", "PATCH", "PUT", "DELETE"),
    "entities/{id}/attrs": ("POST", "PATCH"),
    "entities/{id}/attrs/a": ("PATCH", "PUT", "DELETE"),
    **{f"entityOperations/{name}": ("POST",) for name in ("create", "upsert", "update", "merge", "delete")},
}
OPTIONS: tuple[dict[str, str], ...] = ({}, {"options": "concise"}, {"options": "keyValues"}, {"options": "update"})


def entity(chance: random.Random) -> Any:
    names = ["a", "b", "c", "a", "b", "location", "scope", "x y", "@context", "https://e.example/a"]
    made = {chance.choice(names): chance.choice(ATTRIBUTES) for _ in range(chance.randrange(4))}
    if chance.random() < 0.9:
        made |= {"id": chance.choice(URNS), "type": chance.choice(["A", ["A", "B"]])}
    return made


@pytest.mark.parametrize("seed", range(3))
async def test_any_request_is_answered_and_all_that_is_stored_can_be_shown(api: Api, seed: int) -> None:
    chance = random.Random(seed)
    statuses = set()
    for _ in range(400):
        path = chance.choice(list(METHODS))
        method = chance.choice(METHODS[path])
        body = entity(chance) if chance.random() < 0.8 else chance.choice(ATTRIBUTES)
        if path.startswith("entityOperations"):
            body = [
                chance.choice(URNS) if path.endswith("delete") else entity(chance) for _ in range(chance.randrange(4))
            ]
        media = chance.choice(["application/json"] * 5 + ["application/ld+json", "application/merge-patch+json"])
        params = {"local": "true", **chance.choice(OPTIONS)} if path == "entities" and method == "GET" else {}
        content = json.dumps(body).encode() if method in {"POST", "PUT", "PATCH"} else None
        response = await api.http.request(
            method, path.format(id=chance.choice(URNS)), params=params, content=content, headers={"Content-Type": media}
        )
        statuses.add(response.status_code)
        assert response.status_code in {200, 201, 204, 207} or "detail" in response.json(), response.text
        assert response.status_code < 500, response.text
    assert {200, 201, 204, 207, 400, 404} <= statuses
    for form in ("normalized", "concise", "keyValues"):
        assert len(await api.ids(local="true", options=f"{form},sysAttrs")) <= len(URNS)
