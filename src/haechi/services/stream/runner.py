"""Feeds projections from the log: each at its own pace, in a thread of its own, after those it depends on. Used by
the pipeline role."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
import structlog

from haechi.core.errors import InvalidData, Unavailable
from haechi.ports import Bus, Clock, Log, Notice, Projection, Record
from haechi.services.stream.tape import Tape

ALL = frozenset({"obs", "entity", "ops"})
FRAMES = frozenset({"obs", "entity"})
TICK_S = 1.0
RETRY_S = 1.0
POSITIONS_S = 0.25
AWAITED = frozenset({"context", "account"})  # whose positions faces wait for; those of the others are told by and by
FIRST_PACE_S, PACE_S = 0.01, 0.05  # how often what nobody waits for is handed over at most: each time costs a commit
MODEL = "context"  # the next request must see what it makes of a change of an entity; the others may gather these, too
TURN_S = 0.2  # others wait that long at most for those that go first: if these stand, the rest goes on

_events = structlog.get_logger("pipeline")


class Runner:
    """Runs every projection until cancelled. A projection that fails is tried again from its durable position.

    A frame nobody can read (of another version, spoilt on disk) is the same to every projection: `set_aside` keeps its
    bytes for people, and the log goes on without it. They share one interpreter: while those that go `first` have
    records to apply, no other begins.
    """

    def __init__(
        self,
        log: Log,
        bus: Bus,
        clock: Clock,
        projections: Sequence[Projection],
        set_aside: Callable[[Record], None],
        first: Sequence[str] = (),
    ) -> None:
        """`first`: names of the projections that others give way to."""
        self._first = dict.fromkeys(first, False)  # by name: whether it is at work, or could be at once
        self._bus, self._clock, self._set_aside = bus, clock, set_aside
        self._projections = list(projections)
        self._workers: list[_Worker] = []
        self._unreadable: set[int] = set()
        self._tape = Tape(log, ALL)
        self._seen = {one.name: one.position() for one in projections}
        self._moved = asyncio.Condition()

    def seen(self) -> Mapping[str, int]:
        """Seq up to which each projection has applied the log."""
        return dict(self._seen)

    async def durable(self) -> int:
        """Seq up to which the effects of every projection are durable: the log may forget what is before. 0 at
        first."""
        if len(self._workers) < len(self._projections):
            return 0
        return min([await worker.position() for worker in self._workers])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self._projections:
                group.create_task(self._keep(one), name=one.name)
            group.create_task(self._tape.run())
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
            self._workers.append(worker)
            while True:
                try:
                    await self._feed(projection, worker)
                except _ReadAgain as error:
                    _events.warning("projection_reads_again", projection=projection.name, error=str(error))
                except (Unavailable, OSError) as error:
                    _events.warning("projection_waits", projection=projection.name, error=str(error))
                    await asyncio.sleep(RETRY_S)

    async def _feed(self, projection: Projection, worker: "_Worker") -> None:
        position = await worker.position()
        await self._advance(projection.name, position)
        await self._stand(projection.name, at_work=True)
        records = self._tape.read(position, self._paces(projection.name))
        following = asyncio.create_task(self._follow(projection, worker, records))
        ticking = asyncio.create_task(self._tick(projection, worker))
        try:
            await asyncio.gather(following, ticking)
        finally:
            await self._stand(projection.name, at_work=False)
            following.cancel()
            ticking.cancel()
            await asyncio.gather(following, ticking, return_exceptions=True)

    def _paces(self, name: str) -> Mapping[str, float]:
        """By subject. Commands of people (`ops`) go to everybody at once: somebody waits for the answer."""
        if name == MODEL:
            return {"obs": PACE_S}
        return {"obs": FIRST_PACE_S if name in self._first else PACE_S, "entity": PACE_S}

    async def _follow(
        self, projection: Projection, worker: "_Worker", batches: AsyncIterator[Sequence[Record]]
    ) -> None:
        async for records in batches:
            mine = [one for one in records if one.subject in projection.subjects and one.seq not in self._unreadable]
            await self._wait_for(projection, max((one.seq for one in mine if one.subject != "obs"), default=0))
            if not self._is_awaited(projection.name, records):
                await self._give_way(records[-1].seq)
            if mine:
                await self._tell(await self._apply(worker, mine))
            await self._advance(projection.name, records[-1].seq)
            if projection.name in AWAITED:
                await self._tell([_applied(projection.name, records[-1].seq)])

    async def _apply(self, worker: "_Worker", records: Sequence[Record]) -> Sequence[Notice]:
        try:
            return await worker.apply(records, self._clock)
        except InvalidData as error:
            spoilt = [one for one in records if not _is_readable(one)]
            if not spoilt:
                raise
            for one in spoilt:
                await asyncio.to_thread(self._set_aside, one)
                self._unreadable.add(one.seq)
            raise _ReadAgain(f"without {len(spoilt)} unreadable frame(s): {error}") from error

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

    async def _wait_for(self, projection: Projection, seq: int) -> None:
        """Until all that it comes after have applied `seq`; meanwhile nobody gives way to it."""
        if all(self._seen[one] >= seq for one in projection.after):
            return
        await self._stand(projection.name, at_work=False)
        async with self._moved:
            await self._moved.wait_for(lambda: min(self._seen[one] for one in projection.after) >= seq)
        await self._stand(projection.name, at_work=True)

    async def _stand(self, name: str, *, at_work: bool) -> None:
        if name in self._first:
            async with self._moved:
                self._first[name] = at_work
                self._moved.notify_all()

    def _is_awaited(self, name: str, records: Sequence[Record]) -> bool:
        """Whether these must not wait for those that go first: these may be gathering, and wait for the live model."""
        return name in self._first or (name == MODEL and any(one.subject != "obs" for one in records))

    async def _give_way(self, seq: int) -> None:
        def clear() -> bool:
            return all(self._seen[one] >= seq for one, at_work in self._first.items() if at_work)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TURN_S), self._moved:
                await self._moved.wait_for(clear)


def _is_readable(record: Record) -> bool:
    if record.subject not in FRAMES:
        return True
    try:
        record.frame()
    except InvalidData:
        return False
    return True


def _applied(name: str, seq: int) -> Notice:
    return Notice(f"applied.{name}", orjson.dumps({"seq": seq}))


class _ReadAgain(Exception):
    """From the durable position, without the frames set aside meanwhile."""


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
