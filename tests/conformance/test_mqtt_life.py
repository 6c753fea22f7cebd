"""Hostile and broken MQTT clients, TLS, starting and stopping."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from haechi.core.errors import InvalidSettings, Unavailable
from mqtt_kit import (
    V5,
    V311,
    Client,
    Door,
    Raw,
    connect_bytes,
    packet,
    publish_bytes,
    text,
    until,
)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + b"\x01" * 600,
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\x02\0\x04",
        b"\0\0",
    ],
)
async def test_garbage_ends_the_connection_and_is_counted(doors: Any, garbage: bytes) -> None:
    door = await doors()
    raw = await Raw.open(door, garbage)
    assert await raw.rest() in (b"", b"\x20\x02\0\x01")
    assert sum(door.intake.rejected.values()) == 1
    async with Client(door) as client:
        assert client.codes == [0]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x36\x08\0\x01a\0\x01\0xx", 0x81),  # QoS 3
        (b"\x80\x05\0\x01\0\0\0", 0x81),  # SUBSCRIBE with wrong flags
        (b"\x82\x03\0\x01\0", 0x81),  # SUBSCRIBE of nothing
        (b"\xf0\0", 0x82),  # AUTH
        (connect_bytes(version=V5), 0x82),  # a second CONNECT
        (publish_bytes("city/P-017/a", b"x" * 5_000, version=V5), 0x95),
        (publish_bytes("city/+/a", b"x", version=V5), 0x90),
        (publish_bytes("", b"x", version=V5), 0x90),
        (packet(0x32, text("") + b"\0\x01\x03\x23\0\x05x"), 0x94),  # an alias never given a topic
        (packet(0x32, text("city/P-017/a") + b"\0\x01\x03\x23\0\x63x"), 0x94),  # an alias above the maximum
        (b"".join(publish_bytes("city/P-017/a", b"x", 1, n, V5) for n in range(1, 13)), 0x93),
        (packet(0x32, text("city/P-017/a") + b"\0\x01\x02\x01\x05x"), 0x82),
    ],
)
async def test_version_5_says_why_it_ends_a_connection(doors: Any, sent: bytes, code: int) -> None:
    door = await doors(packet_bytes_max=4_096, receive_maximum=10, gather_ms=200)
    raw = await Raw.open(door, connect_bytes(version=V5))
    connack = await raw.take(2)
    await raw.take(connack[1])
    raw.writer.write(sent)
    rest = await raw.rest()
    assert (rest[0], rest[2]) == (0xE0, code)
    assert sum(door.intake.rejected.values()) == 1


async def test_topic_aliases_stand_for_their_topic(doors: Any) -> None:
    door = await doors(presence=False)
    given = packet(0x32, text("city/P-017/a") + b"\0\x01\x03\x23\0\x05" + b"1")
    used = packet(0x32, text("") + b"\0\x02\x03\x23\0\x05" + b"2")
    raw = await Raw.open(door, connect_bytes(version=V5), given, used)
    await until(lambda: [(one.channel, one.payload) for one in door.intake.messages] == [("a", b"1"), ("a", b"2")])
    await raw.close()


async def test_a_message_that_arrives_byte_by_byte_is_understood(doors: Any) -> None:
    door = await doors(presence=False)
    raw = await Raw.open(door)
    for byte in connect_bytes() + publish_bytes("city/P-017/a", b"x" * 200, 1, 9):
        raw.writer.write(bytes((byte,)))
        await raw.writer.drain()
        await asyncio.sleep(0)
    assert await raw.take(8) == b"\x20\x02\0\0\x40\x02\0\x09"
    await raw.close()


async def test_more_connections_than_the_link_allows_are_turned_away(doors: Any) -> None:
    door = await doors(connections_max=1)
    async with Client(door):
        raw = await Raw.open(door, connect_bytes("D2"))
        assert await raw.rest() == b""
        assert door.adapter.health()["turned_away"] == 1


# --- life ---


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
async def test_tls_carries_both_versions_and_plain_text_is_dropped(doors: Any, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, make, check=True, capture_output=True)
    door = await doors(tls_cert=str(cert), tls_key=str(key))
    for version in (V311, V5):
        async with Client(door, version=version, tls=ssl.create_default_context(cafile=str(cert))) as client:
            sent = client.paho.publish("city/P-017/a", b"x" * 100_000, 2)
            await until(lambda client=client, sent=sent: client.published.get(sent.mid) == 0)
    raw = await Raw.open(door, connect_bytes())
    await raw.rest()
    assert len(door.intake.payloads()) == 2


async def test_starting_and_stopping_twice_is_the_same_as_once(doors: Any) -> None:
    door = await doors()
    port = door.port
    await door.adapter.start()
    assert door.port == port
    await door.adapter.stop()
    await door.adapter.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    await door.adapter.start()
    async with Client(door) as client:
        assert client.codes == [0]


async def test_stopping_acknowledges_what_is_being_stored(doors: Any) -> None:
    door = await doors(presence=False)
    door.intake.open.clear()
    raw = await Raw.open(door, connect_bytes(version=V5), publish_bytes("city/P-017/a", b"1", 1, 7, V5))
    connack = await raw.take(2)
    await raw.take(connack[1])
    await until(lambda: door.adapter.health()["pending"] == 0)
    stopping = asyncio.create_task(door.adapter.stop())
    await asyncio.sleep(0.1)
    door.intake.open.set()
    await stopping
    rest = await raw.rest()
    assert rest[:4] == b"\x40\x02\0\x07" and (rest[4], rest[6]) == (0xE0, 0x8B)
    assert door.intake.states("P-017") == []


async def test_a_file_of_sessions_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (tmp_path / "mqtt.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unavailable, match=r"mqtt\.db"):
        await door.adapter.start()
    assert door.adapter.health()["connections"] == 0


async def test_a_port_in_use_can_be_tried_again_and_a_strange_host_cannot(doors: Any, tmp_path: Path) -> None:
    door = await doors()
    with pytest.raises(Unavailable, match="port"):
        await Door(tmp_path / "other", port=door.port).adapter.start()
    with pytest.raises(InvalidSettings, match="host"):
        await Door(tmp_path / "other", host="203.0.113.7").adapter.start()
