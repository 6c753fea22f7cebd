"""Distributed operations (clauses 4.3.6, 5.6, 5.7, 6.3.17, 6.3.18; ETSI cases D001 to D018, 436, 5614, 5724, 6317)."""

import asyncio
from typing import Any

import orjson
import pytest
from conftest_ngsi import Api, problem
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import NotFound
from haechi.faces.ngsi_ld.distributed import past
from haechi.faces.ngsi_ld.face import Face

BUS = "urn:ngsi-ld:Bus:1"
PEER = "http://peer.example"
SECOND = "http://second.example"
OTHERS = {
    "inclusive": ["redirectionOps"],
    "redirect": ["redirectionOps"],
    "exclusive": ["redirectionOps"],
    "auxiliary": ["retrieveOps"],
}


async def register(api: Api, mode: str = "inclusive", number: int = 1, **members: Any) -> None:
    information = [{"entities": [{"type": "Bus"}]}]
    if mode == "exclusive":
        information = [{"entities": [{"type": "Bus", "id": BUS}], "propertyNames": ["speed"]}]
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{number}",
        "type": "ContextSourceRegistration",
        "mode": mode,
        "operations": OTHERS[mode],
        "information": information,
        "endpoint": PEER if number == 1 else SECOND,
        **members,
    }
    response = await api.http.post("csourceRegistrations", json=body)
    assert response.status_code == 201, response.text


def remote(id: str = BUS, **attributes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "type": "Bus",
        **{name: {"type": "Property", "value": value} for name, value in attributes.items()},
    }


def answer(api: Api, request: str, status: int, body: Any = None, at: str = PEER) -> None:
    method, _, path = request.partition(" ")
    api.answers[f"{method} {at}/ngsi-ld/v1{path}"] = (status, body)


def asked(api: Api) -> list[str]:
    """Methods and paths of what was sent to sources, without parameters."""
    return [f"{one.method} {one.url.partition('?')[0].partition('/v1')[2]}" for one in api.asked]


async def here(api: Api, id: str = BUS) -> dict[str, Any] | None:
    """What this broker itself holds."""
    response = await api.http.get(f"entities/{id}", params={"local": "true"})
    return response.json() if response.status_code == 200 else None


# --- reading ---


async def test_an_entity_is_put_together_from_here_and_there_d010(api: Api) -> None:
    await api.make(BUS, "Bus", doors=2)
    await register(api)
    answer(api, f"GET /entities/{BUS}", 200, remote(speed=40))
    found = await api.get(BUS, options="keyValues")
    assert found == {"id": BUS, "type": "Bus", "doors": 2, "speed": 40}
    assert [one for one in api.asked[0].headers if one[0] == "Via"] == [("Via", "1.1 haechi-here")]
    assert await here(api) is not None
    assert len(api.asked) == 1  # local=true asks nobody


@pytest.mark.parametrize(
    ("mode", "theirs", "expected"),
    [
        ("inclusive", "2026-11-22T12:00:00Z", 9),
        ("inclusive", "2026-11-22T08:00:00Z", 1),
        ("auxiliary", "2026-11-22T12:00:00Z", 1),
        ("redirect", "2026-11-22T08:00:00Z", 9),
    ],
)
async def test_of_two_values_the_newer_counts_an_auxiliary_one_never_a_proxied_one_always_4_5_5(
    api: Api, mode: str, theirs: str, expected: int
) -> None:
    await register(api, mode)
    await api.http.post(
        "entities",
        params={"local": "true"},
        json={"id": BUS, "type": "Bus", "speed": {"value": 1, "observedAt": "2026-11-22T10:00:00Z"}},
    )
    answer(api, f"GET /entities/{BUS}", 200, {"id": BUS, "type": "Bus", "speed": {"value": 9, "observedAt": theirs}})
    assert (await api.get(BUS, options="keyValues"))["speed"] == expected


