"""What each role says of itself once a second on the bus (`health.<role>`), and what the others heard of it."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from haechi.core.errors import Unavailable
from haechi.ports import Bus

EACH_S = 1.0
_STATM = Path("/proc/self/statm")


def own() -> dict[str, float]:
    """Resident memory in bytes (left out where there is no /proc) and processor time in seconds of this process."""
    found = {"cpu_s": time.process_time()}
    if _STATM.exists():
        found["rss_bytes"] = float(int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    return found


def nothing_more() -> Mapping[str, Any]:
    """For a role that says no more than what any process can."""
    return {}


async def report(role: str, bus: Bus, more: Callable[[], Mapping[str, Any]] = nothing_more) -> None:
    """Tells for ever. What is missed is not missed: the next comes in a second."""
    while True:
        said = orjson.dumps({"process": own(), **more()})
        with contextlib.suppress(Unavailable):
            await bus.publish(f"health.{role}", said)
        await asyncio.sleep(EACH_S)


class Heard:
    """The last word of each role. Call `start` once; `monotonic` gives seconds."""

    def __init__(self, bus: Bus, monotonic: Callable[[], float]) -> None:
        self._bus, self._monotonic = bus, monotonic
        self._began = monotonic()
        self._said: dict[str, Mapping[str, Any]] = {}
        self._at: dict[str, float] = {}

    async def start(self) -> None:
        self._began = self._monotonic()
        await self._bus.listen("health.*", self._hear)

    async def _hear(self, subject: str, payload: bytes) -> None:
        role = subject.removeprefix("health.")
        self._said[role] = orjson.loads(payload)
        self._at[role] = self._monotonic()

    def said(self) -> Mapping[str, Mapping[str, Any]]:
        """By role; a role never heard of is absent."""
        return dict(self._said)

    def silent_s(self, role: str) -> float:
        """Seconds since its last word, or since we began to listen."""
        return self._monotonic() - self._at.get(role, self._began)
