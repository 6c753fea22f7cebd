"""Who may do what at the MQTT door, and how presence is told."""

import asyncio
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mqtt_kit import (
    STATUS,
    V5,
    V311,
    Client,
    Raw,
    connect_bytes,
    never,
    packet,
    publish_bytes,
    text,
    until,
)


@pytest.mark.parametrize(("version", "code"), [(V311, 5), (V5, 0x86)])
@pytest.mark.parametrize("options", [{"secret": "guess"}, {"device": "unknown-1"}, {"device": "a/b"}, {"device": "#"}])
async def test_wrong_credentials_are_refused_and_counted(doors: Any, version: int, code: int, options: Any) -> None:
    door = await doors()
    async with Client(door, version=version, **options) as client:
        await until(lambda: bool(client.gone))
        assert client.codes in ([code], [135 if version == V311 else code])
    assert door.intake.rejected == {"bad_credentials": 1}
    assert door.intake.messages == []


async def test_a_client_without_a_name_is_refused(doors: Any) -> None:
    door = await doors()
    raw = await Raw.open(door, packet(0x10, text("MQTT") + b"\x04\x02\0\x3c" + text("x")))
    assert await raw.rest() == b"\x20\x02\0\x05"


@pytest.mark.parametrize(
    "topic", ["city/P-018/a", "city/P-017", "town/P-017/a", "city/P-017/$status", "$SYS/x", "city"]
)
async def test_a_foreign_topic_is_refused(doors: Any, topic: str) -> None:
    door = await doors(presence=False)
    async with Client(door, version=V5) as client:
        sent = client.paho.publish(topic, b"1", 1)
        await until(lambda: client.published.get(sent.mid) == 0x87)
        sent = client.paho.publish("city/P-017/a", b"2", 1)
        await until(lambda: client.published.get(sent.mid) == 0)
    raw = await Raw.open(door, connect_bytes(), publish_bytes(topic, b"1", 1))
    assert await raw.rest() == b"\x20\x02\0\0", "3.1.1 has no code for it: the connection ends"
    assert door.intake.payloads() == [b"2"]
    assert door.intake.rejected == {"foreign_topic": 2}


async def test_a_device_may_subscribe_only_below_its_own_filters(doors: Any) -> None:
    door = await doors()
    wanted = [
        "#",
        "city/+/commands/#",
        "city/P-018/commands/#",
        "city/P-017/#",
        "$share/g/news/x",
        "city/P-017/commands/+/x",
        "news/+",
    ]
    async with Client(door, version=V5) as client:
        assert await client.subscribe(*((one, 2) for one in wanted)) == [0x87, 0x87, 0x87, 0x87, 0x9E, 1, 1]
    async with Client(door) as client:
        assert await client.subscribe(*((one, 0) for one in wanted)) == [0x80, 0x80, 0x80, 0x80, 0x80, 0, 0]


async def test_a_will_on_a_foreign_topic_is_refused(doors: Any) -> None:
    door = await doors()
    async with Client(door, version=V5, will={"topic": "city/P-018/a", "payload": b"x"}) as client:
        await until(lambda: bool(client.gone))
        assert client.codes == [0x87]


async def test_a_device_that_is_shut_out_is_disconnected(doors: Any) -> None:
    door = await doors()
    async with Client(door, version=V5) as client:
        door.secrets.shut_out.add("P-017")
        await until(lambda: client.gone == [0x98], 15)


# --- presence ---


@pytest.mark.parametrize("version", [V311, V5])
async def test_a_dropped_device_publishes_its_will_and_goes_offline(doors: Any, version: int) -> None:
    door = await doors()
    will = {"topic": "city/P-017/last", "payload": b'{"v": 0}', "qos": 1, "retain": True}
    client = await Client(door, version=version, will=will).__aenter__()
    await until(lambda: door.intake.states("P-017") == [b'{"online": true}'])
    await client.drop()
    await until(lambda: door.intake.states("P-017") == [b'{"online": true}', b'{"online": false}'])
    assert [(one.channel, one.payload) for one in door.intake.messages if one.channel != STATUS] == [
        ("last", b'{"v": 0}')
    ]
    await until(lambda: ("mqtt.city.P-017.last", b'{"v": 0}') in door.bus.heard)
    await client.__aexit__()


async def test_a_device_that_says_goodbye_leaves_neither_will_nor_offline(doors: Any) -> None:
    door = await doors()
    async with Client(door, will={"topic": "city/P-017/last", "payload": b"x"}):
        pass
    await until(lambda: not door.adapter.health()["connections"])
    await never(lambda: len(door.intake.messages) > 1)


async def test_a_silent_device_is_dropped_after_its_keep_alive(doors: Any) -> None:
    door = await doors()
    raw = await Raw.open(door, connect_bytes(version=V5, keep_alive=1))
    started = asyncio.get_running_loop().time()
    assert (await raw.rest())[-3:-1] != b"" and 1 < asyncio.get_running_loop().time() - started < 4
    await until(lambda: door.intake.states("P-017") == [b'{"online": true}', b'{"online": false}'])


async def test_a_second_connection_takes_over_and_the_device_stays_online(doors: Any) -> None:
    door = await doors()
    async with Client(door, version=V5) as first, Client(door, version=V5) as second:
        await until(lambda: first.gone == [0x8E])
        sent = second.paho.publish("city/P-017/a", b"1", 1)
        await until(lambda: second.published.get(sent.mid) == 0)
    assert door.intake.states("P-017") == [b'{"online": true}']


async def test_a_device_cannot_take_over_the_session_of_another(doors: Any) -> None:
    door = await doors()
    async with Client(door, "P-017", client_id="x") as first, Client(door, "P-018", client_id="x") as second:
        assert (first.codes, second.codes) == ([0], [0])
        await never(lambda: bool(first.gone))


async def test_a_will_waits_for_its_delay_and_is_dropped_when_the_client_returns(doors: Any) -> None:
    door = await doors()
    about, later = Properties(PacketTypes.CONNECT), Properties(PacketTypes.WILLMESSAGE)
    about.SessionExpiryInterval, later.WillDelayInterval = 60, 1
    options = {
        "version": V5,
        "properties": about,
        "will": {"topic": "city/P-017/w", "payload": b"gone", "properties": later},
    }
    first = await Client(door, **options).__aenter__()
    await first.drop()
    await first.__aexit__()
    second = await Client(door, clean=False, **options).__aenter__()
    await never(lambda: bool(door.intake.payloads()), 1.2)
    await second.drop()
    await second.__aexit__()
    await never(lambda: bool(door.intake.payloads()), 0.5)
    await until(lambda: door.intake.payloads() == [b"gone"])
