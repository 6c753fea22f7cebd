"""Subscriptions (clauses 5.8, 5.2.12; ETSI 028 to 032, 046): what fires them, what they tell, and that nothing is left
out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest_ngsi import Api, problem

from haechi.core.observation import Observation
from haechi.services.subscriptions import delivery, notifier

HERE = "http://receiver.example/notify"
THERE = "http://other.example/notify"
ROOM = "urn:ngsi-ld:Room:1"


def wanted(**more: Any) -> dict[str, Any]:
    """A subscription to rooms."""
    notification = {"endpoint": {"uri": HERE, "accept": "application/json"}, **more.pop("notification", {})}
    return {"type": "Subscription", "entities": [{"type": "Room"}], "notification": notification, **more}


@pytest.fixture
async def live(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """With its notifier at work."""
    monkeypatch.setattr(notifier, "LOOK_S", 0.01)
    monkeypatch.setattr(notifier, "FLUSH_S", 0.01)
    async with notifying(api.notifier):
        yield api


@asynccontextmanager
async def notifying(one: notifier.Notifier) -> AsyncIterator[None]:
    await one.load()
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def subscribe(api: Api, body: dict[str, Any]) -> str:
    answer = await api.http.post("subscriptions", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"]).rpartition("/")[2]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


async def outcomes(api: Api, id: str, count: int) -> list[str]:
    """What became of the changes, the newest first, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = (await api.http.get(f"subscriptions/{id}/explain")).json()["changes"]
            if len(found) >= count:
                return [one["outcome"] for one in found]
            await asyncio.sleep(0.01)


async def test_046_a_change_of_an_entity_it_asks_for_is_told_and_others_are_not(live: Api) -> None:
    id = await subscribe(live, wanted())
    await live.make(ROOM, "Room", temperature=20)
    await live.make("urn:ngsi-ld:Hall:1", "Hall", temperature=20)
    await until(lambda: live.sent)
    uri, headers, body = live.sent[0]
    assert uri == HERE
    assert headers["Content-Type"] == "application/json"
    assert 'rel="http://www.w3.org/ns/json-ld#context"' in headers["Link"]
    assert (body["type"], body["subscriptionId"]) == ("Notification", id)
    assert body["data"] == [{"id": ROOM, "type": "Room", "temperature": {"type": "Property", "value": 20}}]
    await live.http.patch(f"entities/{ROOM}/attrs", json={"temperature": 21})
    await until(lambda: len(live.sent) == 2)
    assert live.sent[1][2]["data"][0]["temperature"]["value"] == 21
    assert live.sent[0][2]["id"] != live.sent[1][2]["id"]


async def test_what_a_device_observes_is_told_as_well(live: Api) -> None:
    await subscribe(live, wanted(notification={"format": "simplified"}))
    live.device(Observation(ROOM, "temperature", 10**15, 10**15, 22.5))
    await until(lambda: live.sent)
    assert live.sent[0][2]["data"] == [{"id": ROOM, "type": "Room", "temperature": 22.5}]


async def test_q_watched_attributes_and_triggers_decide_and_explain_says_which(live: Api) -> None:
    id = await subscribe(live, wanted(watchedAttributes=["temperature"], q="temperature>30"))
    await live.make(ROOM, "Room", temperature=20, noise=1)
    assert "q, geoQ or scopeQ" in (await outcomes(live, id, 1))[0]
    await live.http.patch(f"entities/{ROOM}/attrs", json={"noise": 2})
    assert "attributeUpdated noise" in (await outcomes(live, id, 2))[0]
    await live.http.patch(f"entities/{ROOM}/attrs", json={"temperature": 31})
    assert (await outcomes(live, id, 3))[0] == "notified"
    assert len(live.sent) == 1


async def test_046_21_the_end_of_an_entity_and_of_an_attribute_are_told_with_what_was(live: Api) -> None:
    shown = {"showChanges": True}
    await subscribe(live, wanted(notificationTrigger=["attributeDeleted", "entityDeleted"], notification=shown))
    await live.make(ROOM, "Room", temperature=20, noise=1)
    await live.http.delete(f"entities/{ROOM}/attrs/noise")
    await until(lambda: live.sent)
    gone = {"type": "Property", "value": "urn:ngsi-ld:null", "previousValue": 1}
    assert live.sent[0][2]["data"][0]["noise"] == gone
    await live.http.delete(f"entities/{ROOM}")
    await until(lambda: len(live.sent) == 2)
    told = live.sent[1][2]["data"][0]
    assert told["temperature"] == {"type": "Property", "value": "urn:ngsi-ld:null", "previousValue": 20}
    assert told["deletedAt"].startswith("2026-")


