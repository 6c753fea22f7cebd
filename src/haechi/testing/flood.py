"""Senders that want more than a platform takes: MQTT 3.1.1 and 5, HTTP push, HJ 212; each waits as its protocol says.

A process of its own, `python -m haechi.testing.flood PLAN`: sends for a while, then only takes the answers that are
still due, and prints what was acknowledged. `haechi.testing.overload` starts it.
"""

import asyncio
import base64
import json
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from haechi.plugins.codecs.hj212.framing import wrap

WINDOW = 3_000  # unanswered messages a device of MQTT 3.1.1 or HJ 212 would like to have: TCP tells it when to stop
FILL = 100  # messages in one write
BUFFER = 64 * 1024  # of the sender's socket and in front of it: so that it feels it when nobody reads
PAD = b" " * 400  # after a JSON document: a frame of a talkative device


class Plan(msgspec.Struct):
    """`devices`: kind of sender -> device -> secret; kinds are mqtt, mqtt5, push, hj212. `ports` by link."""

    ports: dict[str, int]
    devices: dict[str, dict[str, str]]
    seconds: float
    begin_ms: int  # the devices' clocks start here and run a second a message
    patience_s: float = 120.0  # for answers after the last message


@dataclass(slots=True)
class Tally:
    """What became of the messages of one kind of sender."""

    sent: int = 0
    acknowledged: int = 0
    told_to_wait: int = 0  # 429 with Retry-After
    dropped: list[str] = field(default_factory=list)  # connections that ended before their last answer
    paused: int = 0  # how often TCP told a sender to stop
    by_device: dict[str, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)  # when each of `latencies_s` was acknowledged


class Sender(asyncio.Protocol):
    """Keeps `window` messages on the way as long as its transport takes them. Kinds fill in the bytes."""

    window = WINDOW

    def __init__(self, device: str, secret: str, plan: Plan, tally: Tally) -> None:
        self.device, self.secret, self.plan, self.tally = device, secret, plan, tally
        self.sent = self.acknowledged = 0
        self.begun: dict[int, float] = {}
        self.ready = self.writable = False
        self.sending = True
        self.rest = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.writable = cast("asyncio.Transport", transport), True
        self.transport.set_write_buffer_limits(high=BUFFER)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)

    def pause_writing(self) -> None:
        self.writable = False
        self.tally.paused += 1

    def resume_writing(self) -> None:
        self.writable = True
        self.fill()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.tally.dropped.append(f"{self.device}: {error}")
            self.done.set_result(None)

    def message(self, number: int) -> bytes:
        """The bytes of the message with that number, counted from 0."""
        raise NotImplementedError

    def fill(self) -> None:
        """Sends what may be sent now."""
        while self.sending and self.ready and self.writable and self.sent - self.acknowledged < self.window:
            count, now = min(FILL, self.window - self.sent + self.acknowledged), time.monotonic()
            self.begun.update(dict.fromkeys(range(self.sent, self.sent + count), now))
            self.transport.write(b"".join(self.message(self.sent + one) for one in range(count)))
            self.sent += count
            self.tally.sent += count

    def answered(self, count: int) -> None:
        """So many messages, the oldest first, were acknowledged."""
        now = time.monotonic()
        for number in range(self.acknowledged, self.acknowledged + count):
            self.tally.latencies_s.append(now - self.begun.pop(number))
            self.tally.at_s.append(now)
        self.acknowledged += count
        self.tally.acknowledged += count
        self.tally.by_device[self.device] = self.acknowledged
        self.fill()
        self.look()

    def look(self) -> None:
        """Ends when nothing is due any more."""
        if not self.sending and self.acknowledged == self.sent and not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def ts(self, number: int) -> int:
        return self.plan.begin_ms + number * 1000


