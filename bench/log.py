"""Appends to the log under both durabilities, beside bare fsync of the same disk: what an acknowledgement costs."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

from haechi.app.supervisor import free_port
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, NatsServer, ServerSettings

ROWS = 500  # observations in a message
SIZE = 50_000  # bytes of it
SECONDS = 5.0
AT_ONCE = 8


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        limit = bare_syncs(Path(folder) / "bare")
        print(f"{'':<28}{'messages/s':>12}{'observations/s':>16}{'p50 ms':>9}{'p99 ms':>9}{'of bare fsync':>15}")
        print(f"{'write + fsync, one by one':<28}{limit:>12,.0f}{limit * ROWS:>16,.0f}{'':>9}{'':>9}{1:>15.2f}")
        for durability in ("disk", "os"):
            spans = asyncio.run(appends(Path(folder) / durability, durability))
            rate = len(spans) / SECONDS
            spans.sort()
            p50, p99 = (spans[int(len(spans) * one)] * 1000 for one in (0.5, 0.99))
            name = f"log, durability {durability}"
            print(f"{name:<28}{rate:>12,.0f}{rate * ROWS:>16,.0f}{p50:>9.1f}{p99:>9.1f}{rate / limit:>15.2f}")


def bare_syncs(file: Path) -> float:
    """Synchronous writes of the same size to the same disk, a second."""
    count, end = 0, time.perf_counter() + SECONDS / 2
    with file.open("wb") as out:
        while time.perf_counter() < end:
            out.write(b"x" * SIZE)
            out.flush()
            os.fsync(out.fileno())
            count += 1
    return count / (SECONDS / 2)


async def appends(folder: Path, durability: str) -> list[float]:
    """Seconds each append took, with eight under way at once."""
    server = NatsServer(ServerSettings(folder, Address(free_port(), "bench"), durability))
    await server.start()
    client = await connect(server._settings.address, "bench")
    log = NatsLog(client)
    await log.open()
    spans: list[float] = []
    end = time.perf_counter() + SECONDS

    async def one(number: int) -> None:
        count = 0
        while (started := time.perf_counter()) < end:
            await log.append("obs", b"x" * SIZE, f"{number}-{count}")
            spans.append(time.perf_counter() - started)
            count += 1

    await asyncio.gather(*(one(number) for number in range(AT_ONCE)))
    await close(client)
    await server.stop()
    return spans


if __name__ == "__main__":
    main()
