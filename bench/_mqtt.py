"""A generator of MQTT 3.1.1 traffic, QoS 1: packets are encoded beforehand, so that sending costs next to nothing.

All packets of a connection have one size; a fill of the window is one slice of its buffer and one write.
"""

import asyncio
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

NUMBERS = 60_000  # packet identifiers in turn


@dataclass(frozen=True, slots=True)
class Script:
    """What one connection sends: `count` PUBLISH packets of `size` bytes each, one after the other in `packets`."""

    user: str
    secret: str
    packets: bytes
    size: int

    @property
    def count(self) -> int:
        return len(self.packets) // self.size


def text(word: str) -> bytes:
    return struct.pack(">H", len(word)) + word.encode()


def length(size: int) -> bytes:
    """Remaining length (3.1.1, clause 2.2.3)."""
    found = bytearray()
    while True:
        size, digit = divmod(size, 128)
        found.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(found)


def publish(topic: str, payload: bytes, number: int) -> bytes:
    """A PUBLISH packet at QoS 1; `number` counts from 0."""
    body = text(topic) + struct.pack(">H", number % NUMBERS + 1) + payload
    return b"\x32" + length(len(body)) + body


def connect(user: str, secret: str) -> bytes:
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + text(user) + text(user) + text(secret)
    return b"\x10" + length(len(body)) + body


def script(user: str, secret: str, channels: Sequence[str], turns: range, at_ms: int, step_ms: float = 1.0) -> Script:
    """An observation for each number of `turns`, channel after channel in turn; each channel's values move by 0.1 kPa
    each time."""
    packets = []
    for order, number in enumerate(turns):
        turn, place = divmod(number, len(channels))
        value = f'{{"ts":{at_ms + int(order * step_ms)},"pressure":{400 + turn % 2 / 10:.1f}}}'.encode()
        packets.append(publish(f"city/{user}/{channels[place]}", value, order))
    sizes = {len(one) for one in packets}
    assert len(sizes) == 1, "packets must have one size"
    return Script(user, secret, b"".join(packets), sizes.pop())


class Sender(asyncio.Protocol):
    """One connection: at most `window` messages unacknowledged, and no more than `allow` was told."""

    def __init__(self, script: Script, window: int) -> None:
        self._script, self._window = script, window
        self._packets = memoryview(script.packets)
        self._count = script.count
        self._bytes = 0  # of PUBACKs
        self.sent = self._allowed = 0
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    @property
    def acknowledged(self) -> int:
        return self._bytes // 4

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(connect(self._script.user, self._script.secret))

    def allow(self, more: int) -> None:
        """Lets that many more messages go, now or as soon as the window has room."""
        self._allowed = min(self._count, self._allowed + more)
        self._fill()

    def data_received(self, received: bytes) -> None:
        if not self.ready.done():
            assert received == b"\x20\x02\x00\x00", received
            self.ready.set_result(None)
            return
        self._bytes += len(received)
        if self._bytes == self._count * 4:
            self.done.set_result(None)
        elif self.sent - self._bytes // 4 <= self._window // 2:
            self._fill()

    def _fill(self) -> None:
        count = min(self._window - self.sent + self._bytes // 4, self._allowed - self.sent)
        if count > 0:
            size = self._script.size
            self.transport.write(self._packets[self.sent * size : (self.sent + count) * size])
            self.sent += count

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the door closed on {self._script.user}: {error}"))


async def open_all(port: int, scripts: Sequence[Script], window: int) -> list[Sender]:
    senders = [Sender(one, window) for one in scripts]
    loop = asyncio.get_running_loop()
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)  # type: ignore[misc]
        await sender.ready
    return senders


def flood(port: int, scripts: Sequence[Script], window: int) -> float:
    """Sends everything as fast as it is acknowledged; acknowledgements a second."""
    return uvloop.run(_flood(port, scripts, window))


async def _flood(port: int, scripts: Sequence[Script], window: int) -> float:
    senders = await open_all(port, scripts, window)
    started = time.perf_counter()
    for sender in senders:
        sender.allow(1 << 40)
    await asyncio.gather(*(sender.done for sender in senders))
    span = time.perf_counter() - started
    for sender in senders:
        sender.transport.close()
    return sum(one.count for one in scripts) / span
