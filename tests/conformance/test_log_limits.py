"""A log at its limits: it refuses what is new instead of dropping what was acknowledged, lets go what is applied."""

import asyncio
import random
import time

import pytest

from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, LogLimits
from haechi.plugins.stores.nats.state import log_state

ALL = frozenset({"obs", "entity", "ops"})
KIB = 1024
SMALL = LogLimits(max_bytes=256 * KIB, keep_bytes=64 * KIB)


async def small_log(address: Address, limits: LogLimits = SMALL) -> NatsLog:
    log = NatsLog(await connect(address, "test"), limits)
    await log.open()
    return log


async def fill(log: NatsLog) -> list[str]:
    """Appends until the log refuses; the names of what it took."""
    rng, taken = random.Random(1), list[str]()
    with pytest.raises(Unavailable, match="limit of") as refusal:
        for number in range(1_000):
            name = f"{number:05}"
            await log.append("obs", name.encode() + rng.randbytes(4 * KIB), name)
            taken.append(name)
    assert "haechi doctor" in str(refusal.value)
    return taken


async def held(log: NatsLog, after: int, last: int) -> list[str]:
    names = list[str]()
    async with asyncio.timeout(20):
        async for records in log.read(after, ALL):
            names += [one.payload[:5].decode() for one in records]
            if records[-1].seq >= last:
                break
    return names


async def test_a_full_log_refuses_at_once_and_keeps_all_it_took(nats_address: Address) -> None:
    log = await small_log(nats_address)
    taken = await fill(log)
    assert len(taken) > 10
    assert await held(log, 0, len(taken)) == taken
    await close(log._client)


async def test_what_every_consumer_applied_makes_room_and_what_one_needs_stays(nats_address: Address) -> None:
    log = await small_log(nats_address)
    taken = await fill(log)
    applied = len(taken) // 4
    assert await log.trim(applied, time.time_ns() // 1000) == applied, "the limit asks for more than may go"
    assert await held(log, applied, len(taken)) == taken[applied:]
    assert await log.append("obs", b"room", "room") == len(taken) + 1
    await log.trim(len(taken), time.time_ns() // 1000)
    state = await log_state(log._client)
    assert 32 * KIB < state.bytes <= 72 * KIB, "as much as may be is kept for those who come later"
    await close(log._client)


async def test_what_is_older_than_the_log_keeps_goes_when_it_is_applied(nats_address: Address) -> None:
    log = await small_log(nats_address, LogLimits(keep_s=1.0))
    for name in ("old-1", "old-2"):
        await log.append("obs", name.encode(), name)
    await asyncio.sleep(1.2)
    await log.append("obs", b"young", "young")
    assert await log.trim(1, time.time_ns() // 1000) == 1
    assert await log.trim(3, time.time_ns() // 1000) == 1
    assert await held(log, 2, 3) == ["young"]
    assert await log.trim(3, time.time_ns() // 1000) == 0
    await close(log._client)


async def test_a_log_of_other_limits_takes_those_of_this_run(nats_address: Address) -> None:
    log = await small_log(nats_address)
    await fill(log)
    larger = await small_log(nats_address, LogLimits(max_bytes=512 * KIB))
    assert await larger.append("obs", b"more", "more") > 10
    await close(larger._client)
    await close(log._client)
