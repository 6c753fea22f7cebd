"""Feeds projections from the log: each at its own pace, in a thread of its own, after those it depends on. Used by
the pipeline role."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
import structlog

from haechi.core.errors import Unavailable
from haechi.ports import Bus, Clock, Log, Notice, Projection, Record

ALL = frozenset({"obs", "entity", "ops"})
TICK_S = 1.0
RETRY_S = 1.0
POSITIONS_S = 1.0

_events = structlog.get_logger("pipeline")


class Runner:
    """Runs every projection until cancelled. A projection that fails is tried again from its durable position."""

    def __init__(self, log: Log, bus: Bus, clock: Clock, projections: Sequence[Projection]) -> None:
        self._log, self._bus, self._clock = log, bus, clock
        self._projections = list(projections)
        self._seen = {one.name: one.position() for one in projections}
        self._moved = asyncio.Condition()

    def seen(self) -> Mapping[str, int]:
        """Seq up to which each projection has applied the log."""
        return dict(self._seen)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self._projections:
                group.create_task(self._keep(one), name=one.name)
            group.create_task(self._tell_positions())

    async def _tell_positions(self) -> None:
        """Says now and then how far each has come: whoever starts to listen later must not wait for the next record."""
        while True:
            for name, seq in self._seen.items():
                await self._tell([_applied(name, seq)])
            await asyncio.sleep(POSITIONS_S)

    async def _keep(self, projection: Projection) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix=projection.name) as thread:
            worker = _Worker(projection, thread)
            while True:
                try:
                    await self._feed(projection, worker)
                except (Unavailable, OSError) as error:
                    _events.warning("projection_waits", projection=projection.name, error=str(error))
                    await asyncio.sleep(RETRY_S)

    async def _feed(self, projection: Projection, worker: "_Worker") -> None:
        position = await worker.position()
        await self._advance(projection.name, position)
        records = self._log.read(position, ALL)
        following = asyncio.create_task(self._follow(projection, worker, records))
        ticking = asyncio.create_task(self._tick(projection, worker))
        try:
            await asyncio.gather(following, ticking)
        finally:
            following.cancel()
            ticking.cancel()
            await asyncio.gather(following, ticking, return_exceptions=True)

    async def _follow(
        self, projection: Projection, worker: "_Worker", batches: AsyncIterator[Sequence[Record]]
    ) -> None:
        async for records in batches:
            await self._wait_for(projection.after, records[-1].seq)
            mine = [one for one in records if one.subject in projection.subjects]
            if mine:
                await self._tell(await worker.apply(mine, self._clock))
            await self._advance(projection.name, records[-1].seq)
            await self._tell([_applied(projection.name, records[-1].seq)])

    async def _tick(self, projection: Projection, worker: "_Worker") -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._tell(await worker.tick(self._clock))

    async def _tell(self, notices: Sequence[Notice]) -> None:
        for one in notices:
            with contextlib.suppress(Unavailable):  # a notice is a hint: the effect is durable, the next one says more
                await self._bus.publish(one.subject, one.payload)

    async def _advance(self, name: str, seq: int) -> None:
        async with self._moved:
            self._seen[name] = seq
            self._moved.notify_all()

    async def _wait_for(self, names: Sequence[str], seq: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: min((self._seen[one] for one in names), default=math.inf) >= seq)


def _applied(name: str, seq: int) -> Notice:
    return Notice(f"applied.{name}", orjson.dumps({"seq": seq}))


class _Worker:
    """Calls one projection from one thread, so that `apply` and `tick` never overlap, and `position` is asked only
    when an `apply` that was given up half-way has ended: its records must not be passed again."""

    def __init__(self, projection: Projection, thread: ThreadPoolExecutor) -> None:
        self._projection, self._thread = projection, thread

    async def position(self) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._projection.position)

    async def apply(self, records: Sequence[Record], clock: Clock) -> Sequence[Notice]:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._projection.apply, records, clock.now()
        )

    async def tick(self, clock: Clock) -> Sequence[Notice]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._projection.tick, clock.now())
