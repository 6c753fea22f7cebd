"""A device is told once, whatever dies: the bus as an adapter sees it that writes to its devices at once. Made by the
gateway for adapters whose manifest says `commands = "adapter"`.

That a command is passed on is on the disk before the adapter hears of it. After a restart nobody knows whether the
device has it, so it is not passed on again, and the value the device shows decides.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from haechi.core.times import to_us
from haechi.ports import Bus, Clock
from haechi.services.commands.bus import OUTCOMES

KEPT = 10_000  # ids; a command lives an hour at most
UNSURE = (
    "the gateway ended while it was being written; whether the device has it is not known, and it is not told again"
)
Heard = Callable[[str, bytes], Awaitable[None]]


class Once:
    """`ports.Bus`. `folder` is the adapter's own; `begun` there lists the ids that were passed on, one a line."""

    def __init__(self, bus: Bus, clock: Clock, folder: Path) -> None:
        self._bus, self._clock, self._file = bus, clock, folder / "begun"
        self._earlier = frozenset(self._load())
        self._now: set[str] = set()
        self._noting = asyncio.Lock()

    async def publish(self, subject: str, payload: bytes) -> None:
        await self._bus.publish(subject, payload)

    async def listen(self, pattern: str, heard: Heard) -> Callable[[], Awaitable[None]]:
        if not pattern.startswith("command."):
            return await self._bus.listen(pattern, heard)

        async def first(subject: str, payload: bytes) -> None:
            id = str(orjson.loads(payload)["id"])
            why = await self._begin(id)
            if not why:
                await heard(subject, payload)
                return
            outcome = {"id": id, "ok": False, "unsure": id in self._earlier, "at": to_us(self._clock.now())}
            await self._bus.publish(OUTCOMES, orjson.dumps({**outcome, "detail": why}))

        return await self._bus.listen(pattern, first)

    async def _begin(self, id: str) -> str:
        """Why it may not be passed on; empty when it may, and then that is on the disk."""
        async with self._noting:
            if id in self._earlier:
                return UNSURE
            if id not in self._now:
                try:
                    await asyncio.to_thread(self._note, id)
                except OSError as error:
                    return f"nothing was sent: that it is begun could not be noted ({error}); make room, check the disk"
                self._now.add(id)
        return ""

    def _note(self, id: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(id + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _load(self) -> list[str]:
        """What earlier processes began; the file is cut to the newest when it has grown long."""
        if not self._file.exists():
            return []
        ids = self._file.read_text("utf-8").split()
        if len(ids) > 2 * KEPT:
            ids = ids[-KEPT:]
            fresh = self._file.with_suffix(".new")
            fresh.write_text("".join(f"{one}\n" for one in ids), "utf-8")
            fresh.replace(self._file)
        return ids
