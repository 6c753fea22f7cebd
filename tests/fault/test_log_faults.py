"""The log's server dies under load, and its disk runs full: what it acknowledged is there, once."""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, NatsServer, ServerSettings

ALL = frozenset({"obs", "entity", "ops"})
WRITERS = 4
SMALL = 24 * 1024**2
BODY = 64 * 1024


async def everything(log: NatsLog) -> list[str]:
    """The names of all records, in their order."""
    last, names = await log.last_seq(), list[str]()
    if last:
        async for records in log.read(0, ALL):
            names += [one.payload[:24].decode().strip("\0") for one in records]
            if records[-1].seq >= last:
                break
    return names


async def kill(server: NatsServer) -> None:
    assert server._process is not None
    server._process.kill()
    await server.wait()
    await server.start()


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_again_and_again_under_load_the_log_keeps_each_acknowledged_append_once(
    log: NatsLog, nats_server: NatsServer, seed: int
) -> None:
    rng, stop = random.Random(seed), asyncio.Event()
    acknowledged: list[str] = []

    async def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"{writer}-{number}"
            await log.append("obs", name.encode(), name)
            acknowledged.append(name)
            number += 1

    writers = [asyncio.create_task(write(one)) for one in range(WRITERS)]
    for turn in range(1, 5):
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        while len(acknowledged) < 30 * turn:  # noqa: ASYNC110 - a busy machine needs longer to have something to lose
            await asyncio.sleep(0.01)
        await kill(nats_server)
    stop.set()
    await asyncio.gather(*writers)
    names = await everything(log)
    assert len(acknowledged) > 100
    assert sorted(names) == sorted(acknowledged), "each is acknowledged in the end, and there once"
    for writer in range(WRITERS):
        mine = [int(name.split("-")[1]) for name in names if name.startswith(f"{writer}-")]
        assert mine == sorted(mine), "and in the order of the appends"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(disk)], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here (it takes root): {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
async def on_small_disk(small_disk: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(ServerSettings(small_disk / "log", Address(free_port(), "token-of-this-test")))
    await server.start()
    yield server
    await server.stop()


async def fill(log: NatsLog, prefix: str, most: int) -> tuple[list[str], Unavailable | None]:
    """Appends until the log refuses; what it acknowledged, and the refusal."""
    rng, acknowledged = random.Random(prefix), list[str]()
    for number in range(most):
        name = f"{prefix}-{number}"
        try:
            await log.append("obs", name.encode().ljust(24, b"\0") + rng.randbytes(BODY), name)
        except Unavailable as error:
            return acknowledged, error
        acknowledged.append(name)
    return acknowledged, None


async def eventually(work: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await work()  # type: ignore[misc]
            except Unavailable:
                await asyncio.sleep(0.2)
            else:
                return


async def keep(server: NatsServer) -> None:
    """As the supervisor does."""
    while True:
        await server.ended()
        await server.start()


async def test_a_full_disk_refuses_appends_loses_nothing_and_recovers_once_there_is_room(
    on_small_disk: NatsServer, small_disk: Path
) -> None:
    keeping = asyncio.create_task(keep(on_small_disk))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(12 * 1024**2))
    client = await connect(on_small_disk._settings.address, "test")
    log = NatsLog(client)
    await log.open()
    acknowledged, refusal = await fill(log, "before", SMALL // BODY)
    assert refusal is not None, "the disk never ran full: make it smaller"
    assert "disk" in str(refusal)
    assert len(acknowledged) > 10
    ballast.unlink()
    await eventually(lambda: log.append("obs", b"room", "room"))
    names = await everything(log)
    keeping.cancel()
    await close(client)
    lost = [one for one in acknowledged if one not in names]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged appends are gone: {lost[:5]}"
    assert len(names) == len(set(names)), "none is there twice"
    assert "room" in names


async def test_a_log_folder_that_cannot_be_written_is_no_reason_to_give_up(tmp_path: Path) -> None:
    """The supervisor tries again after `Unavailable`; whatever else ends the city."""
    (tmp_path / "disk").write_text("no folder")
    server = NatsServer(ServerSettings(tmp_path / "disk" / "log", Address(free_port(), "token-of-this-test")))
    with pytest.raises(Unavailable, match="cannot be written"):
        await server.start()
