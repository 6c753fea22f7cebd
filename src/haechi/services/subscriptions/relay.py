"""What other sources tell of one subscription on its way to the receiver, in order (clause 5.8.6). For the notifier.

A source's notification is answered when it is stored; one that comes again, meanwhile or later, is the same: a source
tries again what it got no answer for, also across a restart of this broker.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from haechi.core.errors import Unavailable
from haechi.services.subscriptions.book import Book
from haechi.services.subscriptions.delivery import WAITING, Delivery

REMEMBERED = 1000  # keys of notifications passed on
RETRY_S = 1.0
_events = structlog.get_logger("subscriptions")


class Relay:
    """Call `take` for each notification; `run` is its task."""

    def __init__(self, delivery: Delivery, book: Book) -> None:
        self._delivery, self._book = delivery, book
        self._work, self._one_by_one = asyncio.Event(), asyncio.Lock()
        self._waiting: set[str] = set()
        self._passed_on: dict[str, None] | None = None  # in order; None: not read yet

    async def take(self, key: str, at: int, documents: Sequence[dict[str, Any]]) -> None:
        """Stored when this returns; `Unavailable` when too much waits already."""
        id = self._delivery.kept.id
        key = f"{id}#{key}"
        async with self._one_by_one:  # of two that are the same the second is answered when the first is stored
            if key in self._waiting or key in await self._known():
                return
            if len(self._waiting) >= WAITING:
                raise Unavailable(f"{WAITING} notifications wait for the receiver of {id}; send it again later")
            await asyncio.to_thread(self._book.take, id, key, at, documents)
            self._waiting.add(key)
        self._work.set()

    async def run(self) -> None:
        """Passes on until cancelled."""
        while True:
            self._work.clear()
            try:
                async with self._one_by_one:  # else what is taken again meanwhile would wait twice
                    taken = await asyncio.to_thread(self._book.taken, self._delivery.kept.id)
                    self._waiting.update(one["id"] for one in taken)
                for one in taken:
                    await self._delivery.relay(one["documents"], one["id"])
                    await self._done(one)
            except Unavailable as error:
                _events.warning("relays_not_read", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if not taken:
                await self._work.wait()

    async def _done(self, one: dict[str, Any]) -> None:
        """Its receiver has it, which is remembered where a restart finds it."""
        known = await self._known()
        old = list(known)[: max(0, len(known) + 1 - REMEMBERED)]
        await asyncio.to_thread(self._book.passed_on, one, old)
        for key in old:
            del known[key]
        known[one["id"]] = None
        self._waiting.discard(one["id"])

    async def _known(self) -> dict[str, None]:
        if self._passed_on is None:
            found = await asyncio.to_thread(self._book.relayed, self._delivery.kept.id)
            if self._passed_on is None:  # `take` and `run` may both ask
                self._passed_on = dict.fromkeys(found)
        return self._passed_on
