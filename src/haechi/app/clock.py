"""The clocks of a running platform: the system's, and one that runs a drill faster than life."""

import asyncio
import time
from datetime import UTC, datetime

from haechi.app.settings import DrillClock
from haechi.core.times import from_us
from haechi.ports import Clock


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class AcceleratedClock:
    """Runs from a given instant at a given speed; all roles of a drill show the same time."""

    def __init__(self, drill: DrillClock) -> None:
        self._drill = drill

    def now(self) -> datetime:
        passed = time.time_ns() // 1000 - self._drill.anchor_us
        return from_us(self._drill.start_us + int(passed * self._drill.speed))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._drill.speed)


def clock_of(drill: DrillClock | None) -> Clock:
    """The clock a run asked for."""
    return SystemClock() if drill is None else AcceleratedClock(drill)