async def test_046_13_a_dead_receiver_is_tried_again_counted_and_holds_up_nobody(
    live: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = await subscribe(live, wanted())
    await subscribe(live, wanted(notification={"endpoint": {"uri": THERE}}))
    live.refused.add(HERE)
    await live.make(ROOM, "Room", temperature=20)
    await until(lambda: live.sent)
    assert live.sent[0][0] == THERE
    shown = (await live.http.get(f"subscriptions/{dead}")).json()["notification"]
    assert shown["status"] == "failed"
    assert shown["timesFailed"] >= 1
    assert "lastFailure" in shown
    live.refused.clear()
    await until(lambda: len(live.sent) == 2)
    assert live.sent[1][2]["data"][0]["temperature"]["value"] == 20
    assert (await live.http.get(f"subscriptions/{dead}")).json()["notification"]["status"] == "ok"


async def test_what_nobody_takes_is_given_up_in_the_end_and_people_see_it(
    live: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "GIVE_UP_S", 5.0)  # on the test's clock, which moves when it is asked
    id = await subscribe(live, wanted())
    live.refused.add(HERE)
    await live.make(ROOM, "Room", temperature=20)
    assert "given up" in (await outcomes(live, id, 1))[0]
    explained = (await live.http.get(f"subscriptions/{id}/explain")).json()
    assert explained["givenUp"][0]["entities"] == [ROOM]
    assert "nobody listens there" in explained["lastFailureReason"]


async def test_after_a_kill_what_was_not_delivered_is_and_the_receiver_recognises_what_it_has(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "LOOK_S", 0.01)
    await api.notifier.load()
    await subscribe(api, wanted())
    running = asyncio.create_task(api.notifier.run())
    await api.make(ROOM, "Room", temperature=20)
    await until(lambda: api.sent)
    running.cancel()  # before its position was stored: as a kill would
    await asyncio.gather(running, return_exceptions=True)
    await api.http.patch(f"entities/{ROOM}/attrs", json={"temperature": 21})
    monkeypatch.setattr(notifier, "FLUSH_S", 0.01)
    async with notifying(api.reopened_notifier()):
        await until(lambda: api.sent[-1][2]["data"][0]["temperature"]["value"] == 21)
    values = [(body["id"], body["data"][0]["temperature"]["value"]) for _, _, body in api.sent]
    assert [value for _, value in values][-1] == 21
    assert len({id for id, _ in values}) == len({value for _, value in values}), "the same is told under the same id"


async def test_what_is_being_tried_when_a_kill_comes_is_told_after_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "LOOK_S", 0.01)
    monkeypatch.setattr(notifier, "FLUSH_S", 0.01)
    await api.notifier.load()
    id = await subscribe(api, wanted())
    running = asyncio.create_task(api.notifier.run())
    api.refused.add(HERE)
    await api.make(ROOM, "Room", temperature=20)
    await until(lambda: api.notifier.get(id).state.failed)
    later = await api.make("later", "Room", temperature=21)
    await until(lambda: api.book.position() == 2)  # the second is looked at, and that is stored
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    api.refused.clear()
    async with notifying(api.reopened_notifier()):
        await until(lambda: {one["id"] for _, _, body in api.sent for one in body["data"]} == {ROOM, later})


async def test_046_15_between_two_notifications_lies_the_throttling_and_the_newest_state_is_told(live: Api) -> None:
    await subscribe(live, wanted(throttling=30))
    await live.make(ROOM, "Room", temperature=1)
    await until(lambda: live.sent)
    for value in range(2, 6):
        await live.http.patch(f"entities/{ROOM}/attrs", json={"temperature": value})
    await until(lambda: live.sent[-1][2]["data"][0]["temperature"]["value"] == 5)
    assert len(live.sent) <= 5


