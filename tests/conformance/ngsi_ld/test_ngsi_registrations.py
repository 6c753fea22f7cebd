"""Registrations of context sources and who watches them (clauses 5.2.9, 4.3.6.3, 5.9 to 5.12; ETSI cases 033 to 042,
047, 436_03, 51024, 5234, 5922)."""

import asyncio
from typing import Any

import pytest
from conftest_ngsi import Api, problem

from haechi.core.errors import InvalidData
from haechi.services.registrations.matching import Wanted, parts
from haechi.services.registrations.model import compile_registration, internal_names

REGISTRATION = {
    "id": "urn:ngsi-ld:ContextSourceRegistration:1",
    "type": "ContextSourceRegistration",
    "information": [{"entities": [{"type": "Bus"}]}],
    "endpoint": "http://elsewhere.example",
}
ONE = "csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1"


async def register(api: Api, number: int = 1, status: int = 201, **members: Any) -> Any:
    body = {**REGISTRATION, "id": f"urn:ngsi-ld:ContextSourceRegistration:{number}", **members}
    response = await api.http.post("csourceRegistrations", json=body)
    assert response.status_code == status, response.text
    return response


def some(**entity: Any) -> list[dict[str, Any]]:
    return [{"entities": [{"type": "Bus", **entity}]}]


async def test_a_registration_is_there_with_its_defaults_until_it_is_deleted_033_01_035_01_036_04(api: Api) -> None:
    made = await register(api)
    assert made.headers["location"] == f"/ngsi-ld/v1/{ONE}"
    found = (await api.http.get(ONE)).json()
    assert found == {**REGISTRATION, "mode": "inclusive", "operations": ["federationOps"]}
    await register(api, status=409)
    assert (await api.http.delete(ONE)).status_code == 204
    problem(await api.http.get(ONE), 404, "ResourceNotFound")


async def test_names_are_told_in_the_terms_of_who_reads_033_04_036_05(api: Api) -> None:
    link = '<https://gimpo.example/context.jsonld>; rel="http://www.w3.org/ns/json-ld#context"'
    await api.http.post("csourceRegistrations", json=REGISTRATION, headers={"Link": link})
    plain = (await api.http.get(ONE)).json()
    assert plain["information"][0]["entities"][0]["type"] == "https://gimpo.example/terms#Bus"
    assert (await api.http.get(ONE, headers={"Link": link})).json()["information"] == REGISTRATION["information"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "building"},
        {"endpoint": "ftp://elsewhere.example"},
        {"endpoint": None},
        {"information": []},
        {"information": [{}]},
        {"information": [{"entities": [{"type": "Bus", "idPattern": "("}]}]},
        {"expiresAt": "2018-11-29T14:53:15Z"},
        {"expiresAt": "2030-01-01T00:00:00+01:00"},
        {"mode": "sometimes"},
        {"operations": ["teleportEntity"]},
        {"mode": "auxiliary", "operations": ["updateEntity"]},
        {"mode": "exclusive", "information": some(id="urn:ngsi-ld:Bus:1")},
        {"mode": "exclusive", "information": [{**some()[0], "propertyNames": ["speed"]}]},
        {"mode": "exclusive", "information": [{**some(idPattern=".*")[0], "propertyNames": ["speed"]}]},
        {"contextSourceInfo": [{"key": "X-Custom", "value": 1}]},
        {"contextSourceInfo": [{"key": "X-Custom"}]},
        {"contextSourceInfo": [{"key": "X-Custom", "value": "a\r\nHost: b"}]},
        {"management": "yes"},
        {"management": {"cacheDuration": "bogus"}},
        {"management": {"cacheDuration": None}},
        {"management": {"cooldown": 0}},
        {"management": {"timeout": -5}},
        {"management": {"localOnly": "yes"}},
        {"location": {"type": "Point", "coordinates": [1]}},
        {"scope": "no slash"},
        {"observationInterval": {"endAt": "2020-01-01T00:00:00Z"}},
    ],
)
async def test_what_is_no_registration_is_refused_033_02_033_10_033_12_5234_5922_436_03(
    api: Api, wrong: dict[str, Any]
) -> None:
    problem(await register(api, 1, 400, **wrong), 400, "BadRequestData")
    problem(await api.http.get(ONE), 404, "ResourceNotFound")


async def test_members_given_replace_those_there_and_null_removes_034(api: Api) -> None:
    await register(api, expiresAt="2035-11-29T14:53:15Z", description="old")
    assert (await api.http.patch(ONE, json={"expiresAt": None, "description": "new"})).status_code == 204
    found = (await api.http.get(ONE)).json()
    assert "expiresAt" not in found
    assert found["description"] == "new"
    problem(await api.http.patch(ONE, json={"information": None}), 400, "BadRequestData")
    problem(await api.http.patch(ONE, json={"type": "building"}), 400, "BadRequestData")


