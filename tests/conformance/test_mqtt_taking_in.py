"""Messages reach the log over MQTT and are acknowledged then: paho, mosquitto_pub, gmqtt."""

import asyncio
import shutil
import struct
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from haechi.core.message import Message
from haechi.ports import Receipt
from mqtt_kit import (
    STATUS,
    V5,
    V311,
    Client,
    Raw,
    connect_bytes,
    publish_bytes,
    until,
)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_paho_publishes_and_the_message_is_stored_once(doors: Any, version: int, qos: int) -> None:
    door = await doors()
    async with Client(door, version=version) as client:
        sent = client.paho.publish("city/P-017/water/pressure", b'{"v": 1}', qos)
        await until(lambda: client.published.get(sent.mid) == 0)
        await until(lambda: door.intake.payloads() == [b'{"v": 1}'])
    (found,) = [one for one in door.intake.messages if one.channel != STATUS]
    assert (found.link, found.device, found.channel) == ("field", "P-017", "water/pressure")
    assert abs(found.received_at - datetime.now(UTC).timestamp() * 1e6) < 60e6


@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto-clients is not installed")
@pytest.mark.peer
async def test_mosquitto_pub_publishes(doors: Any, version: str, qos: int) -> None:
    door = await doors()
    who = ["-u", "P-017", "-P", "710-P", "-V", version, "-q", str(qos), "-p", str(door.port), "-h", "127.0.0.1"]
    command = ["mosquitto_pub", *who, "-t", "city/P-017/a", "-m", "21.5"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    await until(lambda: door.intake.payloads() == [b"21.5"])


@pytest.mark.parametrize("version", [V311, V5])
async def test_gmqtt_publishes_and_hears_commands(doors: Any, version: int) -> None:
    import gmqtt

    door = await doors()
    client = gmqtt.Client("gm", clean_session=True)
    client.set_auth_credentials("P-017", "710-P")
    heard: list[tuple[str, bytes]] = []
    granted: list[Any] = []

    async def on_message(_: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        heard.append((topic, payload))
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda c, mid, codes, properties: granted.append(codes)
    await client.connect("127.0.0.1", door.port, version=version)
    for qos in (0, 1, 2):
        client.publish("city/P-017/a", b"%d" % qos, qos=qos)
    await until(lambda: sorted(door.intake.payloads()) == [b"0", b"1", b"2"])
    client.subscribe("city/P-017/commands/#", qos=1)
    await until(lambda: bool(granted))
    await door.bus.publish("mqtt.city.P-017.commands.valve", b"open")
    await until(lambda: heard == [("city/P-017/commands/valve", b"open")])
    await client.disconnect()


async def test_what_many_connections_send_at_once_is_one_batch(doors: Any) -> None:
    door = await doors(gather_ms=100, presence=False)
    raws = [await Raw.open(door, connect_bytes(f"D{n}")) for n in range(20)]
    for raw in raws:
        assert await raw.take(4) == b"\x20\x02\0\0"
    for n, raw in enumerate(raws):
        raw.writer.write(publish_bytes(f"city/D{n}/a", b"1", 1, n + 1))
    for n, raw in enumerate(raws):
        assert await raw.take(4) == struct.pack(">BBH", 0x40, 2, n + 1)
        await raw.close()
    assert door.intake.calls == [20]


async def test_nothing_is_acknowledged_before_it_is_stored(doors: Any) -> None:
    door = await doors(presence=False)
    door.intake.open.clear()
    messages = publish_bytes("city/P-017/a", b"1", 1, 7) + publish_bytes("city/P-017/a", b"2", 2, 8)
    raw = await Raw.open(door, connect_bytes(), messages)
    assert await raw.take(4) == b"\x20\x02\0\0"
    with pytest.raises(TimeoutError):
        await raw.take(1, 0.5)
    door.intake.open.set()
    assert await raw.take(8) == b"\x40\x02\0\x07\x50\x02\0\x08"
    await raw.close()


async def test_an_intake_that_stays_away_leaves_everything_unacknowledged(doors: Any) -> None:
    door = await doors(presence=False, unavailable_s=0.5)
    door.intake.away = True
    raw = await Raw.open(
        door, connect_bytes(), publish_bytes("city/P-017/a", b"1", 1, 7), publish_bytes("city/P-017/a", b"2", 0)
    )
    assert await raw.rest() == b"\x20\x02\0\0"
    assert door.intake.rejected == {"unavailable": 1}, "QoS 0 is lost, and counted"
    door.intake.away = False
    again = await Raw.open(door, connect_bytes(), publish_bytes("city/P-017/a", b"1", 1, 7, dup=True))
    assert await again.take(8) == b"\x20\x02\0\0\x40\x02\0\x07"
    assert door.intake.payloads() == [b"1"]
    await again.close()


async def test_an_intake_that_comes_back_in_time_is_not_noticed_by_the_device(doors: Any) -> None:
    door = await doors(presence=False)
    door.intake.away = True
    raw = await Raw.open(door, connect_bytes(), publish_bytes("city/P-017/a", b"1", 1, 7))
    await until(lambda: door.adapter.health()["unavailable"] > 0)
    door.intake.away = False
    assert await raw.take(8) == b"\x20\x02\0\0\x40\x02\0\x07"
    await raw.close()


async def test_a_bug_in_ingest_closes_the_senders_and_the_door_goes_on(doors: Any, monkeypatch: Any) -> None:
    door = await doors(presence=False)

    async def broken(messages: Sequence[Message]) -> Receipt:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(door.intake, "accept", broken)
        raw = await Raw.open(door, connect_bytes(), publish_bytes("city/P-017/a", b"1"))
        assert await raw.rest() == b"\x20\x02\0\0"
    again = await Raw.open(door, connect_bytes(), publish_bytes("city/P-017/a", b"1"))
    assert await again.take(8) == b"\x20\x02\0\0\x40\x02\0\x01"
    await again.close()


async def test_a_qos_2_message_sent_again_is_stored_once_even_over_connections_and_restarts(doors: Any) -> None:
    door = await doors(presence=False)
    twice = publish_bytes("city/P-017/a", b"1", 2, 5) + publish_bytes("city/P-017/a", b"1", 2, 5, dup=True)
    raw = await Raw.open(door, connect_bytes(clean=False), twice)
    assert await raw.take(8) == b"\x20\x02\0\0\x50\x02\0\x05"
    await raw.close()
    await door.adapter.stop()
    other = await doors(presence=False)
    raw = await Raw.open(other, connect_bytes(clean=False), publish_bytes("city/P-017/a", b"1", 2, 5, dup=True))
    assert await raw.take(8) == b"\x20\x02\x01\0\x50\x02\0\x05"
    raw.writer.write(b"\x62\x02\0\x05")
    assert await raw.take(4) == b"\x70\x02\0\x05"
    assert (door.intake.payloads(), other.intake.payloads()) == ([b"1"], [])
    raw.writer.write(publish_bytes("city/P-017/a", b"2", 2, 5))
    assert await raw.take(4) == b"\x50\x02\0\x05"
    assert other.intake.payloads() == [b"2"], "after PUBREL the id is free"
    await raw.close()


async def test_what_ingest_refuses_is_told_with_its_reason_in_version_5(doors: Any) -> None:
    door = await doors()
    door.intake.refuse = {b"bad": "no such field"}
    async with Client(door, version=V5) as client:
        mids = [
            client.paho.publish("city/P-017/a", body, qos).mid for body, qos in [(b"bad", 1), (b"good", 1), (b"bad", 2)]
        ]
        await until(lambda: len(client.published) == 3)
        # paho releases a refused QoS 2 message all the same, and is told that its id is unknown (0x92)
        assert [client.published[mid] for mid in mids] == [0x83, 0, 0x92]
    async with Client(door) as client:
        sent = client.paho.publish("city/P-017/a", b"bad", 1)
        await until(lambda: client.published.get(sent.mid) == 0)
