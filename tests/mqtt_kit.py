"""Shared by the tests of the MQTT door: what lies behind it, and clients before it: paho, and bare packets."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from haechi.core.errors import Unavailable
from haechi.core.message import Message
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
