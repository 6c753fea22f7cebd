"""snapshotTemporalQueries (clauses 5.2.41, 5.16.1, 6.3.22): what was, kept apart from what is said of it afterwards."""

import asyncio
from typing import Any

import httpx
import pytest
from conftest_ngsi import Api, problem
from conftest_temporal import Evolving, at, values

HEADER = "NGSILD-Snapshot"
SINCE = {"timerel": "after", "timeAt": at(0)}
FAST, SLOW = "urn:ngsi-ld:Bus:fast", "urn:ngsi-ld:Bus:slow"
BUSES: dict[str, Any] = {"type": "Query", "entities": [{"type": "Bus"}], "temporalQ": SINCE}


async def _two(evolving: Evolving) -> None:
    await evolving.record(FAST, speed=values((60, 1), (80, 2), (70, 3)), doors=values((4, 1)))
    await evolving.record(SLOW, speed=values((10, 1), (20, 2)))


async def _snapshot(evolving: Evolving, **members: Any) -> dict[str, Any]:
    """It, once it is filled."""
    made = await evolving.http.post("snapshots", json={"type": "Snapshot", **members})
    assert made.status_code == 201, made.text
    return await _ready(evolving, made)


async def _ready(evolving: Evolving, made: httpx.Response) -> dict[str, Any]:
    path = made.headers["location"].removeprefix("/ngsi-ld/v1/")
    async with asyncio.timeout(30):
        while (found := (await evolving.http.get(path)).json())["snapshotStatus"] == "preparing":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    body: dict[str, Any] = found
    return body


async def _within(evolving: Evolving, snapshot: dict[str, Any], path: str, **asked: str) -> Any:
    answer = await evolving.http.get(path, params=asked, headers={HEADER: snapshot["id"]})
    assert answer.status_code in {200, 201}, answer.text
    assert answer.headers[HEADER] == snapshot["id"]
    return answer.json()


def _speeds(entity: dict[str, Any]) -> list[Any]:
    return [one["value"] for one in entity["speed"]]


async def test_5161_a_snapshot_keeps_the_past_that_its_temporal_queries_found(evolving: Evolving) -> None:
    await _two(evolving)
    query = {**BUSES, "q": "speed>50", "temporalQ": {**SINCE, "timeAt": at(2)}}
    snapshot = await _snapshot(evolving, snapshotTemporalQueries=[query])
    assert snapshot["snapshotStatus"] == "success"
    assert snapshot["snapshotTemporalQueriesDetails"] == [{"resultStatus": "success"}]
    assert "snapshotQueriesDetails" not in snapshot
    assert (await evolving.http.delete(f"temporal/entities/{FAST}")).status_code == 204
    found = await _within(evolving, snapshot, "temporal/entities", type="Bus", **SINCE)
    assert [(one["id"], _speeds(one)) for one in found] == [(FAST, [80, 70])]
    whole = await _within(evolving, snapshot, f"temporal/entities/{FAST}")
    assert _speeds(whole) == [80, 70]
    assert "doors" not in whole  # it was said before the time asked about
    missing = await evolving.http.get(f"temporal/entities/{SLOW}", headers={HEADER: snapshot["id"]})
    problem(missing, 404, "ResourceNotFound")
    assert await _within(evolving, snapshot, "entities", type="Bus") == []  # no snapshotQueries asked what is now


async def test_5161_a_snapshot_of_what_was_answers_all_forms_of_temporal_queries(evolving: Evolving) -> None:
    await _two(evolving)
    snapshot = await _snapshot(evolving, snapshotTemporalQueries=[BUSES])
    asked = {"type": "Bus", "id": FAST, **SINCE}
    pairs = await _within(evolving, snapshot, "temporal/entities", **asked, options="temporalValues")
    assert [one[0] for one in pairs[0]["speed"]["values"]] == [60, 80, 70]
    sums = await _within(
        evolving, snapshot, "temporal/entities", **asked, aggrMethods="avg,max", format="aggregatedValues"
    )
    assert (sums[0]["speed"]["avg"][0][0], sums[0]["speed"]["max"][0][0]) == (70, 80)
    newest = await _within(evolving, snapshot, "temporal/entities", **asked, lastN="1")
    assert _speeds(newest[0]) == [70]
    posted = await evolving.http.post(
        "temporal/entityOperations/query", json={**BUSES, "q": "speed<30"}, headers={HEADER: snapshot["id"]}
    )
    assert [one["id"] for one in posted.json()] == [SLOW]
    made = await evolving.http.get(
        "temporal/entities", params={"type": "Bus", "entityMap": "true", **SINCE}, headers={HEADER: snapshot["id"]}
    )
    assert made.status_code == 201
    address = made.headers["NGSILD-EntityMap"].removeprefix("/ngsi-ld/v1/")
    map = await evolving.http.get(address, headers={HEADER: snapshot["id"]})
    assert set(map.json()["entityMap"]) == {FAST, SLOW}


