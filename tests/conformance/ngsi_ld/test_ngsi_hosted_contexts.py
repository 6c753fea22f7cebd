"""/jsonldContexts (clause 5.13; ETSI 050 to 053, 5132, 5134, 5135) and contexts that are downloaded."""

import orjson
import pytest
from conftest_ngsi import Api, problem

SHOP = "http://shop.example/context.jsonld"
MORE = "http://shop.example/more.jsonld"
SHOP_TERMS = {"@context": {"shop": "https://shop.example/terms#", "price": "shop:price", "Shop": "shop:Shop"}}
LINK = f'<{SHOP}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


async def host(api: Api, document: object) -> str:
    answer = await api.http.post("jsonldContexts", json=document)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rpartition("/")[2]


async def test_050_01_a_hosted_context_is_served_as_it_was_given_and_names_mean_what_it_says(api: Api) -> None:
    id = await host(api, SHOP_TERMS)
    served = await api.http.get(f"jsonldContexts/{id}")
    assert (served.status_code, served.json()) == (200, SHOP_TERMS)
    link = f'<http://haechi/ngsi-ld/v1/jsonldContexts/{id}>; rel="http://www.w3.org/ns/json-ld#context"'
    await api.http.post(
        "entities", json={"id": "urn:ngsi-ld:Shop:1", "type": "Shop", "price": 4}, headers={"Link": link}
    )
    plain = await api.get("urn:ngsi-ld:Shop:1")
    assert plain["type"] == "https://shop.example/terms#Shop"
    details = (await api.http.get(f"jsonldContexts/{id}", params={"details": "true"})).json()
    assert details["kind"] == "Hosted"
    assert details["localId"] == id
    assert details["numberOfHits"] == 1


@pytest.mark.parametrize("body", [{}, [], {"@context": 7}, {"@context": {"a": 7}}, {"@context": {"a": {"@id": []}}}])
async def test_050_02_what_is_no_context_is_not_hosted(api: Api, body: object) -> None:
    problem(await api.http.post("jsonldContexts", json=body), 400, "BadRequestData")
    assert (await api.http.get("jsonldContexts")).json() == []


async def test_051_a_deleted_context_is_gone_for_names_too(api: Api) -> None:
    id = await host(api, SHOP_TERMS)
    assert (await api.http.delete(f"jsonldContexts/{id}")).status_code == 204
    problem(await api.http.get(f"jsonldContexts/{id}"), 404, "ResourceNotFound")
    problem(await api.http.delete(f"jsonldContexts/{id}"), 404, "ResourceNotFound")
    link = f'<http://haechi/ngsi-ld/v1/jsonldContexts/{id}>; rel="http://www.w3.org/ns/json-ld#context"'
    gone = await api.http.get("entities", params={"type": "Shop"}, headers={"Link": link})
    assert id in problem(gone, 504, "LdContextNotAvailable")


async def test_052_contexts_are_listed_by_kind(api: Api) -> None:
    id = await host(api, SHOP_TERMS)
    api.served[SHOP] = orjson.dumps(SHOP_TERMS)
    await api.http.get("entities", params={"type": "Shop"}, headers={"Link": LINK})
    listed = (await api.http.get("jsonldContexts")).json()
    assert sorted(listed) == sorted([f"http://haechi/ngsi-ld/v1/jsonldContexts/{id}", SHOP])
    assert (await api.http.get("jsonldContexts", params={"kind": "Cached"})).json() == [SHOP]
    assert (await api.http.get("jsonldContexts", params={"kind": "ImplicitlyCreated"})).json() == []
    problem(await api.http.get("jsonldContexts", params={"kind": "Other"}), 400, "BadRequestData")
    problem(await api.http.get("jsonldContexts", params={"details": "maybe"}), 400, "BadRequestData")


async def test_053_a_downloaded_context_is_used_again_and_survives_its_server(api: Api) -> None:
    api.served[SHOP] = orjson.dumps({"@context": [MORE, SHOP_TERMS["@context"]]})
    api.served[MORE] = orjson.dumps({"@context": {"size": "https://more.example/size"}})
    body = {"id": "urn:ngsi-ld:Shop:1", "type": "Shop", "price": 4, "size": 2}
    assert (await api.http.post("entities", json=body, headers={"Link": LINK})).status_code == 201
    api.served.clear()
    shown = (await api.http.get("entities/urn:ngsi-ld:Shop:1", headers={"Link": LINK})).json()
    assert (shown["type"], shown["price"]["value"], shown["size"]["value"]) == ("Shop", 4, 2)
    assert "https://more.example/size" in await api.get("urn:ngsi-ld:Shop:1")
    problem(await api.http.get(f"jsonldContexts/{SHOP.replace('/', '%2F')}"), 422, "OperationNotSupported")


async def test_5135_a_copy_is_downloaded_anew_and_kept_when_that_fails(api: Api) -> None:
    api.served[SHOP] = orjson.dumps(SHOP_TERMS)
    await api.http.get("entities", params={"type": "Shop"}, headers={"Link": LINK})
    path = f"jsonldContexts/{SHOP.replace('/', '%2F')}"
    api.served[SHOP] = orjson.dumps({"@context": {"price": "https://new.example/price"}})
    assert (await api.http.delete(path, params={"reload": "true"})).status_code == 204
    await api.http.post("entities", json={"id": "urn:x:1", "type": "T", "price": 1}, headers={"Link": LINK})
    assert "https://new.example/price" in await api.get("urn:x:1")
    api.served.clear()
    assert SHOP in problem(await api.http.delete(path, params={"reload": "true"}), 504, "LdContextNotAvailable")
    assert (await api.http.get("entities/urn:x:1", headers={"Link": LINK})).json()["price"]["value"] == 1
    hosted = await host(api, SHOP_TERMS)
    problem(await api.http.delete(f"jsonldContexts/{hosted}", params={"reload": "true"}), 400, "BadRequestData")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"@context": {"a": 7}}'])
async def test_what_is_served_but_is_no_context_is_never_kept(api: Api, content: bytes) -> None:
    api.served[SHOP] = content
    answer = await api.http.get("entities", params={"type": "Shop"}, headers={"Link": LINK})
    assert SHOP in problem(answer, 504, "LdContextNotAvailable")
    assert (await api.http.get("jsonldContexts")).json() == []


async def test_a_context_that_includes_itself_is_refused(api: Api) -> None:
    api.served[SHOP] = orjson.dumps({"@context": [SHOP]})
    answer = await api.http.get("entities", params={"type": "Shop"}, headers={"Link": LINK})
    problem(answer, 400, "BadRequestData")


async def test_stored_contexts_are_there_after_a_restart(api: Api) -> None:
    id = await host(api, SHOP_TERMS)
    again = api.reopened_contexts()
    assert again.get(id).body == SHOP_TERMS
