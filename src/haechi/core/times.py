"""Instants as integer microseconds since 1970-01-01T00:00Z, and their text forms. Used wherever time crosses an edge.

Columns carry microseconds because Arrow and Iceberg do (`timestamp('us', UTC)`); people and JSON get RFC 3339.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
DAY = 86_400 * SECOND


def to_us(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    assert instant.tzinfo is not None, "naive datetimes have no place here"
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_us(instant_us: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=instant_us)


def parse_iso(text: str) -> int:
    """Microseconds of an RFC 3339 / ISO 8601 date-time; ValueError when it is none or carries no offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; append Z or +09:00")
    return to_us(instant)


@lru_cache(maxsize=4096)  # the same instants are shown over and over
def format_iso(instant_us: int) -> str:
    """RFC 3339 in UTC with `Z`; fractions only where there are any (`2026-11-22T09:00:00.250Z`)."""
    instant = from_us(instant_us)
    fraction = instant_us % SECOND
    spec = "seconds" if fraction == 0 else "milliseconds" if fraction % 1000 == 0 else "microseconds"
    return instant.replace(tzinfo=None).isoformat(timespec=spec) + "Z"