async def test_5161_queries_that_find_the_same_keep_each_instance_once(evolving: Evolving) -> None:
    await evolving.record(FAST, speed=[{**one, "datasetId": "urn:ngsi-ld:d:1"} for one in values((60, 1), (80, 2))])
    await evolving.record(SLOW, doors=values((2, 1)))
    snapshot = await _snapshot(evolving, snapshotTemporalQueries=[BUSES, {**BUSES, "attrs": ["speed"]}])
    found = await _within(
        evolving, snapshot, "temporal/entities", type="Bus", attrs="speed", datasetId="urn:ngsi-ld:d:1", **SINCE
    )
    assert [_speeds(one) for one in found] == [[60, 80]]


async def test_5161_what_became_of_each_query_of_now_and_then_5_16_1_4(evolving: Evolving) -> None:
    await _two(evolving)
    trams = {**BUSES, "entities": [{"type": "Tram"}]}
    now = {name: one for name, one in BUSES.items() if name != "temporalQ"}
    snapshot = await _snapshot(evolving, snapshotQueries=[now], snapshotTemporalQueries=[BUSES, trams])
    assert snapshot["snapshotStatus"] == "partial"
    assert snapshot["snapshotQueriesDetails"] == [{"resultStatus": "success"}]
    assert [one["resultStatus"] for one in snapshot["snapshotTemporalQueriesDetails"]] == ["success", "empty"]
    assert len(await _within(evolving, snapshot, "entities", type="Bus")) == 2


async def test_5162_a_clone_has_the_past_of_what_it_was_made_of(evolving: Evolving) -> None:
    await _two(evolving)
    first = await _snapshot(evolving, snapshotTemporalQueries=[BUSES])
    made = await evolving.http.post(f"snapshots/{first['id']}/clone", json={"type": "Snapshot"})
    second = await _ready(evolving, made)
    assert second["snapshotTemporalQueriesDetails"] == [{"resultStatus": "success"}]
    assert (await evolving.http.delete(f"snapshots/{first['id']}")).status_code == 204
    found = await _within(evolving, second, "temporal/entities", type="Bus", **SINCE)
    assert [_speeds(one) for one in found] == [[60, 80, 70], [10, 20]]


async def test_4_18_scopes_choose_instances_in_a_snapshot_as_they_do_outside(evolving: Evolving) -> None:
    await evolving.record(FAST, scope="/north", speed=values((60, 1)))
    await evolving.record(SLOW, scope="/south", speed=values((10, 1)))
    since = {"timerel": "after", "timeAt": "2026-11-22T00:00:00Z", "timeproperty": "modifiedAt"}
    snapshot = await _snapshot(evolving, snapshotTemporalQueries=[{**BUSES, "temporalQ": since}])
    outside = (await evolving.http.get("temporal/entities", params={"type": "Bus", "scopeQ": "/north", **since})).json()
    assert await _within(evolving, snapshot, "temporal/entities", type="Bus", scopeQ="/north", **since) == outside
    assert [one["id"] for one in outside] == [FAST]


@pytest.mark.parametrize(
    ("query", "status", "name"),
    [
        ({"type": "Query", "entities": [{"type": "Bus"}]}, 400, "BadRequestData"),
        ({**BUSES, "temporalQ": {"timerel": "after"}}, 400, "BadRequestData"),
        ({**BUSES, "aggrParams": {"aggrMethods": ["avg"]}}, 400, "BadRequestData"),
        ({**BUSES, "temporalQ": {**SINCE, "timeproperty": "deletedAt"}}, 422, "OperationNotSupported"),
        ("all", 400, "BadRequestData"),
    ],
)
async def test_5161_what_is_no_temporal_query_of_a_snapshot_is_refused(
    evolving: Evolving, query: Any, status: int, name: str
) -> None:
    body = {"type": "Snapshot", "snapshotTemporalQueries": [query]}
    problem(await evolving.http.post("snapshots", json=body), status, name)


async def test_5161_the_past_in_a_snapshot_is_not_changed(evolving: Evolving) -> None:
    await _two(evolving)
    snapshot = await _snapshot(evolving, snapshotTemporalQueries=[BUSES])
    named = {HEADER: snapshot["id"]}
    body = {"id": FAST, "type": "Bus", "speed": values((99, 5))}
    problem(await evolving.http.post("temporal/entities", json=body, headers=named), 422, "OperationNotSupported")
    problem(await evolving.http.delete(f"temporal/entities/{FAST}", headers=named), 422, "OperationNotSupported")
    assert _speeds(await evolving.get(f"/{FAST}")) == [60, 80, 70]


async def test_where_there_is_no_history_none_is_copied(api: Api) -> None:
    body = {"type": "Snapshot", "snapshotTemporalQueries": [BUSES]}
    problem(await api.http.post("snapshots", json=body), 422, "OperationNotSupported")
