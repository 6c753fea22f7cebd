"""A clock for tests: it moves only when it is told to."""

import asyncio
from datetime import UTC, datetime, timedelta


class StandingClock:
    """`ports.Clock`; `sleep` moves it on at once."""

    def __init__(self, now: datetime = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock on."""
        self._now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)