async def test_a_source_is_asked_only_for_what_it_registered_436_01(api: Api) -> None:
    await register(api, information=[{"entities": [{"type": "Bus", "id": BUS}], "propertyNames": ["speed"]}])
    answer(api, f"GET /entities/{BUS}", 200, remote(speed=40, secret=1))
    assert await api.get(BUS, options="keyValues") == {"id": BUS, "type": "Bus", "speed": 40}
    assert "attrs=speed" in api.asked[0].url
    problem(await api.http.get("entities/urn:ngsi-ld:Bus:2"), 404, "ResourceNotFound")
    assert await api.ids(type="Bus", attrs="doors") == []
    assert len(api.asked) == 1


async def test_a_query_unites_pages_and_counts_what_all_have_d011(api: Api) -> None:
    await api.make("here", "Bus", speed=1)
    await api.make("both", "Bus", doors=2)
    await register(api)
    both, there = remote("urn:ngsi-ld:Bus:both", speed=5), remote("urn:ngsi-ld:Bus:there", speed=7)
    answer(api, "GET /entities", 200, [both, there])
    assert await api.ids(type="Bus") == ["here", "both", "there"]
    assert await api.ids(type="Bus", local="true") == ["here", "both"]
    assert await api.ids(type="Bus", limit="2", offset="1") == ["both", "there"]
    response = await api.http.get("entities", params={"type": "Bus", "limit": "1", "offset": "2", "count": "true"})
    assert [one["id"][-5:] for one in response.json()] == ["there"]
    assert response.headers["ngsild-results-count"] == "3"
    problem(await api.http.get("entities", params={"type": "Bus", "orderBy": "speed"}), 400, "BadRequestData")


async def test_filters_go_along_unless_entities_are_split_5724_02(api: Api) -> None:
    await api.make(BUS, "Bus", doors=2)
    await register(api)
    answer(api, "GET /entities", 200, [remote(speed=40)])
    await api.http.get("entities", params={"type": "Bus", "q": "speed>20"})
    assert "q=speed" in api.asked[0].url
    query = {"type": "Bus", "q": "speed>20;doors==2", "splitEntities": "true"}
    found = (await api.http.get("entities", params=query)).json()
    assert [one["id"] for one in found] == [BUS]
    assert "q=" not in api.asked[1].url
    none = {**query, "q": "speed>50;doors==2"}
    assert (await api.http.get("entities", params=none)).json() == []


async def test_csf_and_the_place_of_a_source_say_whether_it_is_asked_5724_01(api: Api) -> None:
    await register(api, sourceType="sensor", location={"type": "Point", "coordinates": [126.7, 37.6]})
    answer(api, "GET /entities", 200, [remote(speed=40)])
    assert await api.ids(type="Bus", csf='sourceType=="archive"') == []
    far = {"georel": "near;maxDistance==5000", "geometry": "Point", "coordinates": "[2.35,48.85]"}
    assert await api.ids(type="Bus", **far) == []
    assert not api.asked
    assert await api.ids(type="Bus", csf='sourceType=="sensor"') == ["1"]


async def test_a_source_that_takes_only_queries_by_post_gets_one_d011_02(api: Api) -> None:
    await register(api, operations=["queryBatch"])
    answer(api, "POST /entityOperations/query", 200, [remote(speed=40)])
    assert await api.ids(type="Bus") == ["1"]
    body = orjson.loads(api.asked[0].body or b"")
    assert body["entities"] == [{"type": "Bus"}]
    posted = {"type": "Query", "entities": [{"type": "Bus"}]}
    assert len((await api.http.post("entityOperations/query", json=posted)).json()) == 1


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, {"title": "no"}, "299"),
        (500, b"<html>", "299"),
        (200, b"not json", "111"),
        (200, {"a": 1}, "111"),
        (0, 0, "199"),
    ],
)
async def test_a_source_that_fails_becomes_a_warning_and_spoils_nothing_6317(
    api: Api, status: int, body: Any, code: str
) -> None:
    await api.make(BUS, "Bus", doors=2)
    await register(api)
    if status:
        answer(api, f"GET /entities/{BUS}", status, body)
    response = await api.http.get(f"entities/{BUS}")
    assert response.status_code == 200
    assert response.headers["ngsild-warning"].startswith(f"{code} urn:ngsi-ld:ContextSourceRegistration:1 ")
    gone = await api.http.get("entities/urn:ngsi-ld:Bus:nowhere")
    assert gone.status_code == 404
    assert gone.headers["ngsild-warning"].startswith("199")
    answer(api, f"GET /entities/{BUS}", 404)
    assert "ngsild-warning" not in (await api.http.get(f"entities/{BUS}")).headers


