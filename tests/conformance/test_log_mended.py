"""A log that forgot its end, or everything, goes on beyond what its consumers have seen, also when that is
interrupted."""

import asyncio

import pytest

from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats import upkeep
from haechi.plugins.stores.nats.log import NatsLog

ALL = frozenset({"obs", "entity", "ops"})


async def test_filling_up_that_was_interrupted_is_finished_at_the_next_start(
    log: NatsLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append("obs", b"", "first")
    fill, filled = upkeep._fill, 0

    async def twice(*wanted: object) -> None:
        nonlocal filled
        filled += 1
        if filled > 2:
            raise Unavailable("killed here")
        await fill(*wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "_fill", twice)
    with pytest.raises(Unavailable):
        await log.continue_after(7)
    monkeypatch.setattr(upkeep, "_fill", fill)
    await log.continue_after(7)
    assert await log.append("obs", b"", "new") >= 8, "beyond what a consumer believes it has seen"


async def test_a_log_that_forgot_everything_goes_on_at_once_however_far_its_consumers_were(log: NatsLog) -> None:
    await log.continue_after(5_000_000_000)
    assert await log.append("obs", b"a", "new") == 5_000_000_001
    async with asyncio.timeout(20):
        async for records in log.read(7, ALL):
            assert [one.seq for one in records] == [5_000_000_001]
            break


async def test_a_log_that_is_further_than_its_consumers_stays_as_it_is(log: NatsLog) -> None:
    for name in ("a", "b", "c"):
        await log.append("obs", b"", name)
    await log.continue_after(2)
    assert await log.append("obs", b"", "d") == 4
