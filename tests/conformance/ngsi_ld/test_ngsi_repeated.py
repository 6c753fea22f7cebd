"""Answers that are remembered: the same as if nobody had asked before, whatever happened meanwhile."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from conftest_ngsi import Api, problem

from haechi.core.observation import Observation
from haechi.core.times import format_iso, to_us
from haechi.faces.ngsi_ld import repeated
from haechi.plugins.stores.sqlite.entities import SqliteEntities

ID = "urn:ngsi-ld:Building:1"
SHOP = "https://shop.example/context.jsonld"
LINK = {"Link": f'<{SHOP}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
LIST = "entities?type=Building&limit=2&options=keyValues"
NEXT = '</ngsi-ld/v1/entities?limit=2&offset=2&options=keyValues&type=Building>; rel="next";type="application/json"'


async def shown(api: Api) -> list[Any]:
    """What an entity and a page hold, both asked twice: what came from memory is what was read."""
    answers = []
    for path in (f"entities/{ID}?options=keyValues", LIST):
        first, second = await api.http.get(path), await api.http.get(path)
        assert (first.status_code, first.content, _told(first)) == (second.status_code, second.content, _told(second))
        answers.append(first.json() if first.status_code == 200 else first.status_code)
    return answers


def _told(response: httpx.Response) -> list[tuple[str, str]]:
    return sorted(response.headers.multi_items())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often documents have been read from the live model."""
    count = 0

    def counting(name: str) -> None:
        inner = getattr(SqliteEntities, name)

        def asked(self: SqliteEntities, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            return inner(self, *arguments)

        monkeypatch.setattr(SqliteEntities, name, asked)

    counting("load")
    counting("query")
    return lambda: count


async def test_what_nothing_changed_is_read_once(read: Callable[[], int], api: Api) -> None:
    await api.make("1", a=1)
    await shown(api)
    before = read()
    assert (await api.get(ID, options="keyValues"))["a"] == 1
    assert len((await api.http.get(LIST)).json()) == 1
    assert read() == before
    assert (await api.get(ID, options="concise"))["a"] == 1
    assert read() == before + 1, "another form is another question"


async def test_every_change_over_the_api_is_in_the_next_answer(api: Api) -> None:
    await api.make("1", a=1)
    assert await shown(api) == [(one := {"id": ID, "type": "Building", "a": 1}), [one]]
    path = f"entities/{ID}"
    for method, below, body, member in (
        ("PATCH", "/attrs", {"a": {"type": "Property", "value": 2}}, {"a": 2}),
        ("PATCH", "/attrs/a", {"value": 3}, {"a": 3}),
        ("POST", "/attrs", {"b": 4}, {"a": 3, "b": 4}),
        ("DELETE", "/attrs/b", None, {"a": 3}),
        ("PATCH", "", {"c": 5}, {"a": 3, "c": 5}),
        ("PUT", "", {"id": ID, "type": "Building", "d": 6}, {"d": 6}),
    ):
        assert (await api.http.request(method, path + below, json=body)).status_code == 204
        assert await shown(api) == [(one := {"id": ID, "type": "Building", **member}), [one]]
    batch = [{"id": ID, "type": "Building", "e": 7}]
    assert (await api.http.post("entityOperations/upsert", json=batch)).status_code == 204
    assert (await shown(api))[0] == {"id": ID, "type": "Building", "e": 7}


async def test_what_is_deleted_is_gone_and_what_is_made_anew_is_the_new_one(api: Api) -> None:
    await api.make("1", a=1)
    await shown(api)
    assert (await api.http.delete(f"entities/{ID}")).status_code == 204
    assert await shown(api) == [404, []]
    await api.make("1", b=2)
    assert (await shown(api))[0] == {"id": ID, "type": "Building", "b": 2}


async def test_what_a_device_observes_is_in_the_next_answer(api: Api) -> None:
    await api.make("1", temperature=1)
    await shown(api)
    for value in (21.5, 22.5, 23.5):  # the first goes into the document, the others beside it
        api.device(Observation(ID, "temperature", 10**15 + int(value), 10**15, value=value))
        entity, page = await shown(api)
        assert [one["temperature"] for one in (entity, *page)] == [value, value]


async def test_pages_and_their_links_follow_what_is_there(api: Api) -> None:
    await api.make("1")
    await api.make("2")
    await shown(api)
    assert NEXT not in (await api.http.get(LIST)).headers.get_list("link")
    await api.make("3")
    await shown(api)
    assert (await api.http.get(LIST)).headers.get_list("link")[0] == NEXT
    assert len((await api.http.get(LIST)).json()) == 2
    await api.http.delete("entities/urn:ngsi-ld:Building:2")
    assert [one["id"][-1] for one in (await shown(api))[1]] == ["1", "3"]
    assert NEXT not in (await api.http.get(LIST)).headers.get_list("link")


async def test_what_has_ended_is_gone(api: Api) -> None:
    await api.make("1", expiresAt=format_iso(to_us(api.clock.at) + 30 * 10**6))
    await shown(api)
    await api.clock.sleep(60)
    await api.expiry.sweep_due()
    assert await shown(api) == [404, []]


async def test_a_context_loaded_anew_names_attributes_anew_and_each_use_of_it_counts_once(api: Api) -> None:
    api.served[SHOP] = orjson.dumps({"@context": {"price": "https://shop.example/price"}})
    body = {"id": ID, "type": "Building", "price": 4}
    assert (await api.http.post("entities", json=body, headers=LINK)).status_code == 201
    path = f"jsonldContexts/{SHOP.replace('/', '%2F')}"

    async def members(*paths: str) -> list[set[str]]:
        answers = [(await api.http.get(one, headers=LINK)).json() for one in paths]
        return [set(one[0] if isinstance(one, list) else one) for one in answers]

    async def hits() -> int:
        return int((await api.http.get(path, params={"details": "true"})).json()["numberOfHits"])

    used = await hits()
    asked = (f"entities/{ID}", "entities?type=Building")
    assert await members(*asked, *asked) == [{"id", "type", "price"}] * 4
    assert await hits() == used + 5, "four questions, and the one for the count"
    api.served[SHOP] = orjson.dumps({"@context": {"cost": "https://shop.example/price"}})
    assert (await api.http.delete(path, params={"reload": "true"})).status_code == 204
    used = await hits()
    assert await members(*asked, *asked) == [{"id", "type", "cost"}] * 4
    assert await hits() == used + 5, "four questions, and the one for the count"
    assert "https://shop.example/price" in await api.get(ID), "without the context it is named in full"


async def test_tenants_snapshots_and_entity_maps_are_not_answered_from_memory_of_the_city(api: Api) -> None:
    await api.make("1", a=1)
    await shown(api)
    a = {"NGSILD-Tenant": "a"}
    body = {"id": ID, "type": "Building", "a": 2}
    assert (await api.http.post("entities", json=body, headers=a)).status_code == 201
    for path in (f"entities/{ID}?options=keyValues", LIST):
        found = (await api.http.get(path, headers=a)).json()
        assert (found if isinstance(found, dict) else found[0])["a"] == 2
    problem(await api.http.get(LIST, headers={"NGSILD-Tenant": "b"}), 404, "NonexistentTenant")
    problem(await api.http.get(LIST, headers={"NGSILD-Snapshot": "urn:x:s"}), 404, "ResourceNotFound")
    mapped = await api.http.get(LIST, headers={"NGSILD-EntityMap": "urn:x:m"})
    assert (mapped.status_code, "NGSILD-EntityMap" in mapped.headers) == (201, True)  # it makes another (5.7.2.4)
    assert (await shown(api))[0]["a"] == 1


async def test_a_source_that_registers_is_asked_and_one_that_leaves_is_not(api: Api) -> None:
    await api.make("1", a=1)
    await shown(api)
    source = {
        "id": "urn:ngsi-ld:ContextSourceRegistration:1",
        "type": "ContextSourceRegistration",
        "operations": ["retrieveEntity", "queryEntity"],
        "information": [{"entities": [{"type": "Building"}]}],
        "endpoint": "http://peer.example",
    }
    assert (await api.http.post("csourceRegistrations", json=source)).status_code == 201
    for path in (f"entities/{ID}?options=keyValues", LIST):
        asked = len(api.asked)
        await api.http.get(path)
        assert len(api.asked) > asked
    assert (await api.http.delete(f"csourceRegistrations/{source['id']}")).status_code == 204
    asked = len(api.asked)
    await shown(api)
    assert len(api.asked) == asked


async def test_headers_and_forms_are_part_of_the_question(api: Api) -> None:
    await api.make("1", a=1)
    await shown(api)
    path = f"entities/{ID}?options=keyValues"
    assert (await api.http.get(path, headers={"Accept": "application/ld+json"})).json()["@context"]
    assert (await api.http.get(path, headers={"Accept": "application/geo+json"})).json()["type"] == "Feature"
    problem(await api.http.get(path, headers={"Accept": "text/html"}), 406, "NotAcceptableMediaType")
    assert (await api.http.get(path, headers={"Prefer": "ngsi-ld=1.6"})).headers["preference-applied"] == "ngsi-ld=1.6"
    problem(await api.http.get(f"entities/{ID}?optoins=keyValues"), 400, "InvalidRequest")
    head = await api.http.head(path)
    assert (head.status_code, head.headers["content-type"]) == (200, "application/json")


async def test_ids_are_read_as_the_resource_reads_them(api: Api) -> None:
    await api.make("1")
    await api.make("urn:x:a/b")
    await shown(api)
    assert (await api.http.get("entities/urn:x:a%2Fb")).json()["id"] == "urn:x:a/b"
    assert (await api.http.get("entities/urn%3Angsi-ld%3ABuilding%3A1")).json()["id"] == ID
    problem(await api.http.get("entities/1"), 400, "BadRequestData")
    problem(await api.http.get("entities/urn:x:2"), 404, "ResourceNotFound")
    assert (await api.http.get("entities/?type=Building&limit=2")).status_code == 200


async def test_what_is_remembered_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "PLANS", 3)
    monkeypatch.setattr(repeated, "ANSWERS", 2)
    for one in range(5):
        await api.make(str(one), number=one)
    for _ in range(3):
        for one in range(5):
            assert (await api.get(f"urn:ngsi-ld:Building:{one}", options="keyValues"))["number"] == one
            found = await api.http.get("entities", params={"type": "Building", "limit": str(one + 1)})
            assert len(found.json()) == one + 1
