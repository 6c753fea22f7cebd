"""Keeps the live hub going: its beat, notices from the bus, counts when they change. Started by `app.py`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from haechi.faces.console.live import LiveHub
from haechi.faces.console.shapes import shown
from haechi.ports import Bus, Clock

BEAT_S = 0.5
RECOUNT_BEATS = 20  # counts also change because time passes (the rate of ten minutes)


class Feed:
    """`counts` reads *Counts*; it runs in a worker thread, at most once a beat."""

    def __init__(self, hub: LiveHub, bus: Bus, clock: Clock, counts: Callable[[], Mapping[str, Any]]) -> None:
        self._hub = hub
        self._bus = bus
        self._clock = clock
        self._counts = counts
        self._shown: Mapping[str, Any] | None = None
        self._due = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens and beats until the end of the block; an error of the beat ends the block."""
        stops = [await self._bus.listen(f"live.{kind}", self._heard) for kind in ("alarm", "incident", "command")]
        try:
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(self._beat())
                yield
                beating.cancel()
        finally:
            for stop in stops:
                await stop()

    async def _heard(self, subject: str, payload: bytes) -> None:
        kind = subject.rsplit(".", 1)[-1]
        body = orjson.loads(payload)
        self._hub.tell(kind, str(body["id"]), shown(body))
        self._due = self._due or kind == "alarm"

    async def _beat(self) -> None:
        beats = 0
        while True:
            await self._clock.sleep(BEAT_S)
            self._hub.beat()
            beats += 1
            if (self._due or beats % RECOUNT_BEATS == 0) and self._hub.watching:
                self._due = False
                await self._recount()

    async def _recount(self) -> None:
        counts = await asyncio.to_thread(self._counts)
        if counts != self._shown:
            self._shown = counts
            self._hub.tell("counts", "", counts)
