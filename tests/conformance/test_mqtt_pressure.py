"""The MQTT door under load: who sends too much waits, who never reads is dropped, memory stays bounded."""

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest

from haechi.core.mqtt.session import Item
from mqtt_kit import (
    V5,
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


async def test_a_slow_platform_stops_reading_and_loses_nothing(doors: Any) -> None:
    door = await doors(presence=False, pending_max=50, gather_max=20)
    door.intake.open.clear()
    raw = await Raw.open(door, connect_bytes())
    assert await raw.take(4) == b"\x20\x02\0\0"
    payload = b"x" * 10_000  # in all more than the sockets between them hold
    numbers = range(1, 3_001)

    async def send() -> None:
        for number in numbers:
            raw.writer.write(publish_bytes("city/P-017/a", payload, 1, number))
            await raw.writer.drain()

    sender = asyncio.create_task(send())
    await until(lambda: bool(door.adapter.held))
    await never(lambda: door.adapter.health()["pending"] > 50 or sender.done())
    door.intake.open.set()
    acks = await raw.take(4 * len(numbers), 20)
    await sender
    assert [struct.unpack_from(">H", acks, at * 4 + 2)[0] for at in range(len(numbers))] == list(numbers)
    assert len(door.intake.messages) == len(numbers) and max(door.intake.calls) <= 20
    await raw.close()


async def test_large_payloads_wait_too(doors: Any) -> None:
    door = await doors(presence=False)
    door.intake.open.clear()
    async with Client(door) as client:
        for _ in range(150):
            client.paho.publish("city/P-017/a", b"x" * 100_000, 1)
        await until(lambda: bool(door.adapter.held))
        assert door.adapter.health()["pending"] <= 22, "two megabytes are pending, no more"
        door.intake.open.set()
        await until(lambda: len(client.published) == 150)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_3_1_1_client_is_not_read_beyond_its_share_while_others_are_served(doors: Any, qos: int) -> None:
    door = await doors(presence=False, receive_maximum=20, pending_max=1_000)
    door.intake.open.clear()
    greedy = await Raw.open(door, connect_bytes())
    await greedy.take(4)
    greedy.writer.write(b"".join(publish_bytes("city/P-017/a", b"%d" % one, qos, one) for one in range(1, 101)))
    modest = await Raw.open(door, connect_bytes("P-018"))
    await modest.take(4)
    modest.writer.write(publish_bytes("city/P-018/a", b"m"))
    await never(lambda: sum(one._waiting for one in door.adapter.connections) > 21)
    await until(lambda: sum(one._waiting for one in door.adapter.connections) == 21)
    door.intake.open.set()
    await modest.take(4)
    await greedy.take(4 * 100)
    assert len(door.intake.messages) == 101
    await greedy.close()
    await modest.close()


async def test_a_5_0_client_beyond_the_receive_maximum_it_was_told_is_disconnected(doors: Any) -> None:
    door = await doors(presence=False, receive_maximum=20)
    door.intake.open.clear()
    raw = await Raw.open(door, connect_bytes(version=V5))
    first = await raw.take(2)
    assert b"\x21\x00\x14" in await raw.take(first[1]), "Receive Maximum 20 in CONNACK"
    raw.writer.write(b"".join(publish_bytes("city/P-017/a", b"1", 1, one, V5) for one in range(1, 22)))
    said = await raw.rest()
    assert (said[0], said[2]) == (0xE0, 0x93)
    await until(lambda: door.intake.rejected.get("receive_maximum") == 1)


async def test_a_client_that_never_reads_is_dropped_and_costs_no_more_than_its_window(doors: Any) -> None:
    door = await doors(presence=False, not_reading_s=1.0)
    deaf = await Raw.open(door, connect_bytes())
    await deaf.take(4)
    deaf.writer.write(packet(0x82, b"\0\1" + text("news/+") + b"\1"))
    await deaf.take(5)
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    (connection,) = door.adapter.connections

    def told() -> bool:
        door.adapter.hub.tell(Item("news/1", b"x" * 200_000))
        assert connection.transport.get_write_buffer_size() < 33 * 200_100
        return not door.adapter.connections

    await until(told)
    assert door.adapter.health()["queued_bytes"] == 0, "its session ended with it"
    assert door.adapter.health()["dropped"] > 0
    await deaf.close()


async def test_sessions_subscriptions_queues_and_retained_messages_stay_within_their_bounds(doors: Any) -> None:
    door = await doors(presence=False, sessions_max=3, queue_bytes_max=1_000_000, retained_bytes_max=1_000_000)
    for number in range(5):
        async with Client(door, client_id=f"c{number}", clean=False) as client:
            codes = await client.subscribe(*((f"city/P-017/commands/{one}", 1) for one in range(110)))
            assert codes == [1] * 100 + [0x80] * 10
    assert [name for _, name in door.adapter.hub.sessions] == ["c2", "c3", "c4"]
    await until(lambda: not door.adapter.connections)
    for number in range(10):
        await door.bus.publish(f"mqtt_retained.city.P-017.commands.{number}", b"x" * 150_000)
    found = door.adapter.health()
    assert (found["retained"], found["retained_bytes"]) == (6, 900_000)
    assert found["queued_bytes"] == 900_000, "six messages for three sessions that are away"
    assert found["dropped"] == 4 + 24
    async with Client(door, client_id="c2", clean=False) as client:
        await until(lambda: len(client.received) == 2)
        await until(lambda: door.adapter.health()["queued_bytes"] == 600_000)


async def test_the_door_works_on_uvloop_which_the_platform_runs_on(tmp_path: Path) -> None:
    import uvloop

    async def talk() -> bytes:
        door = Door(tmp_path / "mqtt", presence=False)
        await door.adapter.start()
        raw = await Raw.open(door, connect_bytes(), publish_bytes("city/P-017/a", b"1", 2, 7))
        answers = await raw.take(8)
        await raw.close()
        await door.adapter.stop()
        return answers

    assert await asyncio.to_thread(uvloop.run, talk()) == b"\x20\x02\0\0\x50\x02\0\x07"


async def test_five_hundred_connections_are_served_at_once(doors: Any) -> None:
    door = await doors()
    raws = await asyncio.gather(*(Raw.open(door, connect_bytes(f"D{n}")) for n in range(500)))
    for raw in raws:
        assert await raw.take(4) == b"\x20\x02\0\0"
    assert door.adapter.health()["connections"] == 500
    for n, raw in enumerate(raws):
        raw.writer.write(b"".join(publish_bytes(f"city/D{n}/a", b"%d" % k, 1, k) for k in range(1, 11)))
    for raw in raws:
        assert await raw.take(40) == b"".join(struct.pack(">BBH", 0x40, 2, k) for k in range(1, 11))
        await raw.close()
    assert len(door.intake.payloads()) == 5_000
    await until(lambda: len(door.intake.states("D499")) == 2)