async def test_a_source_that_failed_is_left_alone_for_its_cooldown_5_2_34(api: Api) -> None:
    await register(api, management={"cooldown": 60_000})
    for _ in range(2):
        response = await api.http.get(f"entities/{BUS}")
        assert response.headers["ngsild-warning"].startswith("199")
    assert len(api.asked) == 1
    await api.clock.sleep(60)
    await api.http.get(f"entities/{BUS}")
    assert len(api.asked) == 2
    found = (await api.http.get("csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1")).json()
    assert (found["status"], found["timesSent"], found["timesFailed"]) == ("failed", 2, 2)


async def test_what_a_registration_says_of_headers_goes_along_436_04_436_05(api: Api) -> None:
    pairs = [("Authorization", "Bearer x"), ("user", "urn:ngsi-ld:request"), ("NGSILD-Tenant", "evil"), ("Via", "evil")]
    pairs.append(("accept", "application/ld+json"))
    information = [{"key": key, "value": value} for key, value in pairs]
    await register(api, contextSourceInfo=information, localOnly=True, tenant="theirs")
    await api.http.get(f"entities/{BUS}", headers={"user": "abcd", "Via": "1.1 before"})
    sent = dict(api.asked[0].headers)
    assert sent == {
        "Accept": "application/ld+json",
        "Via": "1.1 before, 1.1 haechi-here",
        "Authorization": "Bearer x",
        "user": "abcd",
        "NGSILD-Tenant": "theirs",
    }
    assert "local=true" in api.asked[0].url


async def test_a_request_that_comes_back_asks_nobody_d018(api: Api) -> None:
    await register(api, contextSourceAlias="peer")
    answer(api, "GET /entities", 200, [remote(speed=40)])
    for via in ("1.1 haechi-here", "1.1 other, 1.1 peer"):
        response = await api.http.get("entities", params={"type": "Bus"}, headers={"Via": via})
        assert (response.status_code, response.json()) == (200, [])
    assert not api.asked


async def test_types_of_other_sources_are_told_5_7_5(api: Api) -> None:
    await api.make("x", "Ship", draught=3)
    await register(api, operations=["federationOps"])
    answer(api, "GET /types", 200, [{"typeName": "Bus", "attributeNames": ["speed"]}])
    assert (await api.http.get("types")).json()["typeList"] == ["Bus", "Ship"]
    assert (await api.http.get("attributes")).json()["attributeList"] == ["draught", "speed"]


# --- writing ---


@pytest.mark.parametrize(("mode", "kept"), [("inclusive", True), ("redirect", False), ("auxiliary", True)])
async def test_what_is_created_goes_where_the_mode_says_d001_436_02(api: Api, mode: str, kept: bool) -> None:
    await register(api, mode)
    answer(api, "POST /entities", 201)
    response = await api.http.post("entities", json=remote(speed=40))
    assert response.status_code == 201
    assert response.headers["location"].endswith(f"/entities/{BUS}")
    assert asked(api) == ([] if mode == "auxiliary" else ["POST /entities"])
    assert (await here(api) is not None) == kept


