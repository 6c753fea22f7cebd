"""The MQTT door alone, before an intake that stores nothing, beside mosquitto in the same run: QoS 1 at full speed."""

import asyncio
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from haechi.app.supervisor import free_port
from haechi.core.message import Message
from haechi.plugins.adapters.mqtt.adapter import create
from haechi.ports import AdapterContext, Receipt

CONNECTIONS, EACH, WINDOW = 100, 3_000, 300
PAYLOAD = b'{"ts":1763790000000,"pressure":412.3,"flow":3.25,"temp":18.1}'


def main() -> None:
    print(f"{CONNECTIONS} connections, {CONNECTIONS * EACH:,} messages of {len(PAYLOAD)} bytes, QoS 1, MQTT 3.1.1")
    print(f"{'':<12}{'messages/s':>12}{'CPU us/message':>16}{'at the door alone/s':>21}")
    ours, cpu = uvloop.run(door())
    print(f"{'door':<12}{ours:>12,.0f}{cpu:>16.2f}{1e6 / cpu:>21,.0f}")
    peer = mosquitto()
    if peer is None:
        print("mosquitto is not installed: nothing to compare with")
    else:
        print(f"{'mosquitto':<12}{peer:>12,.0f}\nratio {ours / peer:.2f}")


class Nowhere:
    """An intake that stores nothing, a registry that knows everybody, a bus and a clock, all in one."""

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        return Receipt(stored=len(messages))

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        raise AssertionError(reason)

    def verify(self, device: str, secret: str, link: str) -> bool:
        return True

    def knows(self, device: str, link: str) -> bool:
        return True

    async def publish(self, subject: str, payload: bytes) -> None:
        return

    async def listen(self, pattern: str, heard: Any) -> Any:
        async def stop() -> None:
            return

        return stop

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def door() -> tuple[float, float]:
    """Messages a second, and microseconds of this process's CPU for each."""
    all_in_one = Nowhere()
    with tempfile.TemporaryDirectory() as folder:
        context = AdapterContext("bench", all_in_one, all_in_one, all_in_one, all_in_one, folder)
        adapter = create({"port": 0, "topic": "city/{device}/{channel...}", "presence": False}, context)
        await adapter.start()
        before = time.process_time()
        rate = await asyncio.to_thread(offered, adapter.address[1])
        cpu = time.process_time() - before
        assert adapter.health()["accepted"] == CONNECTIONS * EACH
        await adapter.stop()
    return rate, cpu / (CONNECTIONS * EACH) * 1e6


def mosquitto() -> float | None:
    program = shutil.which("mosquitto")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = Path(folder) / "mosquitto.conf"
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        )
        running = subprocess.Popen([program, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            return offered(port)
        finally:
            running.terminate()
            running.wait()


def offered(port: int) -> float:
    """Sends everything from a process of its own; messages acknowledged a second."""
    command = [sys.executable, str(Path(__file__)), str(port)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


async def _send(port: int) -> float:
    loop = asyncio.get_running_loop()
    senders = [Sender(f"D{number}") for number in range(CONNECTIONS)]
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)
        await sender.ready
    started = time.perf_counter()
    for sender in senders:
        sender.fill()
    await asyncio.gather(*(sender.done for sender in senders))
    span = time.perf_counter() - started
    for sender in senders:
        sender.transport.close()
    return CONNECTIONS * EACH / span


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


class Sender(asyncio.Protocol):
    """Keeps a window of PUBLISH packets on the way and counts the PUBACKs."""

    def __init__(self, device: str) -> None:
        loop = asyncio.get_running_loop()
        self.ready, self.done = loop.create_future(), loop.create_future()
        self.device, self.sent, self.taken, self.rest = device, 0, 0, 0
        self.head = text(f"city/{device}/water")

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        body = text("MQTT") + b"\x04\xc2\0\x3c" + text(self.device) * 3
        transport.write(bytes((0x10, len(body))) + body)

    def fill(self) -> None:
        count = min(WINDOW - self.sent + self.taken, EACH - self.sent)
        size = bytes((0x32, len(self.head) + 2 + len(PAYLOAD)))
        numbers = range(self.sent + 1, self.sent + count + 1)
        self.transport.write(b"".join(size + self.head + struct.pack(">H", n) + PAYLOAD for n in numbers))
        self.sent += count

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            assert data == b"\x20\x02\0\0"
            self.ready.set_result(None)
            return
        self.rest += len(data)
        self.taken, self.rest = self.taken + self.rest // 4, self.rest % 4
        if self.taken == EACH:
            self.done.set_result(None)
        elif self.sent - self.taken <= WINDOW // 2:
            self.fill()


if __name__ == "__main__":
    if sys.argv[1:]:
        print(uvloop.run(_send(int(sys.argv[1]))))
    else:
        main()