async def test_what_is_exclusive_has_one_source_and_redirects_may_overlap_436_03(api: Api) -> None:
    speed = [{**some(id="urn:ngsi-ld:Bus:1")[0], "propertyNames": ["speed"]}]
    await register(api, mode="exclusive", information=speed)
    problem(await register(api, 2, 409, mode="exclusive", information=speed), 409, "Conflict")
    problem(await register(api, 2, 409, mode="redirect"), 409, "Conflict")
    await register(api, 3, mode="inclusive")
    await api.http.delete(ONE)
    await register(api, 4, mode="redirect")
    await register(api, 5, mode="redirect")


async def test_what_is_held_here_cannot_be_registered_as_held_elsewhere_5922(api: Api) -> None:
    await api.make("1", "Bus", speed=40)
    problem(await register(api, 1, 409, mode="redirect"), 409, "Conflict")
    exclusive = [{**some(id="urn:ngsi-ld:Bus:1")[0], "propertyNames": ["speed"]}]
    problem(await register(api, 1, 409, mode="exclusive", information=exclusive), 409, "Conflict")
    await register(api, information=exclusive)
    problem(await api.http.patch(ONE, json={"mode": "exclusive"}), 409, "Conflict")
    await register(api, 2, mode="exclusive", information=[{**exclusive[0], "propertyNames": ["doors"]}])


async def found(api: Api, **parameters: str) -> list[str]:
    response = await api.http.get("csourceRegistrations", params=parameters)
    assert response.status_code == 200, response.text
    return [one["id"].rpartition(":")[2] for one in response.json()]


async def test_sources_are_found_by_what_they_may_have_037_51024(api: Api) -> None:
    await register(api, 1, information=some(id="urn:ngsi-ld:Bus:1"), scope="/gimpo/janggi", colour="red")
    await register(api, 2, information=[{**some(idPattern="^urn:ngsi-ld:Bus:9")[0], "propertyNames": ["speed"]}])
    await register(api, 3, information=[{"propertyNames": ["name"]}])
    place = {"type": "Point", "coordinates": [126.7, 37.6]}
    await register(api, 4, location=place, endpoint="http://near.example")
    await register(api, 5, observationInterval={"startAt": "2020-08-01T22:07:00Z", "endAt": "2021-08-01T21:07:00Z"})
    assert await found(api, type="Bus") == ["1", "2", "3", "4"]
    assert await found(api, type="Ship") == ["3"]
    assert await found(api, type="Bus", id="urn:ngsi-ld:Bus:99") == ["2", "3", "4"]
    assert await found(api, type="Bus", idPattern="Bus:1$") == ["1", "2", "3", "4"]
    assert await found(api, type="Bus", idPattern="Bus:7$") == ["2", "3", "4"]
    assert await found(api, attrs="speed") == ["1", "2", "4"]
    assert await found(api, csf='colour=="red"') == ["1"]
    assert await found(api, type="Bus", csf='endpoint=="http://near.example"') == ["4"]
    assert await found(api, type="Bus", scopeQ="/gimpo/#") == ["1"]
    near = {"georel": "near;maxDistance==2000", "geometry": "Point", "coordinates": "[126.7,37.601]"}
    assert await found(api, type="Bus", **near) == ["4"]
    assert await found(api, type="Bus", timerel="before", timeAt="2021-08-01T22:00:00Z") == ["5"]
    assert await found(api, type="Bus", timerel="after", timeAt="2022-08-01T22:00:00Z") == []
    assert await found(api, type="Bus", limit="1", offset="2") == ["3"]


@pytest.mark.parametrize(
    "asked",
    [{}, {"id": "invalid"}, {"type": "Bus", "q": "(a"}, {"type": "Bus", "georel": "within"}, {"timerel": "before"}],
)
async def test_a_question_for_sources_that_makes_no_sense_is_refused_037_02_037_03(
    api: Api, asked: dict[str, str]
) -> None:
    problem(await api.http.get("csourceRegistrations", params=asked), 400, "BadRequestData")


async def test_an_expired_registration_counts_as_deleted_and_a_restart_keeps_the_others(api: Api) -> None:
    await register(api, 1, expiresAt="2026-11-22T10:00:00Z")
    await register(api, 2)
    await api.clock.sleep(3600)
    assert await found(api, type="Bus") == ["2"]
    problem(await api.http.get(ONE), 404, "ResourceNotFound")
    reopened = api._made_sources("")
    assert [one.id for one in reopened.registry.living(0)] == [
        f"urn:ngsi-ld:ContextSourceRegistration:{number}" for number in (1, 2)
    ]


