"""Where the specification goes before cases of ETSI's suite (docs/reference/conformance.md): what we do instead, one
test for each kind of case that therefore fails."""

from typing import Any

import pytest
from conftest_ngsi import Api, problem
from conftest_temporal import Evolving

CONTEXT = "https://gimpo.example/context.jsonld"
LINK = {"Link": f'<{CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
LD = {"Content-Type": "application/ld+json"}
BUS = "urn:ngsi-ld:Bus:1"
TOLD = {"endpoint": {"uri": "http://listener.example/notify", "accept": "application/json"}}


async def register(api: Api, number: int, entities: list[dict[str, str]], **members: Any) -> Any:
    """`attributes`: of the entities; other members as they stand in the registration."""
    names = {"propertyNames": members.pop("attributes")} if "attributes" in members else {}
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{number}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": entities, **names}],
        "endpoint": "http://elsewhere.example",
        **members,
    }
    return await api.http.post("csourceRegistrations", json=body)


@pytest.mark.parametrize(
    ("entity", "attributes"),
    [({"idPattern": "urn:ngsi-ld:Bus:.*"}, {"attributes": ["speed"]}), ({"id": BUS}, {})],
)
async def test_an_exclusive_source_names_one_entity_and_attributes_033_01_02_d001_02_exc_d012_01_exc(
    api: Api, entity: dict[str, str], attributes: dict[str, list[str]]
) -> None:
    wrong = await register(api, 1, [{"type": "Bus", **entity}], mode="exclusive", **attributes)
    problem(wrong, 400, "BadRequestData")


async def test_the_id_of_an_entity_in_a_registration_is_a_uri_d012_01_red(api: Api) -> None:
    wrong = await register(api, 1, [{"type": "Bus", "id": "entity_pattern=urn:ngsi-ld:Bus:*"}])
    assert "entity_pattern" in problem(wrong, 400, "BadRequestData")


async def test_two_sources_do_not_share_an_id_d009_01_red_d013_01_red(api: Api) -> None:
    assert (await register(api, 1, [{"type": "Bus"}], mode="redirect")).status_code == 201
    second = await register(api, 1, [{"type": "Bus"}], mode="redirect", endpoint="http://other.example")
    problem(second, 409, "AlreadyExists")


@pytest.mark.parametrize(("mode", "attributes"), [("exclusive", {"attributes": ["speed"]}), ("redirect", {})])
async def test_what_is_here_cannot_be_elsewhere_as_well_d005_01_exc_d006_01_red(
    api: Api, mode: str, attributes: dict[str, list[str]]
) -> None:
    await api.make(BUS, "Bus", speed=30)
    refused = await register(api, 1, [{"type": "Bus", "id": BUS}], mode=mode, **attributes)
    assert BUS in problem(refused, 409, "Conflict")


async def test_json_ld_has_its_context_in_the_body_d011_03_inc_02(api: Api) -> None:
    query = {"type": "Query", "entities": [{"type": "Bus"}]}
    problem(await api.http.post("entityOperations/query", json=query, headers={**LD, **LINK}), 400, "BadRequestData")


async def test_an_instance_that_is_not_here_is_not_updated_with_another_d005_01_inc_d009_01_inc(api: Api) -> None:
    speed = {"type": "Property", "value": 56, "datasetId": "urn:ngsi-ld:Dataset:radar"}
    await api.make(BUS, "Bus", speed=speed)
    plain = {"type": "Property", "value": 99}
    for method in ("PATCH", "PUT"):
        problem(await api.http.request(method, f"entities/{BUS}/attrs/speed", json=plain), 404, "ResourceNotFound")
    assert (await api.get(BUS))["speed"] == speed


async def test_a_term_without_a_context_is_that_of_the_default_context_d003_01_exc_047_16(api: Api) -> None:
    await api.http.post("entities", json={"id": BUS, "type": "Bus", "speed": 30}, headers=LINK)
    assert (await api.http.post(f"entities/{BUS}/attrs", json={"speed": 99})).status_code == 204
    found = (await api.http.get(f"entities/{BUS}", params={"options": "keyValues"})).json()
    assert (found["speed"], found["https://gimpo.example/terms#speed"]) == (99, 30)