async def test_exclusive_attributes_are_elsewhere_and_the_others_here_d001_exc_d003_d004_d008(api: Api) -> None:
    await register(api, "exclusive")
    answer(api, "POST /entities", 201)
    assert (await api.http.post("entities", json=remote(speed=40, doors=2))).status_code == 201
    assert "doors" not in orjson.loads(api.asked[0].body or b"")
    for method, path in (("PATCH", "attrs/"), ("POST", "attrs/"), ("PATCH", "")):
        answer(api, f"{method} /entities/{BUS}/{path}".rstrip("/") + ("/" if path else ""), 204)
        body = {"speed": {"type": "Property", "value": 50}, "doors": {"type": "Property", "value": 3}}
        response = await api.http.request(method, f"entities/{BUS}/{path}".rstrip("/"), json=body)
        assert response.status_code == 204, response.text
        assert orjson.loads(api.asked[-1].body or b"") == {"speed": body["speed"]}
    found = await here(api)
    assert found is not None
    assert (found["doors"]["value"], "speed" in found) == (3, False)


async def test_a_source_that_takes_no_such_change_is_a_conflict_5614_d002_02(api: Api) -> None:
    await register(api, "redirect", operations=["retrieveOps"])
    problem(await api.http.post("entities", json=remote(speed=40)), 409, "Conflict")
    update = {"speed": {"type": "Property", "value": 9}}
    problem(await api.http.patch(f"entities/{BUS}/attrs", json=update), 409, "Conflict")
    assert not api.asked
    assert await here(api) is None
    await api.http.post("entities", params={"local": "true"}, json=remote(doors=2))
    response = await api.http.delete(f"entities/{BUS}")
    assert response.status_code == 207
    assert response.json()["errors"][0]["error"]["status"] == 409
    assert await here(api) is None


@pytest.mark.parametrize(
    ("local", "peer", "status", "errors"),
    [(False, 201, 201, []), (True, 201, 207, [409]), (False, 409, 207, [409]), (True, 409, 207, [409, 409])],
)
async def test_a_part_that_failed_is_told_beside_what_went_well_d001_03(
    api: Api, local: bool, peer: int, status: int, errors: list[int]
) -> None:
    if local:
        await api.make(BUS, "Bus", doors=2)
    await register(api)
    answer(api, "POST /entities", peer)
    response = await api.http.post("entities", json=remote(speed=40))
    assert response.status_code == status
    if status == 207:
        assert [one["error"]["status"] for one in response.json()["errors"]] == errors


async def test_attributes_that_a_dead_source_should_have_taken_are_named_5_2_18(api: Api) -> None:
    await api.make(BUS, "Bus", doors=2)
    await register(api, "exclusive")
    body = {"speed": {"type": "Property", "value": 9}, "doors": {"type": "Property", "value": 3}}
    result = (await api.http.patch(f"entities/{BUS}/attrs", json=body)).json()
    assert [one.rpartition("/")[2] for one in result["updated"]] == ["doors"]
    assert set(result["notUpdated"][0]) == {"attributeName", "reason", "registrationId"}
    assert result["notUpdated"][0]["attributeName"].endswith("speed")
    only = {"speed": body["speed"]}
    assert (await api.http.patch(f"entities/{BUS}/attrs", json=only)).status_code == 504


async def test_a_deletion_reaches_both_and_misses_here_only_where_something_should_be_d002(api: Api) -> None:
    await register(api)
    answer(api, f"DELETE /entities/{BUS}", 204)
    response = await api.http.delete(f"entities/{BUS}")
    assert [one["error"]["status"] for one in response.json()["errors"]] == [404]
    await api.http.delete("csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1")
    await register(api, "redirect")
    assert (await api.http.delete(f"entities/{BUS}")).status_code == 204
    answer(api, f"DELETE /entities/{BUS}/attrs/speed", 204)
    assert (await api.http.delete(f"entities/{BUS}/attrs/speed")).status_code == 204


async def test_a_proxied_change_that_comes_back_is_a_loop_d018_01(api: Api) -> None:
    await register(api, "redirect")
    response = await api.http.delete(f"entities/{BUS}", headers={"Via": "1.1 haechi-here"})
    assert response.status_code == 508
    assert not api.asked


