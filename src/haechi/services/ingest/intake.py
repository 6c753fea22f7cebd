"""`ports.Intake`: gathers what all adapters hand over while an append is under way into the next one (group commit)."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence

import structlog

from haechi.core.errors import Unavailable
from haechi.core.frame import encode
from haechi.core.message import Message
from haechi.ports import Log, Receipt
from haechi.services.ingest.batch import Builder
from haechi.services.ingest.mapping import Mapper

GROUP = 4_000  # messages in one frame at most, unless one caller brings more
WAITING = 20_000  # messages that may wait for the log; callers beyond that wait themselves (back-pressure)
IN_FLIGHT = 2  # appends under way at once
REJECT_FLUSH_S = 1.0
STOP_S, STOP_TRIES = 10.0, 500  # how long a stop waits for appends under way

_events = structlog.get_logger("ingest")


class _Batch:
    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()


class GroupIntake:
    """Call `start` before the adapters start and `stop` after they stopped: what was accepted is then on the log."""

    def __init__(self, log: Log, mappers: Mapping[str, Mapper]) -> None:
        self._log, self._mappers = log, mappers
        self._waiting: list[_Batch] = []
        self._backlog = 0
        self._under_way = 0
        self._work = asyncio.Event()
        self._room = asyncio.Condition()
        self._rejected: dict[tuple[str, str], int] = {}
        self._tasks: list[asyncio.Task[None]] = []

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
        async with self._room:
            await self._room.wait_for(lambda: self._backlog < WAITING)
            self._backlog += len(messages)
        batch = _Batch(messages)
        self._waiting.append(batch)
        self._work.set()
        try:
            return await asyncio.shield(batch.done)
        finally:
            async with self._room:
                self._backlog -= len(messages)
                self._room.notify_all()

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        key = (link, reason)
        self._rejected[key] = self._rejected.get(key, 0) + count

    def check(self) -> None:
        """Raises what ended a task of this intake: without it the doors would wait for ever."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (problem := task.exception()) is not None:
                raise problem

    def health(self) -> dict[str, float]:
        """`waiting`: messages that wait for the log; `room`: share of the queue still free (0–1)."""
        return {"waiting": float(self._backlog), "room": max(0.0, 1 - self._backlog / WAITING)}

    async def _flush_rejects(self) -> None:
        while True:
            await asyncio.sleep(REJECT_FLUSH_S)
            if self._rejected:
                self._work.set()

    async def _commit_for_ever(self) -> None:
        while True:
            await self._work.wait()
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

    def _take(self) -> list[_Batch]:
        taken, size = 0, 0
        while taken < len(self._waiting) and size < GROUP:
            size += len(self._waiting[taken].messages)
            taken += 1
        batches, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batches

    async def _commit(self, batches: Sequence[_Batch], rejected: Mapping[tuple[str, str], int]) -> None:
        builder = Builder(self._mappers)
        receipts = [_add(builder, batch) for batch in batches]
        for (link, reason), count in rejected.items():
            builder.reject(link, reason, count)
        try:
            for frame in builder.frames():
                await self._log.append("obs", encode(frame), uuid.uuid4().hex)
        except Unavailable as error:
            _events.warning("append_failed", messages=sum(len(one.messages) for one in batches), error=str(error))
            for (link, reason), count in rejected.items():
                self.reject(link, reason, count)
            _settle(batches, error)
            return
        for batch, receipt in zip(batches, receipts, strict=True):
            if not batch.done.done():
                batch.done.set_result(receipt)


def _add(builder: Builder, batch: _Batch) -> Receipt:
    stored = quarantined = 0
    for message in batch.messages:
        more_stored, more_quarantined = builder.add(message)
        stored += more_stored
        quarantined += more_quarantined
    return Receipt(stored, quarantined)


def _settle(batches: Sequence[_Batch], error: Exception) -> None:
    for batch in batches:
        if not batch.done.done():
            batch.done.set_exception(error)
            batch.done.exception()  # a caller that went away does not want it; nobody else is told "never retrieved"
