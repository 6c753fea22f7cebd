"""Snapshots (clauses 5.16, 6.3.22; ETSI 5161): what queries found, apart from what happens afterwards."""

import asyncio
from typing import Any

import pytest
from conftest_ngsi import Api, problem

FAST, SLOW = "urn:ngsi-ld:Vehicle:fast", "urn:ngsi-ld:Vehicle:slow"
HEADER = "NGSILD-Snapshot"
ALL = {"type": "Query", "entities": [{"type": "Vehicle"}]}


async def _snapshot(api: Api, query: dict[str, Any], **more: Any) -> tuple[str, str]:
    """Its path and id, once it is filled."""
    made = await api.http.post("snapshots", json={"type": "Snapshot", "snapshotQueries": [query], **more})
    assert made.status_code == 201, made.text
    return await _ready(api, made.headers["location"])


async def _ready(api: Api, location: str) -> tuple[str, str]:
    path = location.removeprefix("/ngsi-ld/v1/")
    async with asyncio.timeout(30):
        while (found := (await api.http.get(path)).json())["snapshotStatus"] == "preparing":  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.01)
    assert found["snapshotStatus"] == "success"
    assert found["snapshotQueriesDetails"][0]["resultStatus"] == "success"
    return path, found["id"]


async def _two(api: Api) -> None:
    await api.make("fast", "Vehicle", speed=80)
    await api.make("slow", "Vehicle", speed=30)


async def test_5161_01_01_a_snapshot_keeps_what_its_queries_found(api: Api) -> None:
    await _two(api)
    path, id = await _snapshot(api, {**ALL, "q": "speed>50"})
    assert (await api.http.patch(f"entities/{FAST}/attrs", json={"speed": 10})).status_code == 204
    within = {HEADER: id}
    answer = await api.http.get("entities?type=Vehicle", headers=within)
    assert answer.headers[HEADER] == id
    assert [(one["id"], one["speed"]["value"]) for one in answer.json()] == [(FAST, 80)]
    problem(await api.http.get(f"entities/{SLOW}", headers=within), 404, "ResourceNotFound")
    assert (await api.http.patch(f"entities/{FAST}/attrs", json={"speed": 99}, headers=within)).status_code == 204
    assert (await api.http.get(f"entities/{FAST}", headers=within)).json()["speed"]["value"] == 99
    assert (await api.get(FAST))["speed"]["value"] == 10
    assert (await api.http.delete(path)).status_code == 204
    problem(await api.http.get(f"entities/{FAST}", headers=within), 404, "ResourceNotFound")


async def test_5161_01_03_a_clone_outlives_what_it_was_made_of_and_purging_asks_members(api: Api) -> None:
    await _two(api)
    path, _ = await _snapshot(api, ALL)
    assert (await api.http.patch(path, json={"snapshotPriority": 2})).json()["snapshotPriority"] == 2
    problem(await api.http.patch(path, json={"snapshotQueries": []}), 400, "BadRequestData")
    cloned = await api.http.post(f"{path}/clone", json={"type": "Snapshot", "snapshotPriority": 9})
    other, id = await _ready(api, cloned.headers["location"])
    problem(await api.http.delete("snapshots?q=speed>50"), 400, "BadRequestData")
    assert (await api.http.delete("snapshots?q=snapshotPriority<5")).status_code == 204
    problem(await api.http.get(path), 404, "ResourceNotFound")
    assert (await api.http.get(other)).status_code == 200
    assert len((await api.http.get("entities?type=Vehicle", headers={HEADER: id})).json()) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"type": "Snapshot"},
        {"type": "Snapshot", "snapshotQueries": [{**ALL, "temporalQ": {"timerel": "after"}}]},
        {"type": "Snapshot", "snapshotQueries": [ALL], "snapshotStatus": "success"},
        {"type": "Snapshot", "snapshotQueries": [ALL], "snapshotPriority": 11},
        {"type": "Snapshot", "snapshotQueries": [ALL], "expiresAt": "soon"},
        {"type": "Snapshot", "snapshotQueries": [ALL], "id": "no uri"},
    ],
)
async def test_5161_01_02_what_is_no_snapshot_is_refused(api: Api, body: dict[str, Any]) -> None:
    problem(await api.http.post("snapshots", json=body), 400, "BadRequestData")
    problem(await api.http.get("entities?type=V", headers={HEADER: "urn:ngsi-ld:snapshot:x"}), 404, "ResourceNotFound")


async def test_a_snapshot_belongs_to_its_tenant(api: Api) -> None:
    await _two(api)
    path, id = await _snapshot(api, ALL)
    tenant = {"NGSILD-Tenant": "a"}
    assert (await api.http.post("entities", json={"id": FAST, "type": "Vehicle"}, headers=tenant)).status_code == 201
    problem(await api.http.get(path, headers=tenant), 404, "ResourceNotFound")
    problem(await api.http.get("entities?type=Vehicle", headers={**tenant, HEADER: id}), 404, "ResourceNotFound")
