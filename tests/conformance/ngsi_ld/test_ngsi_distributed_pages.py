"""The past, snapshots and entity maps over several sources (clauses 5.7.3, 5.7.4, 5.16.1, 5.14)."""

import asyncio

import orjson
from conftest_distributed import BUS, answer, register, remote
from conftest_ngsi import Api
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import NotFound
from haechi.faces.ngsi_ld.distributed import past
from haechi.faces.ngsi_ld.face import Face


def test_evolutions_of_several_sources_are_one_in_order_of_time_5_7_3() -> None:
    merged = past.merged(
        [
            {"id": BUS, "type": "Bus", "speed": [{"value": 3, "observedAt": "2026-05-03T00:00:00Z"}]},
            {
                "id": BUS,
                "type": "Bus",
                "doors": {"value": 2, "observedAt": "2026-05-01T00:00:00Z"},
                "speed": [
                    {"value": 1, "observedAt": "2026-05-01T00:00:00Z"},
                    {"value": 9, "observedAt": "2026-05-03T00:00:00Z"},
                ],
            },
        ],
        {},
    )
    assert [one["value"] for one in merged["speed"]] == [1, 3]
    assert merged["doors"]["value"] == 2
    columns = [
        {"id": BUS, "speed": {"type": "Property", "values": [[at, f"2026-05-0{at}T00:00:00Z"]]}} for at in (2, 1, 3)
    ]
    assert past.merged(columns, {"lastN": "2"})["speed"]["values"] == [
        [3, "2026-05-03T00:00:00Z"],
        [2, "2026-05-02T00:00:00Z"],
    ]


async def test_a_query_of_the_past_pages_through_what_all_have_5_7_4(api: Api) -> None:
    await register(api, operations=["queryTemporal", "retrieveTemporal"])
    ours = {"id": f"{BUS}0", "type": "Bus", "speed": [{"value": 1, "observedAt": "2026-05-01T00:00:00Z"}]}
    answer(api, "GET /temporal/entities", 200, [{**ours, "id": f"{BUS}{number}"} for number in (1, 2)])
    answer(api, f"GET /temporal/entities/{BUS}1", 200, {**ours, "id": f"{BUS}1"})

    async def here_only(face: Face, request: Request, *names: str) -> Response:
        if names:
            raise NotFound("nothing of it is here")
        assert request.query_params["limit"] == "1000"
        return Response(orjson.dumps([ours]), media_type="application/json")

    face = Face(api.services)
    path = "timerel=after&timeAt=2020-01-01T00:00:00Z&type=Bus&limit=2"
    seen = []
    for offset in (0, 2):
        request = asking(f"{path}&offset={offset}")
        response = await past.queried(face, request, here_only, None)
        seen.append([one["id"][-1] for one in orjson.loads(bytes(response.body))])
    assert seen == [["0", "1"], ["2"]]
    assert "timerel=after" in api.asked[0].url
    found = await past.retrieved(face, asking(path), here_only, f"{BUS}1")
    assert orjson.loads(bytes(found.body))["id"] == f"{BUS}1"


def asking(query: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": "/temporal/entities", "headers": [], "server": ("haechi", 80)}
    return Request({**scope, "query_string": query.encode(), "scheme": "http"})


async def test_5161_01_05_a_snapshot_is_filled_from_sources_too_and_5161_1_4_says_what_became_of_each_query(
    api: Api,
) -> None:
    await register(api, operations=["queryEntity"])
    answer(
        api, "GET /entities", 200, [remote("urn:ngsi-ld:Bus:far", speed=88), remote("urn:ngsi-ld:Bus:slow", speed=8)]
    )
    await api.make("near", "Bus", speed=70)
    queries = [
        {"type": "Query", "entities": [{"type": "Bus"}], "q": "speed>50"},
        {"type": "Query", "entities": [{"type": "Tram"}]},
    ]
    made = await api.http.post("snapshots", json={"type": "Snapshot", "snapshotQueries": queries})
    path = made.headers["location"].removeprefix("/ngsi-ld/v1/")
    async with asyncio.timeout(30):
        while (found := (await api.http.get(path)).json())["snapshotStatus"] == "preparing":  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.01)
    assert found["snapshotStatus"] == "partial"
    assert [one["resultStatus"] for one in found["snapshotQueriesDetails"]] == ["success", "empty"]
    asks = [one.url for one in api.asked]
    assert any("q=speed" in one for one in asks), asks
    within = (await api.http.get("entities?type=Bus&local=true", headers={"NGSILD-Snapshot": found["id"]})).json()
    assert {"urn:ngsi-ld:Bus:far", "urn:ngsi-ld:Bus:near"} <= {one["id"] for one in within}


async def test_ext_map_01_01_an_entity_map_names_the_sources_of_each_entity(api: Api) -> None:
    await register(api, operations=["queryEntity", "retrieveEntity"])
    answer(api, "GET /entities", 200, [remote("urn:ngsi-ld:Bus:far", speed=1)])
    await api.make("near", "Bus", speed=70)
    made = await api.http.get("entities?type=Bus&entityMap=true")
    assert made.status_code == 201
    found = (await api.http.get(made.headers["NGSILD-EntityMap"].removeprefix("/ngsi-ld/v1/"))).json()["entityMap"]
    assert found == {
        "urn:ngsi-ld:Bus:near": ["@none"],
        "urn:ngsi-ld:Bus:far": ["urn:ngsi-ld:ContextSourceRegistration:1"],
    }
