"""`ports.Intake`: gathers what all adapters hand over while an append is under way into the next one (group commit)."""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.message import Message
from haechi.ports import Log, Receipt
from haechi.services.ingest.batch import Builder
from haechi.services.ingest.gathering import Gathering
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.pace import Pace

GROUP = 4_000  # messages in one commit at most, unless one caller brings more
GROUP_BYTES = 8 * 1024 * 1024  # of their payloads, likewise
WAITING = 20_000  # messages that may wait for the log; callers beyond that wait themselves (back-pressure)
WAITING_BYTES = 32 * 1024 * 1024  # of their payloads, likewise
IN_FLIGHT = 2  # commits under way at once
REJECT_FLUSH_S = 1.0
STOP_S, STOP_TRIES = 10.0, 500  # how long a stop waits for commits under way
RETRY_S = 0.5
ONE = (1, 0)  # what became of most messages: kept once, so that the collector has nothing to walk
NO_ROOM = "it cannot be mapped whole, and quarantine is full: nothing of it was stored; mend it, or empty quarantine"

_events = structlog.get_logger("ingest")


class _Batch:
    """What one call of `accept` brought."""

    __slots__ = ("done", "messages", "size")

    def __init__(self, messages: Sequence[Message], size: int) -> None:
        self.messages, self.size = messages, size
        self.done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()


class _Caller(NamedTuple):
    """A call of `accept` that waits until there is room for its messages."""

    turn: asyncio.Future[None]
    messages: int
    size: int


