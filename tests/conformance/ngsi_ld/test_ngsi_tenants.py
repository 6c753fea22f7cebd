"""Tenants (clauses 4.14, 5.5.10, 6.3.14): what one of them stores, no other sees."""

import asyncio
from typing import Any

from conftest_ngsi import Api, problem

A, B = {"NGSILD-Tenant": "a"}, {"NGSILD-Tenant": "b"}
ID = "urn:ngsi-ld:Building:17"


async def _create(api: Api, headers: dict[str, str], value: int = 1) -> None:
    body = {"id": ID, "type": "Building", "floors": {"type": "Property", "value": value}}
    response = await api.http.post("entities", json=body, headers=headers)
    assert response.status_code == 201, response.text


async def _sent(api: Api, count: int) -> None:
    async with asyncio.timeout(30):
        while len(api.sent) < count:  # noqa: ASYNC110 - the face under test has no event for it
            await asyncio.sleep(0.01)


async def _subscribe(api: Api, headers: dict[str, str], uri: str) -> Any:
    body = {
        "id": "urn:ngsi-ld:Subscription:s",
        "type": "Subscription",
        "entities": [{"type": "Building"}],
        "notification": {"endpoint": {"uri": uri}},
    }
    return await api.http.post("subscriptions", json=body, headers=headers)


async def test_414_01_01_an_entity_of_a_tenant_is_seen_by_its_tenant_only(api: Api) -> None:
    await _create(api, A)
    assert (await api.http.get(f"entities/{ID}", headers=A)).json()["floors"]["value"] == 1
    problem(await api.http.get(f"entities/{ID}"), 404, "ResourceNotFound")
    assert await api.ids(type="Building") == []
    assert await api.ids(q="floors==1") == []
    assert await api.ids(local="true") == []
    assert (await api.http.get("types")).json()["typeList"] == []
    await _create(api, B, 2)
    await _create(api, {}, 3)
    for headers, value in ((A, 1), (B, 2), ({}, 3)):
        for query in ("type=Building", "q=floors>0", "local=true", f"type=Building&id={ID}", "type=*&idPattern=^urn:"):
            found = (await api.http.get(f"entities?{query}", headers=headers)).json()
            assert [(one["id"], one["type"], one["floors"]["value"]) for one in found] == [(ID, "Building", value)]
        assert (await api.http.get("types", headers=headers)).json()["typeList"] == ["Building"]


async def test_changes_and_deletions_stay_within_the_tenant(api: Api) -> None:
    for headers in (A, B, {}):
        await _create(api, headers)
    assert (await api.http.patch(f"entities/{ID}/attrs", json={"floors": 9}, headers=A)).status_code == 204
    assert (await api.http.delete(f"entities/{ID}", headers=B)).status_code == 204
    assert (await api.http.get(f"entities/{ID}", headers=A)).json()["floors"]["value"] == 9
    assert (await api.http.get(f"entities/{ID}", headers=B)).status_code == 404
    assert (await api.get(ID))["floors"]["value"] == 1


async def test_5510_01_only_what_stores_something_makes_a_tenant(api: Api) -> None:
    for path in ("entities?type=Building", f"entities/{ID}", "types", "subscriptions"):
        response = await api.http.get(path, headers=A)
        problem(response, 404, "NonexistentTenant")
        assert response.headers["NGSILD-Tenant"] == "a"
    problem(await api.http.post("entities", json={"id": "no uri"}, headers=A), 400, "BadRequestData")
    problem(await api.http.get("entities?type=Building", headers=A), 404, "NonexistentTenant")
    problem(await api.http.patch(f"entities/{ID}", json={"a": 1}, headers=A), 404, "NonexistentTenant")
    await _create(api, A)
    assert (await api.http.get("entities?type=Building", headers=A)).status_code == 200
    problem(await api.http.get("entities?type=Building", headers={"NGSILD-Tenant": "a b"}), 400, "BadRequestData")


async def test_subscriptions_of_tenants_may_share_an_id_and_hear_their_own_tenant_only(api: Api) -> None:
    running = asyncio.create_task(api.notifier.run())
    for headers, uri in ((A, "http://a/"), (B, "http://b/"), ({}, "http://c/")):
        assert (await _subscribe(api, headers, uri)).status_code == 201
    await _create(api, A, 5)
    await _sent(api, 1)
    await _create(api, {}, 6)
    await _sent(api, 2)
    running.cancel()
    assert [(uri, body["data"][0]["floors"]["value"]) for uri, _, body in api.sent] == [
        ("http://a/", 5),
        ("http://c/", 6),
    ]
    assert api.sent[0][1]["NGSILD-Tenant"] == "a"
    assert "NGSILD-Tenant" not in api.sent[1][1]
    assert api.sent[0][2]["data"][0]["id"] == ID
    assert (await api.http.delete("subscriptions/urn:ngsi-ld:Subscription:s", headers=A)).status_code == 204
    assert len((await api.http.get("subscriptions", headers=A)).json()) == 0
    assert len((await api.http.get("subscriptions", headers=B)).json()) == 1


async def test_5134_01_a_hosted_context_belongs_to_its_tenant(api: Api) -> None:
    added = await api.http.post("jsonldContexts", json={"@context": {"x": "https://a.example/x"}}, headers=A)
    assert added.status_code == 201
    path = added.headers["location"].removeprefix("/ngsi-ld/v1/")
    assert (await api.http.get(path, headers=A)).status_code == 200
    problem(await api.http.get(path), 404, "ResourceNotFound")
    problem(await api.http.delete(path), 404, "ResourceNotFound")
    assert (await api.http.get("jsonldContexts")).json() == []
    assert len((await api.http.get("jsonldContexts", headers=A)).json()) == 1


async def test_what_a_tenant_stores_is_an_observation_of_nothing_in_the_city(api: Api) -> None:
    await _create(api, A)
    assert [one.entity for one in api.observed] == ["@:a:@urn:ngsi-ld:Building:17"]
    assert api.frames[-1].commands[0].entity == "@:a:@urn:ngsi-ld:Building:17"


async def test_a_tenant_is_there_after_a_restart(api: Api) -> None:
    await _create(api, A)
    assert api.reopened_tenants().knows("a")
    assert not api.reopened_tenants().knows("b")
