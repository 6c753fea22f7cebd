"""What each role says of itself once a second on the bus (`health.<role>`), and what the others heard of it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from haechi.app.processes import rss_bytes, run_and_wait_s
from haechi.core.errors import Unavailable
from haechi.ports import Bus

EACH_S = 1.0


def own() -> dict[str, float]:
    """Processor time of this process in seconds; where there is a /proc also its resident memory in bytes, and how
    long its main thread ran and was ready to while others had the processor."""
    found = {"cpu_s": time.process_time()}
    if (bytes_ := rss_bytes()) is not None:
        found["rss_bytes"] = bytes_
    if (both := run_and_wait_s()) is not None:
        found["run_s"], found["wait_s"] = both
    return found


def nothing_more() -> Mapping[str, Any]:
    """For a role that says no more than what any process can."""
    return {}


async def report(role: str, bus: Bus, more: Callable[[], Mapping[str, Any]] = nothing_more) -> None:
    """Tells for ever. What is missed is not missed: the next comes in a second. `late_s`: how much later than that
    its turn came; whoever asks this process for something waits as long."""
    late_s = 0.0
    while True:
        said = orjson.dumps({"process": {**own(), "late_s": late_s}, **more()})
        with contextlib.suppress(Unavailable):
            await bus.publish(f"health.{role}", said)
        slept = time.monotonic()
        await asyncio.sleep(EACH_S)
        late_s = max(0.0, time.monotonic() - slept - EACH_S)


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