async def test_what_is_malformed_is_forwarded_to_nobody_d001_02(api: Api) -> None:
    await register(api)
    problem(await api.http.post("entities", json={**remote(), "id": "no uri"}), 400, "BadRequestData")
    bad = {**remote(), "speed": {"type": "Property"}}
    problem(await api.http.post("entities", json=bad), 400, "BadRequestData")
    assert not api.asked


async def test_a_batch_is_divided_among_sources_d012_to_d016(api: Api) -> None:
    batches = ["createBatch", "upsertBatch", "deleteBatch"]
    await register(api, "redirect", operations=batches)
    ships = [{"entities": [{"type": "Ship"}]}]
    await register(api, "redirect", 2, information=ships, operations=["createEntity", "deleteEntity"])
    ship = {**remote("urn:ngsi-ld:Ship:1", draught=3), "type": "Ship"}
    train = {**remote("urn:ngsi-ld:Train:1", cars=3), "type": "Train"}
    answer(api, "POST /entityOperations/create", 201, [BUS])
    answer(api, "POST /entities", 201, at=SECOND)
    response = await api.http.post("entityOperations/create", json=[remote(speed=1), ship, train])
    assert response.status_code == 201
    assert sorted(response.json()) == [BUS, ship["id"], train["id"]]
    assert await here(api) is None
    assert await here(api, train["id"]) is not None
    answer(api, "POST /entityOperations/delete", 204)
    for id, status in ((BUS, 404), (ship["id"], 500), (train["id"], 404)):
        answer(api, f"DELETE /entities/{id}", status, at=SECOND)
    response = await api.http.post("entityOperations/delete", json=[BUS, ship["id"], train["id"]])
    assert response.status_code == 207
    assert [one["entityId"] for one in response.json()["errors"]] == [ship["id"]]
    assert sorted(response.json()["success"]) == [BUS, train["id"]]


async def test_a_purge_reaches_sources_within_what_they_registered_d017(api: Api) -> None:
    await api.make("local", "Bus", doors=2)
    await register(api)
    answer(api, "DELETE /entities", 204)
    assert (await api.http.delete("entities", params={"type": "Bus"})).status_code == 204
    assert api.asked[0].url.endswith("/entities?type=Bus")
    assert await here(api, "urn:ngsi-ld:Bus:local") is None


async def test_names_go_out_as_the_source_wants_them_436_06(api: Api) -> None:
    context = "https://gimpo.example/context.jsonld"
    pairs = [{"key": "jsonldContext", "value": context}]
    await register(api, "redirect", contextSourceInfo=pairs, information=[{"entities": [{"type": "x:Bus"}]}])
    answer(api, "POST /entities", 201)
    body = {"id": BUS, "type": "x:Bus", "https://gimpo.example/terms#speed": {"type": "Property", "value": 1}}
    assert (await api.http.post("entities", json=body)).status_code == 201
    sent = api.asked[0]
    assert set(orjson.loads(sent.body or b"")) == {"id", "type", "speed"}
    assert dict(sent.headers)["Content-Type"] == "application/json"
    assert context in dict(sent.headers)["Link"]


@pytest.mark.parametrize(
    "body", [{}, {"entities": 5}, {"entities": [1], "geoQ": 3, "attrs": [None]}, [], 7, [{"id": 1}]]
)
async def test_a_body_of_another_shape_is_refused_as_if_nobody_were_registered(api: Api, body: Any) -> None:
    await register(api)
    paths = [("POST", "entities"), ("POST", "entityOperations/query"), ("POST", "entityOperations/create")]
    paths += [("POST", "entityOperations/delete"), ("PATCH", f"entities/{BUS}"), ("PUT", f"entities/{BUS}/attrs/speed")]
    for method, path in paths:
        response = await api.http.request(method, path, json=body)
        assert response.status_code in {207, 400, 404}, (method, path, response.text)


# --- the past ---


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