async def test_5212_a_paused_subscription_tells_nothing_until_it_goes_on(live: Api) -> None:
    id = await subscribe(live, wanted(isActive=False))
    assert (await live.http.get(f"subscriptions/{id}")).json()["status"] == "paused"
    await live.make(ROOM, "Room", temperature=1)
    assert "paused" in (await outcomes(live, id, 1))[0]
    assert (await live.http.patch(f"subscriptions/{id}", json={"isActive": True})).status_code == 204
    await live.http.patch(f"entities/{ROOM}/attrs", json={"temperature": 2})
    await until(lambda: live.sent)
    assert [one[2]["data"][0]["temperature"]["value"] for one in live.sent] == [2]


async def test_046_02_a_periodic_subscription_tells_all_that_match(live: Api) -> None:
    await live.make(ROOM, "Room", temperature=1)
    await live.make("urn:ngsi-ld:Room:2", "Room", temperature=40)
    await subscribe(live, wanted(timeInterval=5, q="temperature>30"))
    await until(lambda: live.sent)
    assert [one["id"] for one in live.sent[0][2]["data"]] == ["urn:ngsi-ld:Room:2"]


async def test_028_031_032_they_are_listed_changed_and_deleted(live: Api) -> None:
    id = await subscribe(live, {"id": "urn:ngsi-ld:Subscription:1", **wanted(subscriptionName="rooms")})
    problem(await live.http.post("subscriptions", json={"id": id, **wanted()}), 409, "AlreadyExists")
    await subscribe(live, wanted())
    listed = await live.http.get("subscriptions", params={"count": "true", "limit": "1"})
    assert [one["id"] for one in listed.json()] == [id]
    assert listed.headers["NGSILD-Results-Count"] == "2"
    assert 'rel="next"' in listed.headers["link"]
    assert (await live.http.patch(f"subscriptions/{id}", json={"subscriptionName": None})).status_code == 204
    shown = (await live.http.get(f"subscriptions/{id}", params={"options": "sysAttrs"})).json()
    assert "subscriptionName" not in shown
    assert shown["modifiedAt"] > shown["createdAt"]
    assert shown["notificationTrigger"] == ["attributeCreated", "attributeUpdated"]
    assert (await live.http.delete(f"subscriptions/{id}")).status_code == 204
    problem(await live.http.get(f"subscriptions/{id}"), 404, "ResourceNotFound")
    problem(await live.http.delete(f"subscriptions/{id}"), 404, "ResourceNotFound")
    problem(await live.http.get("subscriptions/invalid"), 400, "BadRequestData")


@pytest.mark.parametrize(
    "more",
    [
        {"type": "Other"},
        {"id": "no uri"},
        {"entities": []},
        {"entities": [{"id": ROOM}]},
        {"entities": None},
        {"timeInterval": 5, "throttling": 5},
        {"throttling": -1},
        {"timeInterval": 0},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"notificationTrigger": ["often"]},
        {"q": "temperature>"},
        {"scopeQ": "///"},
        {"geoQ": {"georel": "near", "geometry": "Point", "coordinates": [1, 2]}},
        {"notification": {"endpoint": {"uri": "ftp://example/x"}}},
        {"notification": {"endpoint": {"uri": HERE, "accept": "text/html"}}},
        {"notification": {"endpoint": {"uri": HERE, "receiverInfo": [{"key": "a", "value": 1}]}}},
        {"notification": {"format": "keyValues", "showChanges": True}},
        {"notification": {"attributes": []}},
        {"notification": {"pick": ["a"], "omit": ["a"]}},
        {"csf": "(("},
        {"watchedAttributes": []},
        {"notificationTrigger": []},
        {"geoQ": {}},
        {"notification": {"endpoint": {"uri": "mqtt://127.0.0.1:1883"}}},
        {"notification": {"endpoint": {"uri": HERE, "receiverInfo": [{"key": "X-A", "value": "a\r\nX-B: c"}]}}},
        {"notification": {"endpoint": {"uri": HERE, "receiverInfo": [{"key": "X A", "value": "a"}]}}},
    ],
)
async def test_5811_what_is_wrong_is_named_and_nothing_is_stored(live: Api, more: dict[str, Any]) -> None:
    body = wanted()
    notification = more.pop("notification", None)
    body["notification"] |= notification or {}
    problem(await live.http.post("subscriptions", json={**body, **more}), 400, "BadRequestData")
    assert (await live.http.get("subscriptions")).json() == []
    assert live.book.all() == []


