"""Commands through the MQTT door to independent clients (paho, gmqtt): delivered, answered, late, never twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gmqtt
import orjson
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mqtt_kit import Door, until

TOPIC = "city/P-017/commands/target"
COMMANDS = {"topic": "city/{device}/commands/{field}", "answer_topic": "city/{device}/answers"}


class Device:
    """A paho client that listens, and answers as a test says."""

    def __init__(self, port: int, version: int = 5, session: bool = False) -> None:
        self.heard: list[Any] = []
        self.subscribed, self.answer = False, lambda message: None
        about = Properties(PacketTypes.CONNECT)
        about.SessionExpiryInterval = 600 if session else 0
        old = {} if version == 5 else {"clean_session": not session}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "valve", protocol=version, **old)
        self.client.username_pw_set("P-017", "710-P")
        self.client.on_connect = lambda client, *_: client.subscribe("city/P-017/commands/#", 1)
        self.client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self.client.on_message = self._on_message
        new = {"clean_start": False, "properties": about} if version == 5 else {}
        self.client.connect("127.0.0.1", port, 60, **new)
        self.client.loop_start()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        self.heard.append(message)
        self.answer(message)

    async def listening(self) -> "Device":
        await until(lambda: self.subscribed)
        return self

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # else they are closed when the collector comes by, with a warning


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[Door] = []

    async def start(**settings: Any) -> Door:
        door = Door(tmp_path / "mqtt", **{"commands": COMMANDS, **settings})
        started.append(door)
        await door.adapter.start()
        return door

    yield start
    for door in started:
        await door.adapter.stop()


async def ask(door: Door, id: str = "c1", within_s: float = 30.0, **changes: Any) -> None:
    expires_at = int((time.time() + within_s) * 1_000_000)
    body = {"id": id, "device": "P-017", "channel": "", "field": "target", "value": 2.5, "expires_at": expires_at}
    await door.bus.publish("command.field", orjson.dumps({**body, **changes}))


def told(door: Door, id: str = "c1") -> list[dict[str, Any]]:
    outcomes = [orjson.loads(payload) for subject, payload in door.bus.heard if subject == "command.done"]
    return [one for one in outcomes if one["id"] == id]


@pytest.mark.parametrize("version", [4, 5])
async def test_paho_hears_a_command_once_and_its_puback_is_the_delivery(doors: Any, version: int) -> None:
    door = await doors()
    device = await Device(door.port, version).listening()
    try:
        await ask(door)
        await until(lambda: any(one.get("delivered") for one in told(door)))
        await ask(door)  # the platform asks again: answered, not sent again
        await until(lambda: len(told(door)) == 3)
    finally:
        device.leave()
    (message,) = device.heard
    assert (message.topic, message.qos, message.retain) == (TOPIC, 1, False)
    assert orjson.loads(message.payload) == {"id": "c1", "field": "target", "channel": "", "value": 2.5}
    assert [(one["ok"], one.get("delivered", False)) for one in told(door)] == [
        (True, False),
        (True, True),
        (True, True),
    ]
    if version == 5:
        assert 20 <= message.properties.MessageExpiryInterval <= 30
        assert message.properties.ResponseTopic == "city/P-017/answers"


@pytest.mark.parametrize("good", [True, False])
async def test_a_device_answers_by_topic_and_the_answer_is_no_observation(doors: Any, good: bool) -> None:
    door = await doors()
    device = Device(door.port, 4)

    def answer(message: Any) -> None:
        id = orjson.loads(message.payload)["id"]
        body = {"id": id, "ok": good, "why": "valve jammed"}
        device.client.publish("city/P-017/answers", orjson.dumps(body), 1)

    device.answer = answer
    await device.listening()
    try:
        await ask(door)
        await until(lambda: any("answered_at" in one and not one.get("delivered") for one in told(door)))
    finally:
        device.leave()
    last = [one for one in told(door) if not one.get("delivered")][-1]
    assert (last["ok"], last.get("confirmed", False)) == (good, good)
    assert "valve jammed" in last["detail"] or good
    assert door.intake.payloads() == [] and door.intake.rejected == {}


async def test_gmqtt_answers_as_mqtt_5_asks_with_correlation(doors: Any) -> None:
    door, heard = await doors(), []
    client = gmqtt.Client("valve")
    client.set_auth_credentials("P-017", "710-P")
    ready = asyncio.Event()

    def on_message(client: gmqtt.Client, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        heard.append(payload)
        where, what = properties["response_topic"][0], properties["correlation_data"][0]
        client.publish(where, b'{"ok": true}', qos=1, correlation_data=what)
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    await client.connect("127.0.0.1", door.port)
    client.subscribe("city/P-017/commands/+", qos=1)
    await asyncio.wait_for(ready.wait(), 20)
    await ask(door)
    await until(lambda: any(one.get("confirmed") for one in told(door)))
    await client.disconnect()
    assert len(heard) == 1


@pytest.mark.parametrize("session", [True, False])
async def test_a_device_that_was_away_too_long_never_hears_of_it(doors: Any, session: bool) -> None:
    door = await doors()
    device = await Device(door.port, session=session).listening()
    device.leave()
    await until(lambda: not door.adapter.devices)
    await ask(door, within_s=2.0)
    await until(lambda: bool(told(door)) and not told(door)[-1].get("waiting"))
    first, last = told(door)[0], told(door)[-1]
    assert first["waiting"] and not last["ok"] and "nothing was sent: P-017" in last["detail"]
    again = await Device(door.port, session=session).listening()
    try:
        await ask(door, "c2")
        await until(lambda: bool(again.heard))
    finally:
        again.leave()
    assert [orjson.loads(one.payload)["id"] for one in again.heard] == ["c2"]


async def test_a_device_that_comes_in_time_gets_it(doors: Any) -> None:
    door = await doors()
    await ask(door)
    device = await Device(door.port).listening()
    try:
        await until(lambda: any(one.get("delivered") for one in told(door)))
    finally:
        device.leave()
    assert len(device.heard) == 1 and told(door)[0]["waiting"]


async def test_a_door_that_is_started_again_sends_nothing_twice(doors: Any) -> None:
    door = await doors()
    device = await Device(door.port, session=True).listening()
    await ask(door)
    await until(lambda: any(one.get("delivered") for one in told(door)))
    device.leave()
    await door.adapter.stop()
    fresh = await doors()
    back = await Device(fresh.port, session=True).listening()
    try:
        await ask(fresh)
        await until(lambda: bool(told(fresh)))
        await ask(fresh, "c2")
        await until(lambda: bool(back.heard))
    finally:
        back.leave()
    assert told(fresh)[0]["unsure"]
    assert [orjson.loads(one.payload)["id"] for one in back.heard] == ["c2"]
