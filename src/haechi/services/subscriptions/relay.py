"""What other sources tell of one subscription on its way to the receiver, in order (clause 5.8.6). For the notifier.

A source's notification is answered when it is stored; one that comes again meanwhile is the same.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog

from haechi.core.errors import Unavailable
from haechi.services.subscriptions.book import Book
from haechi.services.subscriptions.delivery import WAITING, Delivery

REMEMBERED = 1000  # keys of notifications passed on: a source tries again what it got no answer for
RETRY_S = 1.0
_events = structlog.get_logger("subscriptions")


class Relay:
    """Call `take` for each notification; `run` is its task."""

    def __init__(self, delivery: Delivery, book: Book) -> None:
        self._delivery, self._book = delivery, book
        self._work = asyncio.Event()
        self._waiting = 0
        self._known: deque[str] = deque(maxlen=REMEMBERED)

    async def take(self, key: str, at: int, documents: Sequence[dict[str, Any]]) -> None:
        """Stored when this returns; `Unavailable` when too much waits already."""
        id = self._delivery.kept.id
        key = f"{id}#{key}"
        if key in self._known:
            return
        if self._waiting >= WAITING:
            raise Unavailable(f"{WAITING} notifications wait for the receiver of {id}; send it again later")
        await asyncio.to_thread(self._book.take, id, key, at, documents)
        self._known.append(key)
        self._waiting += 1
        self._work.set()

    async def run(self) -> None:
        """Passes on until cancelled."""
        while True:
            self._work.clear()
            try:
                taken = await asyncio.to_thread(self._book.taken, self._delivery.kept.id)
                self._waiting = len(taken)
                for one in taken:
                    await self._delivery.relay(one["documents"], one["id"])
                    await asyncio.to_thread(self._book.passed_on, one["id"])
            except Unavailable as error:
                _events.warning("relays_not_read", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if not taken:
                await self._work.wait()
