"""Who decides about which entities at this moment: one request for each, the others in order of arrival. Used by
`Writes`."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType

_Waiters = deque["asyncio.Future[None]"]


class Holds:
    """Of one event loop. What nobody else wants costs a look-up: a batch holds thousands."""

    def __init__(self) -> None:
        self._held: dict[str, _Waiters | None] = {}  # None: nobody waits for it

    def of(self, ids: Iterable[str]) -> "Held":
        """Nobody else decides about these meanwhile; they are taken in order, so that nobody waits in a circle."""
        return Held(self, sorted(set(ids)))

    def take(self, id: str) -> "asyncio.Future[None] | None":
        """None: it is held now; else what to wait for."""
        if id not in self._held:
            self._held[id] = None
            return None
        turn = asyncio.get_running_loop().create_future()
        waiters = self._held[id]
        if waiters is None:
            waiters = self._held[id] = deque()
        waiters.append(turn)
        return turn

    def give(self, id: str) -> None:
        """To the next who waits for it, and is still there."""
        waiters = self._held[id]
        while waiters:
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[id]


class Held:
    """`async with`: all of these ids."""

    def __init__(self, holds: Holds, ids: Sequence[str]) -> None:
        self._holds, self._ids = holds, ids
        self._taken = 0

    async def __aenter__(self) -> None:
        try:
            for id in self._ids:
                turn = self._holds.take(id)
                if turn is not None:
                    await self._wait(id, turn)
                self._taken += 1
        except BaseException:
            self._give()
            raise

    async def _wait(self, id: str, turn: "asyncio.Future[None]") -> None:
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._holds.give(id)  # it came in the same moment
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give()

    def _give(self) -> None:
        for id in self._ids[: self._taken]:
            self._holds.give(id)
        self._taken = 0
