"""The MQTT door over real sockets: independent clients before it, a recording intake, registry and bus behind it."""

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.core.message import Message
from haechi.core.mqtt.session import Item
from haechi.plugins.adapters.mqtt.adapter import MqttAdapter, create
from haechi.ports import AdapterContext, Receipt

V311, V5 = 4, 5
STATUS = "$status"


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RecordingIntake:
    """Remembers what was accepted; can be made to wait, to be away, or to refuse."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.calls: list[int] = []
        self.rejected: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.refuse: dict[bytes, str] = {}

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        await self.open.wait()
        if self.away:
            raise Unavailable("the log is away")
        self.messages += messages
        self.calls.append(len(messages))
        refused = {at: self.refuse[one.payload] for at, one in enumerate(messages) if one.payload in self.refuse}
        return Receipt(stored=len(messages) - len(refused), refused=refused)

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.messages if one.channel != STATUS]

    def states(self, device: str) -> list[bytes]:
        return [one.payload for one in self.messages if one.channel == STATUS and one.device == device]


class Secrets:
    """Every device's secret is its name backwards, on the link "field"."""

    def __init__(self) -> None:
        self.shut_out: set[str] = set()

    def verify(self, device: str, secret: str, link: str) -> bool:
        return link == "field" and secret == device[::-1] and not device.startswith("unknown")

    def knows(self, device: str, link: str) -> bool:
        return not device.startswith("unknown") and device not in self.shut_out


class MemoryBus:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._listeners: dict[str, Callable[[str, bytes], Awaitable[None]]] = {}

    async def publish(self, subject: str, payload: bytes) -> None:
        self.heard.append((subject, payload))
        for pattern, listener in list(self._listeners.items()):
            if subject.startswith(pattern.removesuffix(">")):
                await listener(subject, payload)

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        self._listeners[pattern] = heard

        async def stop() -> None:
            del self._listeners[pattern]

        return stop


class Door:
    """A started adapter and what is behind it."""

    def __init__(self, folder: Path, bus: Any = None, **settings: Any) -> None:
        self.intake, self.bus, self.secrets = RecordingIntake(), bus or MemoryBus(), Secrets()
        self.context = AdapterContext("field", self.intake, self.secrets, self.bus, WallClock(), str(folder))
        self.settings = {
            "port": 0,
            "topic": "city/{device}/{channel...}",
            "subscribe": ["city/{device}/commands/#", "city/{device}/state", "news/+"],
            **settings,
        }
        self.adapter: MqttAdapter = create(self.settings, self.context)

    @property
    def port(self) -> int:
        return self.adapter.address[1]


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Door]]]:
    started: list[Door] = []

    async def start(**settings: Any) -> Door:
        door = Door(tmp_path / "mqtt", **settings)
        started.append(door)
        await door.adapter.start()
        return door

    yield start
    for door in started:
        door.intake.open.set()
        await door.adapter.stop()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns as soon as the condition holds."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")


async def never(condition: Callable[[], bool], seconds: float = 0.3) -> None:
    """Returns when the condition stayed false."""
    for _ in range(int(seconds / 0.01)):
        assert not condition()
        await asyncio.sleep(0.01)


class Client:
    """paho in its own thread; what happened is in lists."""

    def __init__(self, door: Door, device: str = "P-017", version: int = V311, **options: Any) -> None:
        self.door, self.device = door, device
        self.codes: list[int] = []
        self.published: dict[int, int] = {}
        self.received: list[Any] = []
        self.granted: list[Any] = []
        self.gone: list[int] = []
        clean = {} if version == V5 else {"clean_session": options.pop("clean", True)}
        client_id = options.pop("client_id", device)
        self.connect_options = {"clean_start": options.pop("clean", True)} if version == V5 else {}
        if "properties" in options:
            self.connect_options["properties"] = options.pop("properties")
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False, **clean
        )
        self.paho.max_inflight_messages_set(200)
        self.paho.username_pw_set(device, options.pop("secret", device[::-1]))
        if will := options.pop("will", None):
            self.paho.will_set(**will)
        if tls := options.pop("tls", None):
            self.paho.tls_set_context(tls)
        self.keepalive = options.pop("keepalive", 60)
        assert not options
        self.paho.on_connect = lambda c, u, flags, code, p: self.codes.append(code.value)
        self.paho.on_publish = lambda c, u, mid, code, p: self.published.__setitem__(mid, code.value)
        self.paho.on_message = lambda c, u, message: self.received.append(message)
        self.paho.on_subscribe = lambda c, u, mid, codes, p: self.granted.append([code.value for code in codes])
        self.paho.on_disconnect = lambda c, u, flags, code, p: self.gone.append(code.value)

    async def __aenter__(self) -> "Client":
        where = ("127.0.0.1", self.door.port, self.keepalive)
        await asyncio.to_thread(self.paho.connect, *where, **self.connect_options)
        self.paho.loop_start()
        await until(lambda: bool(self.codes or self.gone))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.paho.disconnect()
        await asyncio.to_thread(self.paho.loop_stop)

    async def drop(self) -> None:
        """The cable is cut: no DISCONNECT."""
        self.paho.socket().shutdown(socket.SHUT_RDWR)
        await until(lambda: bool(self.gone))

    async def subscribe(self, *filters: Any) -> list[int]:
        before = len(self.granted)
        v5 = self.paho.protocol == V5
        self.paho.subscribe([(one, SubscribeOptions(qos) if v5 else qos) for one, qos in filters])
        await until(lambda: len(self.granted) > before)
        return self.granted[-1]


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def packet(first: int, body: bytes) -> bytes:
    size, length = bytearray(), len(body)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes((first,)) + bytes(size) + bytes((length,)) + body


def connect_bytes(device: str = "P-017", version: int = V311, clean: bool = True, keep_alive: int = 60) -> bytes:
    flags = 0xC0 | (2 if clean else 0)
    head = text("MQTT") + struct.pack(">BBH", version, flags, keep_alive) + (b"\0" if version == V5 else b"")
    return packet(0x10, head + text(device) + text(device) + text(device[::-1]))


def publish_bytes(
    topic: str, payload: bytes, qos: int = 1, number: int = 1, version: int = V311, dup: bool = False
) -> bytes:
    body = text(topic) + (struct.pack(">H", number) if qos else b"") + (b"\0" if version == V5 else b"") + payload
    return packet(0x30 | qos << 1 | dup << 3, body)


class Raw:
    """A socket that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, door: Door, *sent: bytes) -> "Raw":
        self = cls(*await asyncio.open_connection("127.0.0.1", door.port))
        self.writer.write(b"".join(sent))
        return self

    async def take(self, size: int, seconds: float = 20.0) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), seconds)

    async def rest(self) -> bytes:
        """What still comes until the door closes the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), 20)
        except ConnectionResetError:
            return b""
        finally:
            await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


# --- taking in ---


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


# --- who may do what ---


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


# --- subscribers ---


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


# --- hostile and broken clients ---


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
