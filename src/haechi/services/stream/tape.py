"""The newest records of the log in memory, read once for all projections of a process. Used by the runner.

Who is near the end of the log reads here; who is further behind reads the log by itself until it has caught up.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from haechi.core.errors import Unavailable
from haechi.ports import Log, Record

KEPT_BYTES = 16 * 2**20  # of payload; decoded once, it is there twice
RETRY_S = 0.5
TOGETHER, TOGETHER_BYTES = 2_000, 32 * 2**20  # records handed over at once at most: a slow projection gets more at once
NO_PACES: Mapping[str, float] = {}


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

    async def read(self, after: int, paces: Mapping[str, float] = NO_PACES) -> AsyncIterator[Sequence[Record]]:
        """Endless: records with seq > `after` in order. `paces`: seconds, by subject, since what was handed over last,
        for which a record may be kept until there are more: each time costs a commit, whatever there is to apply."""
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
            await self._gathered(position, handed, paces)
            found = await self._newer(position)
            if found:
                position, handed = found[-1].seq, loop.time()
                yield found

    async def _gathered(self, position: int, handed: float, paces: Mapping[str, float]) -> None:
        """Returns once something after `position` is due, or as much is here as fits."""
        clock = asyncio.get_running_loop().time
        looked, count, due = position, 0, math.inf
        async with self._grown:
            while True:
                fresh = [one for records in self._after(looked) for one in records if one.seq > looked]
                if fresh:
                    looked, count = fresh[-1].seq, count + len(fresh)
                    due = min(due, handed + min(paces.get(one.subject, 0.0) for one in fresh))
                if count >= TOGETHER or due <= (now := clock()):
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if due == math.inf else due - now):
                        await self._grown.wait()

    def _after(self, position: int) -> list[Sequence[Record]]:
        """The batches that end after `position`, looked for from the newest: there are thousands, and few are new."""
        found = []
        for records in reversed(self._batches):
            if records[-1].seq <= position:
                break
            found.append(records)
        found.reverse()
        return found

    async def _newer(self, position: int) -> Sequence[Record]:
        """What is here after `position`, once there is something; nothing when it has been dropped meanwhile."""
        async with self._grown:
            await self._grown.wait_for(lambda: bool(self._batches) and self._batches[-1][-1].seq > position)
            assert self._from is not None
            if position < self._from:
                return ()
            found: list[Record] = []
            size = 0
            for records in self._after(position):
                found += records if records[0].seq > position else [one for one in records if one.seq > position]
                size += _size(records)
                if len(found) >= TOGETHER or size >= TOGETHER_BYTES:
                    break
            return found


def _size(records: Sequence[Record]) -> int:
    return sum(len(one.payload) for one in records)
