"""The newest records of the log in memory, read once for all projections of a process. Used by the runner.

Who is near the end of the log reads here; who is further behind reads the log by itself until it has caught up.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence

from haechi.core.errors import Unavailable
from haechi.ports import Log, Record

KEPT_BYTES = 16 * 2**20  # of payload; decoded once, it is there twice
RETRY_S = 0.5
TOGETHER, TOGETHER_BYTES = 2_000, 32 * 2**20  # records handed over at once at most: a slow projection gets more at once


class Tape:
    """Call `run` as a task; any number may `read`."""

    def __init__(self, log: Log, subjects: frozenset[str]) -> None:
        self._log, self._subjects = log, subjects
        self._batches: deque[Sequence[Record]] = deque()
        self._bytes = 0
        self._from: int | None = None  # every record with a higher seq is here; None: nothing is known yet
        self._grown = asyncio.Condition()

    async def run(self) -> None:
        """Follows the log from where it ends now."""
        start = await self._end()
        async with self._grown:
            self._from = start
            self._grown.notify_all()
        async for records in self._log.read(start, self._subjects):
            async with self._grown:
                self._batches.append(records)
                self._bytes += _size(records)
                while self._bytes > KEPT_BYTES and len(self._batches) > 1:
                    gone = self._batches.popleft()
                    self._bytes -= _size(gone)
                    self._from = gone[-1].seq
                self._grown.notify_all()

    async def _end(self) -> int:
        while True:
            try:
                return await self._log.last_seq()
            except Unavailable:
                await asyncio.sleep(RETRY_S)

    async def read(self, after: int, pace_s: float = 0.0) -> AsyncIterator[Sequence[Record]]:
        """Endless: records with seq > `after` in order. Observations alone are handed over every `pace_s` at most: each
        time costs a commit, whatever there is to apply."""
        position, handed = after, -math.inf
        loop = asyncio.get_running_loop()
        while True:
            if self._from is None or position < self._from:
                async for records in self._log.read(position, self._subjects):
                    position = records[-1].seq
                    yield records
                    if self._from is not None and position >= self._from:
                        break
                continue
            await self._gathered(position, handed + pace_s - loop.time())
            found = await self._newer(position)
            if found:
                position, handed = found[-1].seq, loop.time()
                yield found

    async def _gathered(self, position: int, wait_s: float) -> None:
        """Returns after that time, or once there is something that somebody waits for or as much as fits."""
        if wait_s <= 0:
            return

        def enough() -> bool:
            fresh = [one for one in self._batches if one[-1].seq > position]
            many = sum(len(one) for one in fresh) >= TOGETHER
            return many or any(record.subject != "obs" for one in fresh for record in one if record.seq > position)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._grown:
                await self._grown.wait_for(enough)

    async def _newer(self, position: int) -> Sequence[Record]:
        """What is here after `position`, once there is something; nothing when it has been dropped meanwhile."""
        async with self._grown:
            await self._grown.wait_for(lambda: bool(self._batches) and self._batches[-1][-1].seq > position)
            assert self._from is not None
            if position < self._from:
                return ()
            found: list[Record] = []
            size = 0
            for records in self._batches:
                if records[-1].seq <= position:
                    continue
                found += records if records[0].seq > position else [one for one in records if one.seq > position]
                size += _size(records)
                if len(found) >= TOGETHER or size >= TOGETHER_BYTES:
                    break
            return found


def _size(records: Sequence[Record]) -> int:
    return sum(len(one.payload) for one in records)
