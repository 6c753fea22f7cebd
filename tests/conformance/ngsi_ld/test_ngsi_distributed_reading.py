"""Reading over several sources (clauses 4.3.6, 5.7, 6.3.17, 6.3.18; ETSI cases D010, D011, D018, 436, 5724, 6317)."""

from typing import Any

import orjson
import pytest
from conftest_distributed import BUS, answer, here, register, remote
from conftest_ngsi import Api, problem


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
