"""Subscriptions that reach registered sources (clauses 5.8.1.4, 5.8.2.4, 5.8.5.4, 5.8.6; ETSI 5814_01, IOP_EXT_SUB)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from conftest_ngsi import Api

from haechi.services.subscriptions import relay

HERE = "urn:ngsi-ld:Subscription:1"
PEER = "http://peer.example"
COPIES = f"{PEER}/ngsi-ld/v1/subscriptions"
RECEIVER = "http://receiver.example/notify"
TOLD = "http://haechi/ngsi-ld/ex/remote-notify"


@pytest.fixture
async def broker(api: Api) -> AsyncIterator[Api]:
    running = asyncio.create_task(api.notifier.run())
    api.answers[f"POST {COPIES}"] = (201, None)
    yield api
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def until(there: Callable[[], Any]) -> Any:
    async with asyncio.timeout(20):
        while not (found := there()):  # noqa: ASYNC110 - the broker has no event for a test
            await asyncio.sleep(0.01)
    return found


async def register(api: Api, **members: Any) -> None:
    body = {
        "id": "urn:ngsi-ld:ContextSourceRegistration:1",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Bus"}]}],
        "endpoint": PEER,
        **members,
    }
    response = await api.http.post("csourceRegistrations", json=body)
    assert response.status_code == 201, response.text


async def subscribe(api: Api, headers: dict[str, str] | None = None, **members: Any) -> int:
    notification = {"endpoint": {"uri": RECEIVER}}
    body = {"id": HERE, "type": "Subscription", "entities": [{"type": "Bus"}], "notification": notification, **members}
    return (await api.http.post("subscriptions", json=body, headers=headers or {})).status_code


def asked(api: Api, method: str) -> list[Any]:
    return [one for one in api.asked if one.method == method and "/subscriptions" in one.url]


async def copy_of(api: Api) -> dict[str, Any]:
    (one,) = await until(lambda: asked(api, "POST"))
    return dict(orjson.loads(one.body))


async def tell(api: Api, copy: str, *data: dict[str, Any], number: int = 1, **members: Any) -> int:
    told = {"id": f"urn:ngsi-ld:Notification:{number}", "type": "Notification", **members}
    body = {**told, "subscriptionId": copy, "data": list(data)}
    return (await api.http.post(TOLD, json=body)).status_code


def bus(speed: int) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:Bus:7", "type": "Bus", "speed": {"type": "Property", "value": speed}}


async def test_5814_01_01_a_source_gets_a_copy_that_tells_this_broker_and_loses_it_with_the_subscription(
    broker: Api,
) -> None:
    await register(broker)
    assert await subscribe(broker, q="speed>50") == 201
    copy = await copy_of(broker)
    assert copy["q"] == "speed>50"
    assert copy["notification"]["endpoint"] == {"uri": TOLD, "accept": "application/json"}
    assert ("Via", "1.1 haechi-here") in asked(broker, "POST")[0].headers
    shown = (await broker.http.get("csourceSubscriptions")).json()
    assert [one["id"] for one in shown] == [f"{HERE}:sources"]
    assert (await broker.http.get(f"csourceSubscriptions/{HERE}:sources")).status_code == 200
    broker.answers[f"DELETE {COPIES}/{copy['id']}"] = (204, None)
    await broker.http.delete(f"subscriptions/{HERE}")
    await until(lambda: asked(broker, "DELETE"))
    assert (await broker.http.get("csourceSubscriptions")).json() == []


async def test_what_a_source_tells_reaches_the_receiver_under_our_id_once(broker: Api) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    assert await tell(broker, copy["id"], bus(60), notifiedAt="2026-11-22T09:00:00Z") == 200
    await until(lambda: broker.sent)
    assert await tell(broker, copy["id"], bus(60), notifiedAt="2026-11-22T09:00:09Z") == 200, "tried again"
    assert await tell(broker, copy["id"], bus(61), number=2) == 200
    await until(lambda: len(broker.sent) >= 2)
    await asyncio.sleep(0.1)
    assert [(uri, body["subscriptionId"], body["data"]) for uri, _, body in broker.sent] == [
        (RECEIVER, HERE, [bus(60)]),
        (RECEIVER, HERE, [bus(61)]),
    ]


async def test_what_a_source_told_is_kept_until_the_receiver_takes_it_also_over_a_restart(broker: Api) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    broker.refused.add(RECEIVER)
    assert await tell(broker, copy["id"], bus(60)) == 200
    again = broker.reopened_notifier()
    await again.load()
    broker.refused.clear()
    await until(lambda: broker.sent)
    assert broker.sent[0][2]["data"] == [bus(60)]
    for id in [one.id for one in again.all()]:
        await again.remove(id)


async def test_what_the_receiver_has_is_not_told_again_after_a_restart_however_late_the_source_tries_again(
    broker: Api,
) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    assert await tell(broker, copy["id"], bus(60)) == 200
    await until(lambda: broker.book.relayed(HERE))
    again = broker.reopened_notifier()
    await again.load()
    for number, speed in ((1, 60), (2, 61)):
        await again.relay(HERE, f"{copy['id']} urn:ngsi-ld:Notification:{number}", [bus(speed)])
    await until(lambda: len(broker.book.relayed(HERE)) == 2)
    assert [body["data"] for _, _, body in broker.sent] == [[bus(60)], [bus(61)]]
    await again.remove(HERE)
    assert broker.book.relayed(HERE) == [], "nothing is left of a subscription that has gone"


async def test_only_the_last_of_what_was_passed_on_is_remembered(broker: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "REMEMBERED", 2)
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    for number in range(1, 5):
        await tell(broker, copy["id"], bus(number), number=number)
    await until(lambda: len(broker.sent) == 4)
    await until(lambda: [one[-1] for one in broker.book.relayed(HERE)] == ["3", "4"])


async def test_a_notification_of_a_copy_nobody_made_is_told_to_nobody(broker: Api) -> None:
    await register(broker)
    await subscribe(broker)
    await copy_of(broker)
    assert await tell(broker, "urn:ngsi-ld:Subscription:forged", bus(31337)) == 404
    assert await tell(broker, HERE, bus(31337)) == 404
    assert (await broker.http.post(TOLD, json=[1])).status_code == 400
    assert broker.sent == []


async def test_5814_01_02_split_entities_are_put_together_and_tested_here(broker: Api) -> None:
    await register(broker)
    await subscribe(broker, q='speed>50;brandName=="Tesla"', splitEntities=True)
    copy = await copy_of(broker)
    assert "q" not in copy
    assert copy["splitEntities"] is True
    brand = {"type": "Property", "value": "Tesla"}
    await broker.make("urn:ngsi-ld:Bus:7", "Bus", brandName=brand, local=brand)
    before = len([one for one in broker.asked if one.method == "GET"])
    assert [await tell(broker, copy["id"], bus(10)), await tell(broker, copy["id"], bus(99), number=2)] == [200, 200]
    await until(lambda: broker.sent)
    assert [one["speed"]["value"] for _, _, body in broker.sent for one in body["data"]] == [99]
    assert broker.sent[0][2]["data"][0]["brandName"] == brand
    assert len([one for one in broker.asked if one.method == "GET"]) == before  # who told is not asked


async def test_ext_sub_01_01_an_update_travels_and_so_does_a_pause(broker: Api) -> None:
    await register(broker)
    await subscribe(broker, q="speed>10", throttling=1)
    copy = await copy_of(broker)
    broker.answers[f"PATCH {COPIES}/{copy['id']}"] = (204, None)
    fragment = {"q": "speed>100", "throttling": None, "isActive": False}
    assert (await broker.http.patch(f"subscriptions/{HERE}", json=fragment)).status_code == 204
    (one,) = await until(lambda: asked(broker, "PATCH"))
    told = orjson.loads(one.body)
    assert (told["q"], told["isActive"], told["throttling"]) == ("speed>100", False, "urn:ngsi-ld:null")


async def test_ext_sub_01_03_the_copy_is_reduced_to_what_is_registered(broker: Api) -> None:
    entities = [{"type": "Bus", "id": "urn:ngsi-ld:Bus:7"}, {"type": "Tram"}]
    await register(broker, information=[{"entities": entities, "propertyNames": ["speed"]}])
    await subscribe(broker, watchedAttributes=["speed", "brandName"])
    copy = await copy_of(broker)
    assert copy["entities"] == [{"type": "Bus", "id": "urn:ngsi-ld:Bus:7"}]
    assert copy["watchedAttributes"] == ["speed"]
    assert copy["notification"]["attributes"] == ["speed"]


async def test_ext_sub_02_03_a_registration_that_comes_later_gets_its_copy_and_ext_sub_02_04_loses_it(
    broker: Api,
) -> None:
    await subscribe(broker)
    await register(broker)
    copy = await copy_of(broker)
    broker.answers[f"DELETE {COPIES}/{copy['id']}"] = (204, None)
    await broker.http.delete("csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1")
    await until(lambda: asked(broker, "DELETE"))
    assert await tell(broker, copy["id"], bus(666)) == 404


async def test_a_source_that_does_not_answer_is_asked_until_it_does(broker: Api) -> None:
    del broker.answers[f"POST {COPIES}"]
    await register(broker)
    await subscribe(broker)
    await until(lambda: len(asked(broker, "POST")) >= 3)
    broker.answers[f"POST {COPIES}"] = (201, None)
    told = len(asked(broker, "POST"))
    await until(lambda: len(asked(broker, "POST")) > told)
    last = len(asked(broker, "POST"))
    await asyncio.sleep(0.1)
    assert len(asked(broker, "POST")) == last
    assert len({orjson.loads(one.body)["id"] for one in asked(broker, "POST")}) == 1


async def test_a_copy_that_is_refused_is_not_offered_again_until_something_changes(broker: Api) -> None:
    broker.answers[f"POST {COPIES}"] = (508, None)
    await register(broker)
    await subscribe(broker)
    await copy_of(broker)
    await asyncio.sleep(0.2)
    assert len(asked(broker, "POST")) == 1
    await broker.http.patch(f"subscriptions/{HERE}", json={"q": "speed>1"})
    await until(lambda: len(asked(broker, "POST")) == 2)


@pytest.mark.parametrize(
    ("members", "registration"),
    [
        ({"localOnly": True}, {}),
        ({}, {"operations": ["retrieveOps"]}),
        ({}, {"information": [{"entities": [{"type": "Tram"}]}]}),
    ],
)
async def test_no_copy_where_none_belongs(broker: Api, members: dict[str, Any], registration: dict[str, Any]) -> None:
    await register(broker, **registration)
    await subscribe(broker, **members)
    await asyncio.sleep(0.2)
    assert asked(broker, "POST") == []


async def test_a_copy_of_our_own_subscription_is_refused_and_a_source_it_came_through_gets_none(broker: Api) -> None:
    assert await subscribe(broker, {"Via": "1.1 elsewhere, 1.1 haechi-here"}) == 508
    await register(broker, contextSourceAlias="elsewhere")
    assert await subscribe(broker, {"Via": "1.1 elsewhere"}) == 201
    await asyncio.sleep(0.2)
    assert asked(broker, "POST") == []


async def test_a_notification_without_an_id_is_told_each_time(broker: Api) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    for speed in (60, 61):
        assert await tell(broker, copy["id"], bus(speed), id=None) == 200
    await until(lambda: len(broker.sent) == 2)


async def test_a_source_that_may_have_taken_an_older_copy_is_given_the_newer_one(broker: Api) -> None:
    del broker.answers[f"POST {COPIES}"]
    await register(broker)
    await subscribe(broker, q="speed>1")
    await until(lambda: asked(broker, "POST"))
    await broker.http.patch(f"subscriptions/{HERE}", json={"q": "speed>100"})
    await until(lambda: "speed>100" in orjson.loads(asked(broker, "POST")[-1].body)["q"])
    id = orjson.loads(asked(broker, "POST")[0].body)["id"]
    broker.answers[f"DELETE {COPIES}/{id}"] = (204, None)
    broker.answers[f"POST {COPIES}"] = (409, None)
    await until(lambda: asked(broker, "DELETE"))
    broker.answers[f"POST {COPIES}"] = (201, None)
    await until(lambda: broker.asked[-1].method == "POST")
    assert orjson.loads(broker.asked[-1].body or b"")["q"] == "speed>100"


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_copy_that_could_not_be_taken_back_is_asked_back_again(broker: Api, status: int) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    broker.answers[f"DELETE {COPIES}/{copy['id']}"] = (status, None)
    await broker.http.delete(f"subscriptions/{HERE}")
    await until(lambda: len(asked(broker, "DELETE")) >= 2)


async def test_a_copy_is_offered_again_to_a_busy_source_and_with_other_credentials(broker: Api) -> None:
    broker.answers[f"POST {COPIES}"] = (429, None)
    await register(broker, contextSourceInfo=[{"key": "Authorization", "value": "Bearer old"}])
    await subscribe(broker)
    await until(lambda: len(asked(broker, "POST")) >= 2)
    broker.answers[f"POST {COPIES}"] = (401, None)
    await asyncio.sleep(0.2)
    broker.answers[f"POST {COPIES}"] = (201, None)
    mended = {"contextSourceInfo": [{"key": "Authorization", "value": "Bearer new"}]}
    path = "csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1"
    assert (await broker.http.patch(path, json=mended)).status_code == 204
    await until(lambda: ["Authorization", "Bearer new"] in [list(one) for one in asked(broker, "POST")[-1].headers])


async def test_a_registration_that_moves_to_another_tenant_takes_its_copy_along(broker: Api) -> None:
    await register(broker, tenant="one")
    await subscribe(broker)
    copy = await copy_of(broker)
    broker.answers[f"DELETE {COPIES}/{copy['id']}"] = (204, None)
    path = "csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:1"
    assert (await broker.http.patch(path, json={"tenant": "two"})).status_code == 204
    await until(lambda: asked(broker, "DELETE") and len(asked(broker, "POST")) == 2)
    told = [dict(one.headers)["NGSILD-Tenant"] for one in (asked(broker, "POST")[1], asked(broker, "DELETE")[0])]
    assert told == ["two", "one"]


async def test_copies_outlive_a_restart_and_go_on_from_where_they_were(broker: Api) -> None:
    await register(broker)
    await subscribe(broker)
    copy = await copy_of(broker)
    await until(lambda: broker.every_source.of("").copies.find(copy["id"]).told)  # type: ignore[union-attr]
    await broker.every_source.close()
    again = broker.reopened_sources()
    assert again.find(copy["id"]) is not None
    await broker.notifier.remove(HERE)
    broker.answers[f"DELETE {COPIES}/{copy['id']}"] = (204, None)
    again.begin()
    await until(lambda: asked(broker, "DELETE"))
    await until(lambda: again.find(copy["id"]) is None)
    assert len(asked(broker, "POST")) == 1
    await again.close()
