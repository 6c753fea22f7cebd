"""Entities and attributes that end (clauses 4.22, 5.2.4, 5.2.5; ETSI 422)."""

import asyncio
from typing import Any

import pytest
from conftest_ngsi import Api, problem

from haechi.core.times import format_iso, to_us

ID = "urn:ngsi-ld:Building:1"
LATER = "2100-01-01T00:00:00Z"
PAST = "2020-01-01T00:00:00Z"
KINDS: dict[str, Any] = {
    "prop": {"type": "Property", "value": 1},
    "rel": {"type": "Relationship", "object": "urn:x:1"},
    "geo": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}},
    "text": {"type": "LanguageProperty", "languageMap": {"en": "hi"}},
    "word": {"type": "VocabProperty", "vocab": "stopped"},
    "json": {"type": "JsonProperty", "json": {"a": 1}},
}


def soon(api: Api, seconds: int = 30) -> str:
    return format_iso(to_us(api.clock.at) + seconds * 10**6)


async def wait_until_over(api: Api, seconds: int = 60) -> None:
    """Time passes, and what has ended is taken away."""
    await api.clock.sleep(seconds)
    await api.expiry.sweep_due()


async def test_422_08_01_every_kind_of_attribute_may_end_and_says_so_with_sys_attrs_only(api: Api) -> None:
    attributes = {name: {**one, "expiresAt": LATER} for name, one in KINDS.items()}
    attributes["prop"]["sub"] = {"type": "Property", "value": 2, "expiresAt": LATER}
    await api.make("1", **attributes, expiresAt=LATER)
    shown = await api.get(ID, options="sysAttrs")
    assert [shown[name]["expiresAt"] for name in KINDS] == [LATER] * len(KINDS)
    assert shown["prop"]["sub"]["expiresAt"] == shown["expiresAt"] == LATER
    assert "expiresAt" not in (await api.http.get(f"entities/{ID}")).text


async def test_422_02_an_entity_that_has_ended_is_gone_and_its_subscribers_are_told(api: Api) -> None:
    running = asyncio.create_task(api.notifier.run())
    body = {
        "type": "Subscription",
        "entities": [{"type": "Building"}],
        "notificationTrigger": ["entityDeleted"],
        "notification": {"endpoint": {"uri": "http://here/"}},
    }
    assert (await api.http.post("subscriptions", json=body)).status_code == 201
    await api.make("1", a=1, expiresAt=soon(api))
    await api.make("2", a=1)
    assert sorted(await api.ids(type="Building")) == ["1", "2"]
    await wait_until_over(api)
    problem(await api.http.get(f"entities/{ID}"), 404, "ResourceNotFound")
    assert await api.ids(type="Building") == ["2"]
    async with asyncio.timeout(30):
        while not api.sent:  # noqa: ASYNC110 - the face under test has no event for it
            await asyncio.sleep(0.01)
    running.cancel()
    assert api.sent[0][2]["data"][0]["id"] == ID


async def test_422_03_and_08_02_instances_end_one_by_one(api: Api) -> None:
    end = soon(api)
    speed = [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:d:1", "expiresAt": end},
    ]
    nested = {"type": "Property", "value": 3, "sub": {"type": "Property", "value": 4, "expiresAt": end}}
    await api.make("1", speed=speed, gone={"type": "Property", "value": 5, "expiresAt": end}, kept=nested)
    await wait_until_over(api)
    shown = await api.get(ID, options="concise")
    assert shown == {"id": ID, "type": "Building", "speed": 1, "kept": 3}


async def test_422_04_05_an_end_can_be_set_moved_and_taken_back(api: Api) -> None:
    await api.make("1", a=1)
    path = f"entities/{ID}"
    assert (await api.http.patch(path, json={"expiresAt": soon(api)})).status_code == 204
    assert (await api.http.patch(path, json={"expiresAt": LATER})).status_code == 204
    await wait_until_over(api)
    assert (await api.get(ID, options="sysAttrs"))["expiresAt"] == LATER
    assert (await api.http.patch(path, json={"expiresAt": "urn:ngsi-ld:null"})).status_code == 204
    assert "expiresAt" not in await api.get(ID, options="sysAttrs")
    assert (await api.http.patch(path, json={"expiresAt": PAST})).status_code == 204
    problem(await api.http.get(path), 404, "ResourceNotFound")


async def test_422_06_a_whole_attribute_takes_its_end_along_a_part_of_one_leaves_it(api: Api) -> None:
    ending = {"type": "Property", "value": 1, "expiresAt": soon(api, 120)}
    await api.make("1", whole=ending, part=ending, merged=ending)
    assert (await api.http.patch(f"entities/{ID}/attrs", json={"whole": 2})).status_code == 204
    assert (await api.http.patch(f"entities/{ID}/attrs/part", json={"value": 2})).status_code == 204
    assert (await api.http.patch(f"entities/{ID}", json={"merged": {"value": 2}})).status_code == 204
    await wait_until_over(api, 180)
    assert await api.get(ID, options="keyValues") == {"id": ID, "type": "Building", "whole": 2}


@pytest.mark.parametrize("wrong", ["not-a-date", "2026-13-45T00:00:00Z", 7, None])
async def test_422_08_03_an_end_that_is_no_instant_is_refused(api: Api, wrong: object) -> None:
    entity = {"id": ID, "type": "Building", "expiresAt": wrong}
    problem(await api.http.post("entities", json=entity), 400, "BadRequestData")
    entity = {"id": ID, "type": "Building", "a": {"type": "Property", "value": 1, "expiresAt": wrong}}
    problem(await api.http.post("entities", json=entity), 400, "BadRequestData")


async def test_422_08_08_what_ended_before_it_came_is_never_shown(api: Api) -> None:
    assert (await api.http.post("entities", json={"id": ID, "type": "Building", "expiresAt": PAST})).status_code == 201
    problem(await api.http.get(f"entities/{ID}"), 404, "ResourceNotFound")


async def test_an_end_outlives_a_kill_and_belongs_to_its_tenant(api: Api) -> None:
    tenant = {"NGSILD-Tenant": "a"}
    for headers in (tenant, {}):
        body = {"id": ID, "type": "Building", "expiresAt": soon(api) if headers else LATER}
        assert (await api.http.post("entities", json=body, headers=headers)).status_code == 201
    again = api.reopened_expiry(api.store)
    again.holding = api.expiry.holding
    await api.clock.sleep(60)
    await again.sweep_due()
    problem(await api.http.get(f"entities/{ID}", headers=tenant), 404, "ResourceNotFound")
    assert (await api.http.get(f"entities/{ID}")).status_code == 200
