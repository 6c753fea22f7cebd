"""How long intake lets messages gather before a commit begins: as long as waiting brings more. Used by `GroupIntake`.

A frame costs all who read and write it about 1.4 ms of processor time whatever it holds: in frames of 20 rows an
observation took 156 us, in frames of 500 it took 90 (`python -m bench profile`). Whether waiting brings more cannot be
seen from a rate: senders that wait for their answer before they send again send nothing while they are held. So it is
measured: where the second half of a wait brought nothing, nobody is held until another try shows otherwise.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable

HOLD_S = 0.025  # commits begin so far apart at most because of us: what is a wait for one is no wait for the next
ENOUGH, ENOUGH_BYTES = 500, 64 * 1024  # messages or payloads beyond which a larger frame saves nothing
FEW = 4  # messages in a wait that was worth it
PAYS = 0.15  # share of them that came in its second half
TRY_S, TRY_MESSAGES = 1.0, 160  # while waiting does not pay it is tried again after both: an idle city never waits
LOAD, GAP_S = 32, 0.002  # after a commit of so many we wait for as many, until nothing comes for that long


class Gathering:
    """Counts what waits for the next commit and says when that begins. `now`: the event loop's clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._messages = self._bytes = 0  # that wait
        self._last, self._began = 0, -math.inf  # messages in the commit begun last, and when
        self._gain = 0.0  # share of messages that came in the second half of waits, the last ones weighing most
        self._tried_at, self._since = -math.inf, 0  # the last wait that was held to its end, and messages since
        self._enough = 0
        self._plenty = asyncio.Event()

    def came(self, messages: int, size: int) -> None:
        """So many more wait, of so many bytes."""
        self._messages += messages
        self._bytes += size
        if self._has(self._enough):
            self._plenty.set()

    def left(self, messages: int, size: int) -> None:
        """So many wait no longer."""
        self._messages -= messages
        self._bytes -= size

    def begins(self, messages: int) -> None:
        """A commit of so many begins now."""
        self._last, self._began = messages, self._now()
        self._since += messages

    async def linger(self) -> None:
        """Returns when a commit should begin: at once where none began lately or enough wait already."""
        now, ends_at = self._now(), self._began + HOLD_S
        if now >= ends_at or not self._messages or self._has(ENOUGH):
            return
        if self._gain >= PAYS or (now - self._tried_at >= TRY_S and self._since >= TRY_MESSAGES):
            await self._hold(now, ends_at)
        elif self._last >= LOAD:
            await self._until_quiet(ends_at)

    async def _hold(self, now: float, ends_at: float) -> None:
        await self._wait((now + ends_at) / 2, ENOUGH)
        half = self._messages
        await self._wait(ends_at, ENOUGH)
        came = (self._messages - half) / self._messages if self._messages >= FEW else 0.0
        self._gain = (self._gain + (1.0 if self._has(ENOUGH) else came)) / 2
        self._tried_at, self._since = self._now(), 0

    async def _until_quiet(self, ends_at: float) -> None:
        """Those who were answered together mostly send again together: waits for as many as the last time."""
        before = -1
        while before < self._messages and not self._has(self._last) and (now := self._now()) < ends_at:
            before = self._messages
            await self._wait(min(now + GAP_S, ends_at), self._last)

    async def _wait(self, until: float, enough: int) -> None:
        self._enough = enough
        self._plenty.clear()
        if not self._has(enough):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._plenty.wait()

    def _has(self, enough: int) -> bool:
        return self._messages >= enough or self._bytes >= ENOUGH_BYTES