class GroupIntake:
    """Call `start` before the adapters start and `stop` after they stopped: what was accepted is then on the log.

    In memory at most: `WAITING` messages of `WAITING_BYTES` and what the last call brought beyond, until they are on
    the log. Callers beyond that wait in the order they came.
    """

    def __init__(self, log: Log, mappers: Mapping[str, Mapper], room: Callable[[], bool] = lambda: True) -> None:
        """`room`: whether quarantine may take more; while not, what would go there is refused as a whole."""
        self._log, self._mappers, self._room = log, mappers, room
        self._waiting: deque[_Batch] = deque()
        self._gathering = Gathering(lambda: asyncio.get_running_loop().time())
        self._turn = asyncio.Lock()  # only one commit at a time gathers
        self._callers: deque[_Caller] = deque()
        self._backlog = self._bytes = 0  # messages accepted and not settled, and their payloads
        self._under_way = 0
        self._work = asyncio.Event()
        self._rejected: dict[tuple[str, str], int] = {}  # by link and reason: both are words of ours, so it stays small
        self._tasks: list[asyncio.Task[None]] = []
        self._pace = Pace(lambda: asyncio.get_running_loop().time())

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._commit_for_ever()) for _ in range(IN_FLIGHT)]
        self._tasks.append(asyncio.create_task(self._flush_rejects()))

    async def stop(self) -> None:
        for _ in range(STOP_TRIES):
            if not self._backlog and not self._rejected and not self._under_way:
                break
            self._work.set()
            await asyncio.sleep(STOP_S / STOP_TRIES)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        """See `ports.Intake`. A caller that is cancelled leaves its place; what is on its way to the log goes on."""
        batch = _Batch(messages, sum(len(one.payload) for one in messages))
        await self._admit(batch)
        self._waiting.append(batch)
        self._gathering.came(len(messages), batch.size)
        self._work.set()
        try:
            return await batch.done
        except asyncio.CancelledError:
            if batch in self._waiting:
                self._waiting.remove(batch)
                self._gathering.left(len(batch.messages), batch.size)
                self._free(len(batch.messages), batch.size)
            raise

    async def _admit(self, batch: _Batch) -> None:
        count, size = len(batch.messages), batch.size
        if not self._callers and not self._full:
            self._backlog += count
            self._bytes += size
            return
        caller = _Caller(asyncio.get_running_loop().create_future(), count, size)
        self._callers.append(caller)
        self._pace.slows()
        try:
            await caller.turn
        except asyncio.CancelledError:
            if not caller.turn.cancelled():  # its turn had come
                self._free(count, size)
            elif caller in self._callers:
                self._callers.remove(caller)
                self._free(0, 0)
            raise

    @property
    def _full(self) -> bool:
        return self._backlog >= WAITING or self._bytes >= WAITING_BYTES

    def _free(self, count: int, size: int) -> None:
        """Gives room back, and to whoever waits for it: counted as theirs at once, so that nobody overtakes."""
        self._backlog -= count
        self._bytes -= size
        while self._callers and not self._full:
            caller = self._callers.popleft()
            if not caller.turn.done():
                self._backlog += caller.messages
                self._bytes += caller.size
                caller.turn.set_result(None)
        if not self._callers:
            self._pace.flows()

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        key = (link, reason)
        self._rejected[key] = self._rejected.get(key, 0) + count

    def check(self) -> None:
        """Raises what ended a task of this intake: without it the doors would wait for ever."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (problem := task.exception()) is not None:
                raise problem

    def health(self) -> dict[str, float]:
        """`waiting`: messages that wait for the log, `waiting_bytes` their payloads; `callers`: calls that wait for
        room; `room`: share of the queue still free (0-1); and what `Pace` measured."""
        used = max(self._backlog / WAITING, self._bytes / WAITING_BYTES)
        queue = {"waiting": self._backlog, "waiting_bytes": self._bytes, "callers": len(self._callers)}
        return {**queue, "room": max(0.0, 1 - used), **self._pace.measured()}

    async def _flush_rejects(self) -> None:
        while True:
            await asyncio.sleep(REJECT_FLUSH_S)
            if self._rejected:
                self._work.set()

    async def _commit_for_ever(self) -> None:
        while True:
            async with self._turn:
                await self._work.wait()
                await self._gathering.linger()
                batches = self._take()
                if not self._waiting:
                    self._work.clear()
                rejected, self._rejected = self._rejected, {}
            if batches or rejected:
                self._under_way += 1
                try:
                    await self._commit(batches, rejected)
                finally:
                    self._under_way -= 1
                    self._free(sum(len(one.messages) for one in batches), sum(one.size for one in batches))

    def _take(self) -> list[_Batch]:
        batches: list[_Batch] = []
        count = size = 0
        while self._waiting and count < GROUP and size < GROUP_BYTES:
            batches.append(self._waiting.popleft())
            count += len(batches[-1].messages)
            size += batches[-1].size
        self._gathering.left(count, size)
        if batches:
            self._gathering.begins(count)
        return batches

    async def _commit(self, batches: Sequence[_Batch], rejected: Mapping[tuple[str, str], int]) -> None:
        builder = Builder(self._mappers)
        room = self._room()
        receipts = [_add(builder, batch, room) for batch in batches]
        for (link, reason), count in rejected.items():
            builder.reject(link, reason, count)
        try:
            await self._append(builder.frames())
        except Unavailable as error:
            _events.warning("append_failed", messages=sum(len(one.messages) for one in batches), error=str(error))
            for (link, reason), count in rejected.items():
                self.reject(link, reason, count)
            _settle(batches, error)
            return
        self._pace.stored(sum(len(batch.messages) for batch in batches))
        for batch, receipt in zip(batches, receipts, strict=True):
            if not batch.done.done():
                batch.done.set_result(receipt)

    async def _append(self, frames: Sequence[Frame]) -> None:
        """All of them, or `Unavailable` and none: what is begun is finished, however long the log is away.

        A sender told to send again after the first of its frames was stored would be counted twice.
        """
        for place, frame in enumerate(frames):
            await self._store(encode(frame), uuid.uuid4().hex, begun=place > 0)

    async def _store(self, payload: bytes, name: str, *, begun: bool) -> None:
        while True:
            try:
                with self._pace.appending():
                    await self._log.append("obs", payload, name)
            except Unavailable as error:
                if not begun:
                    raise
                _events.warning("append_waits", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return


def _add(builder: Builder, batch: _Batch, room: bool) -> Receipt:
    stored = quarantined = 0
    each: list[tuple[int, int]] = []
    refused: dict[int, str] = {}
    for index, message in enumerate(batch.messages):
        added = builder.add(message)
        if added[1] and not room:
            builder.take_back(message, added, "quarantine_full")
            refused[index] = NO_ROOM
            added = (0, 0)
        stored += added[0]
        quarantined += added[1]
        each.append(ONE if added == ONE else added)
    return Receipt(stored, quarantined, refused, each)


def _settle(batches: Sequence[_Batch], error: Exception) -> None:
    for batch in batches:
        if not batch.done.done():
            batch.done.set_exception(error)
            batch.done.exception()  # a caller that went away does not want it; nobody else is told "never retrieved"
