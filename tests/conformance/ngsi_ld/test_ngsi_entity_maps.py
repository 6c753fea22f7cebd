"""EntityMaps (clauses 5.14, 5.5.14, 5.5.9.3): pages of a query that do not shift."""

import pytest
from conftest_ngsi import Api, problem

MAP = "NGSILD-EntityMap"


async def _five(api: Api) -> list[str]:
    return [await api.make(f"V{number}", "Vehicle", speed=number * 10) for number in range(5)]


async def test_5144_01_a_map_names_what_answers_a_query(api: Api) -> None:
    ids = await _five(api)
    made = await api.http.get("entityMaps?type=Vehicle&q=speed>15")
    assert made.status_code == 201
    assert made.json()["type"] == "EntityMap"
    assert made.json()["entityMap"] == {id: ["@none"] for id in ids[2:]}
    path = made.headers[MAP].removeprefix("/ngsi-ld/v1/")
    assert (await api.http.get(path)).json() == made.json()
    problem(await api.http.get("entityMaps?id=urn:x:1"), 400, "BadRequestData")
    problem(await api.http.get("entityMaps?type=Vehicle&entityMapLifetime=1hour"), 400, "BadRequestData")


async def test_5593_01_pages_follow_the_map_and_what_no_longer_fits_leaves_it(api: Api) -> None:
    ids = await _five(api)
    first = await api.http.get("entities?type=Vehicle&entityMap=true&limit=2")
    assert first.status_code == 201
    assert "entityMap" not in first.headers["link"].partition("rel=")[0]
    follow = {MAP: first.headers[MAP]}
    await api.make("late", "Vehicle", speed=1)
    assert (await api.http.delete(f"entities/{ids[1]}")).status_code == 204
    page = await api.http.get("entities?type=Vehicle&limit=3&count=true", headers=follow)
    assert page.status_code == 200
    assert [one["id"] for one in page.json()] == [ids[0], ids[2], ids[3]]
    assert page.headers["NGSILD-Results-Count"] == "4"
    assert page.headers[MAP] == first.headers[MAP]
    rest = await api.http.get("entities?type=Vehicle&limit=3&offset=3", headers=follow)
    assert [one["id"] for one in rest.json()] == [ids[4]]
    assert 'rel="next"' not in rest.headers["link"]
    kept = await api.http.get(first.headers[MAP].removeprefix("/ngsi-ld/v1/"))
    assert list(kept.json()["entityMap"]) == [ids[0], *ids[2:]]


async def test_a_map_keeps_the_order_that_was_asked_for(api: Api) -> None:
    ids = await _five(api)
    first = await api.http.get("entities?type=Vehicle&entityMap=true&orderBy=speed;desc&limit=1")
    assert [one["id"] for one in first.json()] == [ids[4]]
    page = await api.http.get(
        "entities?type=Vehicle&orderBy=speed;desc&limit=4&offset=1", headers={MAP: first.headers[MAP]}
    )
    assert [one["id"] for one in page.json()] == list(reversed(ids[:4]))


async def test_5142_01_a_client_says_only_when_a_map_ends(api: Api) -> None:
    await _five(api)
    path = (await api.http.get("entityMaps?type=Vehicle")).headers[MAP].removeprefix("/ngsi-ld/v1/")
    fragment = {"expiresAt": "2099-01-01T00:00:00Z", "entityMap": {}}
    assert (await api.http.patch(path, json=fragment)).status_code == 204
    after = (await api.http.get(path)).json()
    assert len(after["entityMap"]) == 5
    assert after["expiresAt"] < "2026-11-24"  # a day at most
    problem(await api.http.patch(path, json={"expiresAt": "tomorrow"}), 400, "BadRequestData")
    assert (await api.http.patch(path, json={"expiresAt": "2000-01-01T00:00:00Z"})).status_code == 204
    problem(await api.http.get(path), 404, "ResourceNotFound")


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_5141_5143_what_is_no_map_is_said(api: Api, method: str) -> None:
    problem(await getattr(api.http, method)("entityMaps/not%20a%20uri"), 400, "BadRequestData")
    problem(await getattr(api.http, method)("entityMaps/urn:ngsi-ld:entitymap:x"), 404, "ResourceNotFound")


async def test_ext_map_01_02_a_query_that_names_a_map_which_lives_no_more_makes_another(api: Api) -> None:
    await _five(api)
    answer = await api.http.get("entities?type=Vehicle", headers={MAP: "/ngsi-ld/v1/entityMaps/urn:x:1"})
    assert answer.status_code == 201
    assert len(answer.json()) == 5
    assert answer.headers[MAP] != "/ngsi-ld/v1/entityMaps/urn:x:1"
    assert len((await api.http.get(answer.headers[MAP].removeprefix("/ngsi-ld/v1/"))).json()["entityMap"]) == 5


async def test_5141_02_a_map_belongs_to_its_tenant(api: Api) -> None:
    await _five(api)
    path = (await api.http.get("entityMaps?type=Vehicle")).headers[MAP].removeprefix("/ngsi-ld/v1/")
    other = {"NGSILD-Tenant": "other"}
    assert (await api.http.post("entities", json={"id": "urn:x:1", "type": "X"}, headers=other)).status_code == 201
    problem(await api.http.get(path, headers=other), 404, "ResourceNotFound")
    problem(await api.http.delete(path, headers=other), 404, "ResourceNotFound")
    assert (await api.http.delete(path)).status_code == 204
    problem(await api.http.get(path), 404, "ResourceNotFound")