def text(word: str) -> bytes:
    """As MQTT writes it (1.5.4)."""
    return struct.pack(">H", len(word)) + word.encode()


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet (2.1)."""
    size, left = bytearray(), len(body)
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    return bytes((first,)) + bytes(size) + bytes((left,)) + body


class Mqtt(Sender):
    """MQTT 3.1.1 (QoS 1): as much as the socket takes."""

    version, properties = 4, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        head = text("MQTT") + bytes((self.version, 0xC2, 0, 60)) + self.properties
        self.transport.write(packet(0x10, head + text(self.device) * 2 + text(self.secret)))

    def message(self, number: int) -> bytes:
        value = b'{"ts":%d,"pressure":%d}' % (self.ts(number), 400 + number % 100) + PAD
        topic = text(f"city/{self.device}/p") + struct.pack(">H", number % 60_000 + 1)
        return packet(0x32, topic + self.properties + value)

    def data_received(self, data: bytes) -> None:
        self.rest += data
        count = 0
        while len(self.rest) >= 2 and len(self.rest) >= 2 + self.rest[1]:  # our server's packets here are short
            kind, body = self.rest[0] >> 4, self.rest[2 : 2 + self.rest[1]]
            self.rest = self.rest[2 + len(body) :]
            if kind == 2:
                assert body[1] == 0, f"CONNACK {body!r}"
                self.told(body)
                self.ready = True
            else:
                assert kind == 4 and (len(body) == 2 or body[2] < 0x80), f"packet {kind}, {body!r}"
                count += 1
        self.answered(count)

    def told(self, connack: bytes) -> None:
        """CONNACK came."""


class Mqtt5(Mqtt):
    """MQTT 5: never more unacknowledged than the server's Receive Maximum."""

    version, properties = 5, b"\0"

    def told(self, connack: bytes) -> None:
        at = connack.index(b"\x21", 3)
        self.window = struct.unpack_from(">H", connack, at + 1)[0]


class Hj212(Sender):
    """An upload after the other; each asks for its answer (Flag 5)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.ready = True
        self.fill()

    def message(self, number: int) -> bytes:
        clock = time.strftime("%Y%m%d%H%M%S", time.gmtime(self.ts(number) / 1000))
        head = f"QN={clock}{number % 1000:03d};ST=22;CN=2011;PW={self.secret};MN={self.device};Flag=5"
        return wrap(f"{head};CP=&&DataTime={clock};a34004-Rtd={10 + number % 50},a34004-Flag=N&&".encode())

    def data_received(self, data: bytes) -> None:
        block = self.rest + data
        whole = block.rfind(b"\r\n") + 2 if b"\r\n" in block else 0
        frames, self.rest = block[:whole], block[whole:]
        count = frames.count(b"CN=9014")
        assert count == frames.count(b"##"), frames[:200]
        self.answered(count)


class Push(Sender):
    """One request after the other; 429 waits as told and sends the same again."""

    window = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        token = base64.b64encode(f"{self.device}:{self.secret}".encode()).decode()
        self.head = (
            f"POST /push/p HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self.ready = True
        self.fill()

    def message(self, number: int) -> bytes:
        body = f'{{"ts":{self.ts(number)},"pressure":{3 + number % 5}}}'
        return f"{self.head}{len(body)}\r\n\r\n{body}".encode()

    def data_received(self, data: bytes) -> None:
        self.rest += data
        head, _, body = self.rest.partition(b"\r\n\r\n")
        fields = head.lower()
        if b"content-length: " not in fields or len(body) < int(fields.partition(b"content-length: ")[2].split()[0]):
            return
        self.rest = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.answered(1)
        elif head.startswith(b"HTTP/1.1 429"):
            self.tally.told_to_wait += 1
            wait_s = int(fields.partition(b"retry-after: ")[2].split()[0])
            asyncio.get_running_loop().call_later(wait_s, self.again)
        else:
            self.tally.dropped.append(f"{self.device}: {head[:60]!r}")
            self.transport.close()

    def again(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.message(self.acknowledged))


KINDS: dict[str, tuple[type[Sender], str]] = {
    "mqtt": (Mqtt, "mqtt"),
    "mqtt5": (Mqtt5, "mqtt"),
    "push": (Push, "push"),
    "hj212": (Hj212, "air"),
}


async def flood(plan: Plan) -> dict[str, Any]:
    """Connects everybody, sends for `seconds`, waits for the answers; tallies by kind, and when sending began."""
    tallies = {kind: Tally() for kind in plan.devices}
    loop, senders = asyncio.get_running_loop(), list[Sender]()
    for kind, devices in plan.devices.items():
        make, link = KINDS[kind]
        for device, secret in devices.items():
            sender = make(device, secret, plan, tallies[kind])
            await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", plan.ports[link])  # type: ignore[misc]
            senders.append(sender)
    begun = time.monotonic()
    print(json.dumps({"begun": begun}), flush=True)
    await asyncio.sleep(plan.seconds)
    for sender in senders:
        sender.sending = False
        sender.look()
    await asyncio.wait([sender.done for sender in senders], timeout=plan.patience_s)
    waiting = {sender.device: sender.sent - sender.acknowledged for sender in senders if not sender.done.done()}
    return {"begun": begun, "tallies": {kind: asdict(one) for kind, one in tallies.items()}, "unanswered": waiting}


if __name__ == "__main__":
    found = uvloop.run(flood(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
    Path(sys.argv[1]).with_suffix(".found").write_bytes(msgspec.json.encode(found))
