"""A bare MQTT 3.1.1 publisher over asyncio: QoS 1, many messages under way, sent again after a loss. Used by replay."""

import asyncio
import contextlib
import random
import struct

CONNACK, PUBLISH, PUBACK, DISCONNECT = 0x20, 0x32, 0x40, b"\xe0\x00"
DUP = 0x08
REASONS = {4: "user name or password", 5: "not authorized"}


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _packet(kind: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while True:
        left, low = left // 128, left % 128
        length.append(low | (0x80 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


class Publisher:
    """One connection of one device. `sent` = `acknowledged` + `waiting`, at any moment."""

    def __init__(self, device: str, secret: str, host: str, port: int, rng: random.Random) -> None:
        """Nothing is opened before the first `publish`; `rng` spreads the pauses before it connects again."""
        self._device, self._secret, self._where, self._rng = device, secret, (host, port), rng
        self.sent = self.acknowledged = self.refused = 0
        self.refusal = ""
        self._unanswered: dict[int, bytes] = {}  # by packet id, oldest first
        self._last_id = 0
        self._writer: asyncio.StreamWriter | None = None
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Messages without a PUBACK."""
        return len(self._unanswered)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Keeps a message until the broker has acknowledged it."""
        if self._task is None:
            self._task = asyncio.create_task(self._live())
        self._last_id = self._last_id % 65_535 + 1
        packet = _packet(PUBLISH, _text(topic) + struct.pack(">H", self._last_id) + payload)
        self._unanswered[self._last_id] = packet
        self.sent += 1
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(packet)

    async def room(self, most: int) -> None:
        """Returns when fewer than `most` (at most 60,000) messages are unanswered."""
        while self.waiting >= min(most, 60_000):
            self._answered.clear()
            await self._answered.wait()

    async def close(self, wait_s: float) -> int:
        """Waits at most that long for answers and hangs up; returns how many messages have none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.room(1)
        if self._writer is not None:
            self._writer.write(DISCONNECT)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return self.waiting

    async def _live(self) -> None:
        pause = 0.5
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(10):
                    reader, writer = await self._connect()
                pause = 0.5
                try:
                    await self._listen(reader)
                finally:
                    self._writer = None
                    writer.close()
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(2 * pause, 30.0)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._where)
        head = _text("MQTT") + bytes([4, 0xC2, 0, 0])  # 3.1.1; user name, password, clean session; no keep-alive
        writer.write(_packet(0x10, head + _text(self._device) + _text(self._device) + _text(self._secret)))
        kind, _, _, code = await reader.readexactly(4)
        if kind != CONNACK or code:
            self.refused += 1
            self.refusal = REASONS.get(code, f"CONNACK {code}")
            writer.close()
            raise ConnectionRefusedError(self.refusal)
        for packet in self._unanswered.values():
            writer.write(bytes([packet[0] | DUP]) + packet[1:])
        self._writer = writer
        return reader, writer

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(65_536):
            rest += chunk
            whole = len(rest) - len(rest) % 4
            for kind, length, id in struct.iter_unpack(">BBH", rest[:whole]):
                if kind != PUBACK or length != 2:
                    raise ConnectionError("the broker sent something else than PUBACK")
                if self._unanswered.pop(id, None) is not None:
                    self.acknowledged += 1
            rest = rest[whole:]
            self._answered.set()
