"""What devices hear over MQTT: commands, retained state, sessions that wait."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mqtt_kit import (
    V5,
    V311,
    Client,
    Door,
    Raw,
    connect_bytes,
    never,
    packet,
    publish_bytes,
    text,
    until,
)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_command_on_the_bus_reaches_the_device(doors: Any, version: int, qos: int) -> None:
    door = await doors()
    async with Client(door, version=version) as client:
        assert await client.subscribe(("city/P-017/commands/#", qos)) == [qos]
        await door.bus.publish("mqtt.city.P-017.commands.valve%201", b"open")
        await until(lambda: bool(client.received))
        (found,) = client.received
        assert (found.topic, found.payload, found.qos, found.retain) == (
            "city/P-017/commands/valve 1",
            b"open",
            qos,
            False,
        )
        client.paho.unsubscribe("city/P-017/commands/#")
        await until(lambda: not door.adapter.hub.subscriptions.matches("city/P-017/commands/x"))
        await door.bus.publish("mqtt.city.P-017.commands.x", b"no")
        await never(lambda: len(client.received) > 1)


@pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto-clients is not installed")
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.peer
async def test_mosquitto_sub_gets_retained_state_and_commands(doors: Any, version: str) -> None:
    door = await doors()
    await door.bus.publish("mqtt_retained.city.P-017.state", b"kept")
    who = ["-u", "P-017", "-P", "710-P", "-V", version, "-q", "1", "-p", str(door.port), "-h", "127.0.0.1"]
    command = ["mosquitto_sub", *who, "-t", "city/P-017/state", "-t", "city/P-017/commands/#", "-C", "2", "-W", "10"]
    running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    await until(lambda: bool(door.adapter.hub.subscriptions.matches("city/P-017/commands/x")))
    await door.bus.publish("mqtt.city.P-017.commands.x", b"go")
    assert (await running.communicate())[0] == b"kept\ngo\n"


async def test_a_device_gets_what_another_device_publishes_where_its_link_allows_it(doors: Any) -> None:
    door = await doors(subscribe=["city/#"])
    async with Client(door, "A") as listener, Client(door, "B", version=V5) as sender:
        await listener.subscribe(("city/+/x", 1))
        about = Properties(PacketTypes.PUBLISH)
        about.ContentType = "text/plain"
        sender.paho.publish("city/B/x", b"1", 2, properties=about)
        sender.paho.publish("city/B/y", b"2", 1)
        sender.paho.publish("city/B/x", b"3", 0)
        await until(lambda: len(listener.received) == 2)
        assert [(one.topic, one.payload, one.qos) for one in listener.received] == [
            ("city/B/x", b"1", 1),
            ("city/B/x", b"3", 0),
        ]
        assert door.bus.heard == [], "only retained messages cross the bus"


async def test_retained_state_is_kept_over_restarts_told_on_the_bus_and_cleared(doors: Any) -> None:
    door = await doors()
    async with Client(door, version=V5) as client:
        client.paho.publish("city/P-017/state", b"on", 1, retain=True)
        await until(lambda: door.bus.heard == [("mqtt.city.P-017.state", b"on")])
    await door.adapter.stop()
    other = await doors()
    async with Client(other, version=V5) as client:
        await client.subscribe(("city/P-017/state", 1))
        await until(lambda: bool(client.received))
        assert (client.received[0].payload, client.received[0].retain) == (b"on", True)
        client.paho.publish("city/P-017/state", b"", 1, retain=True)
        await until(lambda: other.adapter.health()["retained"] == 0)
    assert other.intake.payloads() == [], "an empty payload clears; it is no observation"


async def test_over_a_real_bus_commands_arrive_and_each_door_gives_a_retained_message_once(
    bus: Any, tmp_path: Path
) -> None:
    doors = [Door(tmp_path / name, bus, subscribe=["city/#"]) for name in "AB"]
    for door in doors:
        await door.adapter.start()
    async with Client(doors[0], "A", V5) as here, Client(doors[1], "B") as there, Client(doors[0], "C") as sender:
        for client in (here, there):
            await client.subscribe(("city/#", 1))
        sender.paho.publish("city/C/a b.c/*/>/압력", b"kept", 1, retain=True)
        await until(lambda: bool(here.received and there.received))
        await bus.publish("mqtt.city.A.commands.%", b"go")
        await until(lambda: len(here.received) == len(there.received) == 2)
    heard = [("city/C/a b.c/*/>/압력", b"kept"), ("city/A/commands/", b"go")]
    assert [(one.topic, one.payload) for one in here.received] == heard
    assert [(one.topic, one.payload) for one in there.received] == heard
    for door in doors:
        await door.adapter.stop()


@pytest.mark.parametrize("restart", [False, True])
async def test_commands_wait_for_a_device_with_a_persistent_session(doors: Any, restart: bool) -> None:
    door = await doors()
    async with Client(door, clean=False) as client:
        await client.subscribe(("city/P-017/commands/#", 1))
    await until(lambda: not door.adapter.health()["connections"])
    for n in range(100):
        await door.bus.publish("mqtt.city.P-017.commands.n", b"%d" % n)
    if restart:
        await door.adapter.stop()
        door = await doors()
    async with Client(door, clean=False) as client:
        await until(lambda: len(client.received) == 100)
        assert [int(one.payload) for one in client.received] == list(range(100))


async def test_a_command_that_was_not_acknowledged_is_delivered_again(doors: Any) -> None:
    door = await doors()
    subscribe = packet(0x82, b"\0\x01" + text("city/P-017/commands/#") + b"\x01")
    raw = await Raw.open(door, connect_bytes(clean=False), subscribe)
    assert await raw.take(9) == b"\x20\x02\0\0\x90\x03\0\x01\x01"
    await door.bus.publish("mqtt.city.P-017.commands.v", b"open")
    sent = publish_bytes("city/P-017/commands/v", b"open", 1, 1)
    assert await raw.take(len(sent)) == sent
    await raw.close()
    raw = await Raw.open(door, connect_bytes(clean=False))
    again = publish_bytes("city/P-017/commands/v", b"open", 1, 1, dup=True)
    assert await raw.take(4 + len(again)) == b"\x20\x02\x01\0" + again
    raw.writer.write(b"\x40\x02\0\x01")
    await until(lambda: not door.adapter.hub.sessions[("P-017", "P-017")].inflight)
    await raw.close()


async def test_a_subscription_survives_a_kill_right_after_its_suback(doors: Any, tmp_path: Path) -> None:
    door = await doors()
    raw = await Raw.open(door, connect_bytes(clean=False), packet(0x82, b"\0\x01" + text("news/+") + b"\x01"))
    await raw.take(9)
    shutil.copytree(tmp_path / "mqtt", tmp_path / "after", dirs_exist_ok=True)  # as a kill would leave it
    other = Door(tmp_path / "after")
    await other.adapter.start()
    assert other.adapter.hub.subscriptions.matches("news/x")
    await other.adapter.stop()
    await raw.close()


async def test_a_session_ends_when_its_expiry_passed(doors: Any) -> None:
    door = await doors()
    about = Properties(PacketTypes.CONNECT)
    about.SessionExpiryInterval = 1
    async with Client(door, version=V5, properties=about):
        assert door.adapter.health()["sessions"] == 1
    await until(lambda: door.adapter.health()["sessions"] == 0)