async def test_a_bare_name_in_q_asks_whether_the_attribute_is_there_038_08_03(api: Api) -> None:
    body = {"type": "Subscription", "entities": [{"type": "Bus"}], "q": "speed", "notification": TOLD}
    assert (await api.http.post("csourceSubscriptions", json=body)).status_code == 201


async def test_who_watches_another_type_is_told_nothing_047_02_047_04_047_08(api: Api) -> None:
    body = {"type": "Subscription", "entities": [{"type": "Tram"}], "notification": TOLD}
    assert (await api.http.post("csourceSubscriptions", json=body)).status_code == 201
    assert (await register(api, 1, [{"type": "Bus"}])).status_code == 201
    assert api.sent == []


async def test_a_polygon_is_a_list_of_rings_037_07_02(api: Api) -> None:
    place = {"georel": "within", "geometry": "Polygon", "coordinates": "[[0,0],[2,0],[2,2],[0,2],[0,0]]"}
    problem(await api.http.get("csourceRegistrations", params=place), 400, "BadRequestData")
    ring = {**place, "coordinates": "[[[0,0],[2,0],[2,2],[0,2],[0,0]]]"}
    assert (await api.http.get("csourceRegistrations", params=ring)).status_code == 200


async def test_ids_in_a_search_for_sources_are_those_of_entities_037_10_01(api: Api) -> None:
    await register(api, 1, [{"type": "Bus", "id": BUS}])
    by_entity = await api.http.get("csourceRegistrations", params={"id": BUS})
    assert [one["id"] for one in by_entity.json()] == ["urn:ngsi-ld:ContextSourceRegistration:1"]
    own = {"id": "urn:ngsi-ld:ContextSourceRegistration:1"}
    assert (await api.http.get("csourceRegistrations", params=own)).json() == []


@pytest.mark.parametrize("path", ["csourceRegistrations", "csourceSubscriptions"])
async def test_a_link_to_another_page_says_what_that_page_is_037_11_041_03(api: Api, path: str) -> None:
    for number in (1, 2):
        await register(api, number, [{"type": "Bus"}])
        body = {"type": "Subscription", "entities": [{"type": "Bus"}], "notification": TOLD}
        await api.http.post("csourceSubscriptions", json=body)
    for accept, media in (("*/*", "application/json"), ("application/ld+json", "application/ld+json")):
        wanted = {"limit": "1", **({"type": "Bus"} if path == "csourceRegistrations" else {})}
        answer = await api.http.get(path, params=wanted, headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == media
        assert f'rel="next";type="{media}"' in answer.headers["link"]


async def test_a_body_without_a_media_type_is_not_read_039_05(api: Api) -> None:
    body = {"id": "urn:ngsi-ld:Subscription:1", "type": "Subscription", "entities": [{"type": "Bus"}]}
    await api.http.post("csourceSubscriptions", json={**body, "notification": TOLD})
    wrong = await api.http.patch("csourceSubscriptions/urn:ngsi-ld:Subscription:1", content=b'{"q":,,}')
    problem(wrong, 415, "UnsupportedMediaType")


async def test_a_query_of_the_past_is_ordered_by_ids_only_021_23(evolving: Evolving) -> None:
    asked = {"type": "Bus", "timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "orderBy": "name"}
    problem(await evolving.http.get("temporal/entities", params=asked), 400, "BadRequestData")


async def test_a_purge_by_ids_alone_is_too_wide_060_05(api: Api) -> None:
    await api.make(BUS, "Bus", speed=30)
    problem(await api.http.delete("entities", params={"id": BUS, "keep": "speed"}), 400, "BadRequestData")
    assert (await api.get(BUS))["speed"]["value"] == 30
