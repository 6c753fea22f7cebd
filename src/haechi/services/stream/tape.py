"""The newest records of the log in memory, read once for all projections of a process. Used by the runner.

Who is near the end of the log reads here; who is further behind reads the log by itself until it has caught up.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from haechi.core.errors import Unavailable
from haechi.ports import Log, Record

KEPT_BYTES = 16 * 2**20  # of payload; decoded once, it is there twice
RETRY_S = 0.5
TOGETHER, TOGETHER_BYTES = 2_000, 32 * 2**20  # records handed over at once at most: a slow projection gets more at once
NO_PACES: Mapping[str, float] = {}


class _Waiting:
    """A reader that has all that is here, or may keep waiting: it is woken once, when something is due or fills it.

    What is due is worked out where records arrive: waking every reader for every record cost a third of the pipeline's
    loop.
    """

    def __init__(self, position: int, handed: float, paces: Mapping[str, float]) -> None:
        self.position, self._handed, self._paces = position, handed, paces
        self._loop = loop = asyncio.get_running_loop()
        self._count, self._due = 0, math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._rung: asyncio.Future[None] = loop.create_future()

    def take(self, records: Sequence[Record]) -> None:
        """These are new to it."""
        self._count += len(records)
        due = self._handed + min(self._paces.get(one.subject, 0.0) for one in records)
        if self._count >= TOGETHER or due <= self._loop.time():
            self.ring()
        elif due < self._due:
            self._due = due
            self._stop()
            self._timer = self._loop.call_at(due, self.ring)

    def ring(self) -> None:
        """Wakes it."""
        self._stop()
        if not self._rung.done():
            self._rung.set_result(None)

    async def wait(self) -> None:
        """Until it is woken."""
        try:
            await self._rung
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Tape:
    """Call `run` as a task; any number may `read`. Of one event loop."""

    def __init__(self, log: Log, subjects: frozenset[str]) -> None:
        self._log, self._subjects = log, subjects
        self._batches: deque[Sequence[Record]] = deque()
        self._bytes = 0
        self._from: int | None = None  # every record with a higher seq is here; None: nothing is known yet
        self._waiting: set[_Waiting] = set()

    async def run(self) -> None:
        """Follows the log from where it ends now."""
        self._from = start = await self._end()
        async for records in self._log.read(start, self._subjects):
            self._batches.append(records)
            self._bytes += _size(records)
            for one in self._waiting:
                one.take(records)
            self._drop()

    def _drop(self) -> None:
        """The oldest, as far as there are others. Who waits for more of them must read the log."""
        while self._bytes > KEPT_BYTES and len(self._batches) > 1:
            gone = self._batches.popleft()
            self._bytes -= _size(gone)
            self._from = end = gone[-1].seq
            for one in self._waiting:
                if one.position < end:
                    one.ring()

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
            if found := self._newer(position):
                position, handed = found[-1].seq, loop.time()
                yield found

    async def _gathered(self, position: int, handed: float, paces: Mapping[str, float]) -> None:
        """Returns once something after `position` is due, or as much is here as fits, or what is here was dropped."""
        waiting = _Waiting(position, handed, paces)
        for records in self._after(position):
            waiting.take(records if records[0].seq > position else [one for one in records if one.seq > position])
        self._waiting.add(waiting)
        try:
            await waiting.wait()
        finally:
            self._waiting.discard(waiting)

    def _after(self, position: int) -> list[Sequence[Record]]:
        """The batches that end after `position`, looked for from the newest: there are thousands, and few are new."""
        found = []
        for records in reversed(self._batches):
            if records[-1].seq <= position:
                break
            found.append(records)
        found.reverse()
        return found

    def _newer(self, position: int) -> Sequence[Record]:
        """What is here after `position`; nothing when some of it has been dropped meanwhile."""
        if self._from is None or position < self._from:
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