async def test_046_23_to_30_linked_entities_are_inside_or_after_what_changed(live: Api) -> None:
    city = await live.make("Paris", "City", name="Paris", country={"type": "Relationship", "object": "urn:x:France"})
    for form in ("inline", "flat"):
        body = _subscription(f"http://{form}/", format="simplified", join=form, joinLevel=1)
        assert (await live.http.post("subscriptions", json=body)).status_code == 201
    await live.make("Eiffel", "Building", at={"type": "Relationship", "object": city}, height=300)
    await _sent(live, 2)
    told = {uri: body["data"] for uri, _, body in live.sent}
    paris = {"id": city, "type": "City", "name": "Paris", "country": "urn:x:France"}
    building = {"id": "urn:ngsi-ld:Building:Eiffel", "type": "Building", "height": 300}
    assert told["http://inline/"] == [{**building, "at": paris}]
    assert told["http://flat/"] == [{**building, "at": city}, paris]


async def test_49_01_q_of_a_subscription_follows_relationships(live: Api) -> None:
    low, full = await live.make("low", "Device", level=0.3), await live.make("full", "Device", level=0.9)
    body = {**_subscription("http://q/"), "q": "power{level}<0.5"}
    assert (await live.http.post("subscriptions", json=body)).status_code == 201
    for name, device in (("full", full), ("low", low)):
        await live.make(name, "Building", power={"type": "Relationship", "object": device})
    await _sent(live, 1)
    assert [one["id"] for _, _, body in live.sent for one in body["data"]] == ["urn:ngsi-ld:Building:low"]


@pytest.mark.parametrize(
    ("form", "gone", "left"),
    [
        ("keyValues", "urn:d:fr", {"dataset": {"@none": "a", "urn:d:de": "b", "urn:d:fr": "urn:ngsi-ld:null"}}),
        ("keyValues", None, "urn:ngsi-ld:null"),
        ("normalized", None, {"type": "Property", "value": "urn:ngsi-ld:null"}),
    ],
)
async def test_046_22_07_08_deleted_instances_are_told_by_their_dataset_and_all_of_them_as_one(
    live: Api, form: str, gone: str | None, left: object
) -> None:
    names = [{"type": "Property", "value": "a"}]
    names += [
        {"type": "Property", "value": one, "datasetId": f"urn:d:{tag}"} for one, tag in (("b", "de"), ("c", "fr"))
    ]
    building = await live.make("1", "Building", name=names)
    body = {**_subscription("http://d/", format=form), "notificationTrigger": ["attributeDeleted"]}
    assert (await live.http.post("subscriptions", json=body)).status_code == 201
    which = {"datasetId": gone} if gone else {"deleteAll": "true"}
    assert (await live.http.delete(f"entities/{building}/attrs/name", params=which)).status_code == 204
    await _sent(live, 1)
    assert live.sent[0][2]["data"][0]["name"] == left


async def test_436_09_a_subscription_is_the_same_in_every_edition(api: Api) -> None:
    made = await api.http.post("subscriptions", json=_subscription("http://p/"))
    path = made.headers["location"].removeprefix("/ngsi-ld/v1/")
    for prefer in ("ngsi-ld=1.0", "NGSI-LD=1.0", 'respond-async, ngsi-ld="1.0";q=0.1'):
        shown = await api.http.get(path, headers={"Prefer": prefer})
        assert shown.headers["preference-applied"] == "ngsi-ld=1.0"
        assert shown.json() == (await api.http.get(path)).json()


@pytest.mark.parametrize(
    "wrong",
    [{"csf": "(("}, {"csf": 7}, {"lang": 7}, {"notification": {"join": "deep"}}, {"notification": {"joinLevel": 0}}],
)
async def test_5811_02_what_cannot_be_read_is_refused_when_it_is_made(api: Api, wrong: dict[str, Any]) -> None:
    body = _subscription("http://w/")
    body = {**body, **wrong, "notification": {**body["notification"], **wrong.get("notification", {})}}
    problem(await api.http.post("subscriptions", json=body), 400, "BadRequestData")


def _subscription(uri: str, **notification: Any) -> dict[str, Any]:
    return {
        "type": "Subscription",
        "entities": [{"type": "Building"}],
        "notification": {"endpoint": {"uri": uri}, **notification},
    }


async def _sent(api: Api, count: int) -> None:
    async with asyncio.timeout(30):
        while len(api.sent) < count:  # noqa: ASYNC110 - the face under test has no event for it
            await asyncio.sleep(0.01)
