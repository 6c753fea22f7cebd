"""Entities by key for requests that come together: what one turn of the event loop asks for is read at once. Used by
`Face`.

After a commit SQLite reads its pages again, so the first look-up costs what twenty do; clients that were answered by
one frame ask again in one turn.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

Load = Callable[[Sequence[str]], Mapping[str, bytes]]
_Waiting = tuple[Sequence[str], "asyncio.Future[dict[str, bytes]]"]
TOGETHER = 100  # entities of one look: what it takes is taken from everybody


class Lookups:
    """Of one event loop. `load` gives the stored documents of those ids that exist, without waiting for anything."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._waiting: list[_Waiting] = []

    async def of(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The stored documents of those that exist, as they are after this was called."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._look)
        mine = loop.create_future()
        self._waiting.append((ids, mine))
        found: dict[str, bytes] = await mine
        return found

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        asked, some = 0, list[_Waiting]()
        for one in waiting:
            some.append(one)
            asked += len(one[0])
            if asked >= TOGETHER:
                self._answer(some)
                asked, some = 0, []
        if some:
            self._answer(some)

    def _answer(self, some: Sequence[_Waiting]) -> None:
        try:
            found = self._load(list(dict.fromkeys([id for ids, _ in some for id in ids])))
        except Exception as error:  # each of them is told
            for _, mine in some:
                if not mine.done():
                    mine.set_exception(error)
            return
        for ids, mine in some:
            if not mine.done():  # its client has gone
                mine.set_result({id: found[id] for id in ids if id in found})
