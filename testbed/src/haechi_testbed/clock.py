"""Time in the simulated city: it starts where and runs as fast as it is told. Used by the runner and the commands."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LENGTH_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class VirtualClock:
    """Microseconds since 1970 that pass `speed` times as fast as `monotonic` seconds."""

    def __init__(self, start_us: int, speed: float, monotonic: Callable[[], float]) -> None:
        """Begins at `start_us` now; `speed` 60 lets a minute pass in a second."""
        self.start_us, self.speed = start_us, speed
        self._monotonic, self._begun = monotonic, monotonic()

    def now_us(self) -> int:
        """The present instant of the simulation."""
        return self.start_us + int((self._monotonic() - self._begun) * self.speed * SECOND)

    async def sleep_until(self, at_us: int) -> None:
        """Returns when the simulation has reached that instant; at once when it has passed."""
        await asyncio.sleep(max(0.0, (at_us - self.now_us()) / SECOND / self.speed))


def parse_span(text: str) -> float:
    """Seconds of `30s`, `10m`, `1h30m`; ValueError with what is accepted."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no span; write 30s, 10m, 2h or 1h30m")
    return sum(float(number) * _LENGTH_S[unit] for number, unit in parts)


def parse_instant(text: str) -> int:
    """Microseconds of an ISO 8601 instant; ValueError when it has no offset from UTC."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; append Z or +09:00")
    return (instant - EPOCH) // timedelta(microseconds=1)


def format_instant(at_us: int) -> str:
    """RFC 3339 in UTC, milliseconds."""
    return (EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def second_of_day(at_us: int, offset_h: float) -> float:
    """Seconds since local midnight."""
    return (at_us / SECOND + offset_h * 3600.0) % 86_400.0
