"""A disk turns read-only, or its power fails, while appends are under way: each that was acknowledged is there.

Linux' ext4 lets an fsync succeed that stored nothing while its journal is being aborted. Without the witness one round
in six lost an acknowledged append on the machine this was made on.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fault_disk import Disk, missing

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, NatsServer, ServerSettings
from haechi.plugins.stores.nats.witness import Witness

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "a disk of its own is there")]
WRITERS, SIZE, LEAST = 4, 500, 40
ROUNDS = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "data", tmp_path / "disk.img") as made:
        yield made


@contextlib.asynccontextmanager
async def the_log(folder: Path, witness: Witness) -> AsyncIterator[NatsLog]:
    """On a server of its own, killed at the end as by a power loss."""
    server = NatsServer(ServerSettings(folder, Address(free_port(), "token-of-this-test")))
    await server.start()
    client = await connect(server._settings.address, "test")
    log = NatsLog(client, witness=witness)
    await log.open()
    try:
        yield log
    finally:
        await close(client)
        witness.close()
        assert server._process is not None
        server._process.kill()
        await server.wait()


async def names_on(log: NatsLog) -> set[str]:
    last, names = await log.last_seq(), set[str]()
    if last:
        async for records in log.read(0, frozenset({"obs"})):
            names |= {one.payload.rstrip(b"\0").decode() for one in records}
            if records[-1].seq >= last:
                break
    return names


async def write(log: NatsLog, writer: int, acknowledged: list[str]) -> None:
    """Until the log refuses."""
    number = 0
    while True:
        name = f"{writer}-{number}"
        try:
            await log.append("obs", name.encode().ljust(SIZE, b"\0"), name)
        except Unavailable:
            return
        acknowledged.append(name)
        number += 1


async def acknowledged_while(disk: Disk, fault: str, folder: Path) -> list[str]:
    acknowledged: list[str] = []
    async with the_log(folder, Witness(folder)) as log:
        writers = [asyncio.create_task(write(log, one, acknowledged)) for one in range(WRITERS)]
        while len(acknowledged) < LEAST:  # noqa: ASYNC110 - a busy machine needs longer to have something to lose
            await asyncio.sleep(random.uniform(0.005, 0.02))  # the instant is to differ from round to round
        await asyncio.to_thread(getattr(disk, fault))
        after = len(acknowledged)
        await asyncio.sleep(0.1)
        for one in writers:
            one.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        assert len(acknowledged) <= after + WRITERS, "the disk is gone and appends go on being acknowledged"
    return acknowledged


@pytest.mark.parametrize("fault", ["read_only", "unplug"])
async def test_no_acknowledgement_leaves_for_a_sync_that_stored_nothing(disk: Disk, fault: str) -> None:
    for turn in range(ROUNDS):
        folder = disk.folder / f"log-{turn}"
        acknowledged = await acknowledged_while(disk, fault, folder)
        await asyncio.to_thread(disk.unplug)
        await asyncio.to_thread(disk.replug)
        async with the_log(folder, Witness(folder)) as log:
            lost = sorted(set(acknowledged) - await names_on(log))
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged appends are gone: {lost[:5]}"


async def test_the_witness_refuses_once_the_disk_is_read_only_and_goes_on_with_the_next_disk(disk: Disk) -> None:
    witness = Witness(disk.folder)
    await asyncio.gather(*(witness.confirm() for _ in range(50)))
    assert not list(disk.folder.glob("witness*")), "its file has no name"
    disk.read_only()
    with pytest.raises(OSError, match=r"Read-only|Input/output"):
        await witness.confirm()
    disk.replug()
    await witness.confirm()
    witness.close()
