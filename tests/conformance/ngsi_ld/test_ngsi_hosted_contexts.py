"""/jsonldContexts (clause 5.13; ETSI 050 to 053, 5132, 5134, 5135) and contexts that are downloaded."""

from typing import Any

import orjson
import pytest
from conftest_ngsi import CITY, Api, problem

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
    assert details["numberOfHits"] == 2  # served, then used
    assert (await api.http.get(f"jsonldContexts/{id}", params={"details": "true"})).json()["numberOfHits"] == 2


@pytest.mark.parametrize("body", [{}, [], {"@context": 7}, {"@context": {"a": 7}}, {"@context": {"a": {"@id": []}}}])
async def test_050_02_what_is_no_context_is_not_hosted(api: Api, body: Any) -> None:
    wrong = "BadRequestData" if "@context" in body else "InvalidRequest"
    problem(await api.http.post("jsonldContexts", json=body), 400, wrong)
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
    assert SHOP in problem(answer, 400, "BadRequestData")
    assert (await api.http.get("jsonldContexts")).json() == []


async def test_051_08_09_the_core_context_is_known_and_stays(api: Api) -> None:
    core = "jsonldContexts/https:%2F%2Furi.etsi.org%2Fngsi-ld%2Fv1%2Fngsi-ld-core-context-v1.9.jsonld"
    assert (await api.http.get(core, params={"details": "true"})).json()["kind"] == "Cached"
    problem(await api.http.delete(core), 400, "BadRequestData")
    assert (await api.http.delete(core, params={"reload": "true"})).status_code == 204


async def test_051_04_reload_of_what_is_not_there_is_a_bad_request(api: Api) -> None:
    for reload, status, name in (
        ("true", 400, "BadRequestData"),
        ("maybe", 400, "BadRequestData"),
        ("false", 404, "ResourceNotFound"),
    ):
        problem(await api.http.delete("jsonldContexts/other", params={"reload": reload}), status, name)


async def test_052_07_a_context_the_city_brings_along_is_listed_once_it_is_used(api: Api) -> None:
    assert (await api.http.get("jsonldContexts")).json() == []
    link = {"Link": f'<{CITY}>; rel="http://www.w3.org/ns/json-ld#context"'}
    await api.http.get("entities?type=Bus", headers=link)
    assert (await api.http.get("jsonldContexts?kind=Cached")).json() == [CITY]
    path = f"jsonldContexts/{CITY.replace('/', '%2F')}"
    assert (await api.http.delete(path, params={"reload": "true"})).status_code == 204
    assert (await api.http.delete(path)).status_code == 204
    assert (await api.http.get("entities?type=Bus", headers=link)).status_code == 200


async def test_050_03_a_context_without_a_url_of_its_own_is_stored_for_a_subscription(api: Api) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Shop"}],
        "notification": {"endpoint": {"uri": "http://a.b.c/"}},
        "@context": [SHOP_TERMS["@context"], CITY],
    }
    made = await api.http.post("subscriptions", json=body, headers={"Content-Type": "application/ld+json"})
    assert made.status_code == 201, made.text
    kept = (await api.http.get(made.headers["location"].removeprefix("/ngsi-ld/v1/"))).json()
    assert (await api.http.get("jsonldContexts?kind=ImplicitlyCreated")).json() == [kept["jsonldContext"]]
    served = (await api.http.get(kept["jsonldContext"])).json()
    assert served == {"@context": body["@context"]}


async def test_a_context_that_includes_itself_is_refused(api: Api) -> None:
    api.served[SHOP] = orjson.dumps({"@context": [SHOP]})
    answer = await api.http.get("entities", params={"type": "Shop"}, headers={"Link": LINK})
    problem(answer, 400, "BadRequestData")


async def test_stored_contexts_are_there_after_a_restart(api: Api) -> None:
    id = await host(api, SHOP_TERMS)
    again = api.reopened_contexts()
    assert again.get(id).body == SHOP_TERMS
