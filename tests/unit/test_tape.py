"""The newest records in memory: every reader gets every record once and in order, wherever it begins and however slow
it is."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from haechi.core.errors import Unavailable
from haechi.ports import Record
from haechi.services.stream import tape
from haechi.services.stream.tape import Tape

ALL = frozenset({"obs"})


class Memory:
    """A `Log` in a list: sequences may have holes, and it hands over a few records at a time."""

    def __init__(self, seed: int) -> None:
        self.records: list[Record] = []
        self.reads = 0
        self._rng = random.Random(seed)
        self._grown = asyncio.Condition()

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        async with self._grown:
            seq = (self.records[-1].seq if self.records else 0) + self._rng.choice((1, 1, 1, 3))
            self.records.append(Record(seq, subject, payload, seq))
            self._grown.notify_all()
        return seq

    async def read(self, after: int, subjects: frozenset[str]) -> AsyncIterator[Sequence[Record]]:
        self.reads += 1
        while True:
            async with self._grown:
                await self._grown.wait_for(lambda seen=after: bool(self.records) and self.records[-1].seq > seen)
                some = [one for one in self.records if one.seq > after][: self._rng.randint(1, 5)]
            after = some[-1].seq
            yield some

    async def last_seq(self) -> int:
        return self.records[-1].seq if self.records else 0


@pytest.mark.parametrize("seed", range(12))
async def test_readers_of_any_speed_and_start_get_all_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, log = random.Random(seed), Memory(seed)
    monkeypatch.setattr(tape, "KEPT_BYTES", rng.choice((10, 200, 10**6)))
    monkeypatch.setattr(tape, "TOGETHER", rng.choice((1, 7, 1000)))
    for number in range(40):
        await log.append("obs", b"%04d" % number, "")
    shared = Tape(log, ALL)
    running = asyncio.create_task(shared.run())

    async def follow(after: int, slow: bool) -> list[int]:
        seen: list[int] = []
        async for records in shared.read(after):
            seen += [one.seq for one in records]
            if slow:
                await asyncio.sleep(rng.uniform(0, 0.003))
            if len(log.records) == 120 and seen[-1] == log.records[-1].seq:
                return seen
        raise AssertionError("a tape has no end")

    starts = [0, log.records[10].seq, log.records[-1].seq, log.records[-1].seq]
    readers = [asyncio.create_task(follow(after, slow)) for after, slow in zip(starts, (0, 1, 0, 1), strict=True)]
    for number in range(40, 120):
        await log.append("obs", b"%04d" % number, "")
        if rng.random() < 0.3:
            await asyncio.sleep(0)
    async with asyncio.timeout(20):
        for after, reader in zip(starts, readers, strict=True):
            assert await reader == [one.seq for one in log.records if one.seq > after]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_those_at_the_end_of_the_log_share_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Memory(1)
    await log.append("obs", b"old", "")
    shared = Tape(log, ALL)
    running = asyncio.create_task(shared.run())
    await asyncio.sleep(0)
    begun = [shared.read(1) for _ in range(5)]
    firsts = [asyncio.create_task(anext(one)) for one in begun]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await log.append("obs", b"new", "")
    async with asyncio.timeout(20):
        found = await asyncio.gather(*firsts)
    assert [[one.payload for one in records] for records in found] == [[b"new"]] * 5
    assert log.reads == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _gathers(paces: dict[str, float], waits: str, comes: str) -> None:
    """A record of `waits` is handed over with the next of `comes`, and not before; the first is at once."""
    log = Memory(1)
    shared = Tape(log, ALL)
    running = asyncio.create_task(shared.run())
    reading = shared.read(0, paces)
    await asyncio.sleep(0.01)  # the tape has begun: nobody has to read the log by himself
    await log.append(waits, b"1", "")
    async with asyncio.timeout(20):
        assert [one.payload for one in await anext(reading)] == [b"1"]  # type: ignore[arg-type]
        waiting = asyncio.create_task(anext(reading))  # type: ignore[arg-type]
        await log.append(waits, b"2", "")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await log.append(comes, b"3", "")
        assert [one.payload for one in await waiting] == [b"2", b"3"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_observations_are_handed_over_at_a_pace_and_what_somebody_waits_for_at_once() -> None:
    await _gathers({"obs": 60.0}, waits="obs", comes="entity")


async def test_a_subject_with_a_shorter_pace_takes_along_what_may_wait_longer() -> None:
    await _gathers({"obs": 0.01, "entity": 60.0}, waits="entity", comes="obs")


async def test_a_log_that_is_away_at_the_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "RETRY_S", 0.001)
    log, refusals = Memory(1), [Unavailable("no server"), Unavailable("no server")]
    last_seq = log.last_seq

    async def away() -> int:
        if refusals:
            raise refusals.pop()
        return await last_seq()

    monkeypatch.setattr(log, "last_seq", away)
    shared = Tape(log, ALL)
    running = asyncio.create_task(shared.run())
    reading = asyncio.create_task(anext(shared.read(0)))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    await log.append("obs", b"a", "")
    async with asyncio.timeout(20):
        assert [one.payload for one in await reading] == [b"a"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
