"""Refuses questions to history that have no answer, naming what to change. Called before any file is opened."""

from collections.abc import Sequence

from haechi.core.errors import InvalidData
from haechi.core.times import format_iso
from haechi.ports import SeriesQuery

AGGREGATES = ("mean", "min", "max", "sum", "count", "first", "last", "stddev")
LIMIT_MAX = 10_000_000
_INSTANT_MAX = 253_402_300_800_000_000  # the year 10000, where RFC 3339 ends
_INSTANT_MIN = -62_135_596_800_000_000  # the year 1


def check_query(query: SeriesQuery) -> None:
    """`InvalidData` (reason `bad_query`) when this question cannot be answered as it stands."""
    check_names(query.entities, query.attributes)
    for name, instant in (("start", query.start), ("end", query.end), ("known_at", query.known_at)):
        if instant is not None:
            check_instant(name, instant)
    if query.start >= query.end:
        start, end = format_iso(query.start), format_iso(query.end)
        raise _bad(
            f"start {start} is not before end {end}: start is inclusive, end exclusive; swap them or widen the range"
        )
    if not 1 <= query.limit <= LIMIT_MAX:
        raise _bad(f"limit {query.limit} is outside 1–{LIMIT_MAX}; ask for less at a time, or use a window")
    if query.window_us is not None:
        _check_window(query.window_us, query.aggregates)


def check_names(entities: Sequence[str], attributes: Sequence[str]) -> None:
    """Entities and attributes are exact, non-empty strings; an empty sequence means all of them."""
    for kind, words in (("entities", entities), ("attributes", attributes)):
        if isinstance(words, (str, bytes)) or not all(isinstance(word, str) and word for word in words):
            raise _bad(
                f"{kind} must be a sequence of exact, non-empty names, such as ('urn:ngsi-ld:WaterPump:gimpo:P-1',)"
            )


def check_instant(name: str, instant: int) -> None:
    """Instants are whole microseconds of the years 1 to 9999."""
    if isinstance(instant, bool) or not isinstance(instant, int):
        raise _bad(f"{name} must be whole microseconds since 1970-01-01T00:00Z, not {instant!r}")
    if not _INSTANT_MIN <= instant < _INSTANT_MAX:
        raise _bad(f"{name} {instant} is outside the years 1–9999; give microseconds since 1970-01-01T00:00Z")


def _check_window(window_us: int, aggregates: Sequence[str]) -> None:
    if isinstance(window_us, bool) or not isinstance(window_us, int) or window_us <= 0:
        raise _bad(f"window_us must be a positive number of microseconds, not {window_us!r}")
    unknown = [name for name in aggregates if name not in AGGREGATES]
    if unknown or not aggregates:
        raise _bad(f"unknown aggregates {unknown}; there are: {', '.join(AGGREGATES)}")
    if len(set(aggregates)) < len(aggregates):
        raise _bad(f"an aggregate is named twice in {list(aggregates)}; name each once")


def _bad(message: str) -> InvalidData:
    return InvalidData(message, "bad_query")