def test_two_patterns_may_have_something_in_common_and_an_id_outside_a_pattern_has_not() -> None:
    document = internal_names({**REGISTRATION, "information": some(idPattern="^urn:ngsi-ld:Bus:sk")}, str)
    registration = compile_registration(document)
    assert parts(registration, Wanted(pattern="Bus:hu"))
    assert not parts(registration, Wanted(ids=("urn:ngsi-ld:Bus:hu:1",)))
    assert parts(registration, Wanted(ids=("urn:ngsi-ld:Bus:hu:1", "urn:ngsi-ld:Bus:sk:1")))[0].ids == (
        "urn:ngsi-ld:Bus:sk:1",
    )
    assert not parts(registration, Wanted(types=("Ship",)))
    with pytest.raises(InvalidData):
        compile_registration({**document, "refreshRate": "soon"})


# --- subscriptions to registrations ---

WATCH = {
    "id": "urn:ngsi-ld:Subscription:w",
    "type": "Subscription",
    "entities": [{"type": "Bus"}],
    "notification": {"endpoint": {"uri": "http://watcher.example/"}},
}


async def told(api: Api, count: int) -> list[tuple[str, list[str]]]:
    """Trigger reasons and registrations of the notifications so far, once there are so many."""
    for _ in range(500):
        if len(api.sent) >= count:
            break
        await asyncio.sleep(0.01)
    bodies = [body for uri, _, body in api.sent if uri == "http://watcher.example/"]
    return [(one["triggerReason"], [each["id"].rpartition(":")[2] for each in one["data"]]) for one in bodies]


async def test_a_watcher_is_told_what_matches_what_changes_and_what_goes_047(api: Api) -> None:
    await register(api, 1)
    assert (await api.http.post("csourceSubscriptions", json=WATCH)).status_code == 201
    assert await told(api, 1) == [("newlyMatching", ["1"])]
    await register(api, 2, information=[{"entities": [{"type": "Ship"}]}, {"entities": [{"type": "Bus"}]}])
    await register(api, 3, information=[{"entities": [{"type": "Ship"}]}])
    await told(api, 2)
    assert api.sent[1][2]["data"][0]["information"] == [{"entities": [{"type": "Bus"}]}]
    await api.http.patch(ONE, json={"description": "more"})
    await told(api, 3)
    await api.http.patch(ONE, json={"information": [{"entities": [{"type": "Ship"}]}]})
    await told(api, 4)
    await api.http.delete("csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:2")
    assert (await told(api, 5))[1:] == [
        ("newlyMatching", ["2"]),
        ("updated", ["1"]),
        ("noLongerMatching", ["1"]),
        ("noLongerMatching", ["2"]),
    ]
    kept = (await api.http.get("csourceSubscriptions/urn:ngsi-ld:Subscription:w")).json()
    assert (kept["status"], kept["notification"]["timesSent"]) == ("active", 5)
    assert (await api.http.delete("csourceSubscriptions/urn:ngsi-ld:Subscription:w")).status_code == 204
    problem(await api.http.get("csourceSubscriptions/urn:ngsi-ld:Subscription:w"), 404, "ResourceNotFound")


async def test_a_changed_watcher_is_told_anew_and_a_paused_one_nothing_039_047_07(api: Api) -> None:
    await register(api, 1)
    await register(api, 2, information=[{"entities": [{"type": "Ship"}]}])
    await api.http.post("csourceSubscriptions", json={**WATCH, "isActive": False})
    path = "csourceSubscriptions/urn:ngsi-ld:Subscription:w"
    assert (await api.http.get(path)).json()["status"] == "paused"
    changed = {"isActive": True, "entities": [{"type": "Ship"}]}
    assert (await api.http.patch(path, json=changed)).status_code == 204
    assert await told(api, 1) == [("newlyMatching", ["2"])]
    problem(await api.http.post("csourceSubscriptions", json=WATCH), 409, "AlreadyExists")
    listed = (await api.http.get("csourceSubscriptions", params={"count": "true"})).headers
    assert listed["ngsild-results-count"] == "1"
    await api.http.delete(path)


async def test_credentials_for_a_source_are_not_told_to_watchers(api: Api) -> None:
    await register(api, contextSourceInfo=[{"key": "Authorization", "value": "Bearer s3cret"}])
    await api.http.post("csourceSubscriptions", json=WATCH)
    await told(api, 1)
    assert "s3cret" not in str(api.sent)
    await api.http.delete("csourceSubscriptions/urn:ngsi-ld:Subscription:w")
