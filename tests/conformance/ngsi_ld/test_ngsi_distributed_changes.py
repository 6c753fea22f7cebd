"""Changes over several sources (clauses 4.3.6, 5.6, 6.3.17; ETSI cases D001 to D018, 436, 5614)."""

from typing import Any

import orjson
import pytest
from conftest_distributed import BUS, SECOND, answer, asked, here, register, remote
from conftest_ngsi import Api, problem


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
