"""Sums of evolutions that were put together from several sources (clauses 4.5.19, 5.7.3.4, 5.7.4.4): what the engine of
history says of its own instances, said of documents. Used by distributed temporal operations."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from haechi.core.entity import KINDS
from haechi.core.times import parse_iso
from haechi.ports import Periods
from haechi.services.ngsi_ld import temporal
from haechi.services.ngsi_ld.temporal import TemporalQuery

HEAD = frozenset({"id", "type", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
_MEMBERS = frozenset(KINDS.values())
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One instance; `at` in microseconds, of the time property asked about."""

    attribute: str
    dataset: str
    at: int
    kind: str
    content: Any


def sums_of(
    documents: Sequence[Document], time: TemporalQuery, expand: Callable[[str], str]
) -> tuple[list[list[dict[str, Any]]], Periods]:
    """Of each normalized document the rows that `evolution.aggregated` shows, and how time is divided for all of them:
    from the time asked about, else from the first instance there is. What has no such instant counts nowhere."""
    seen = [list(_instances(one, time.by, expand)) for one in documents]
    ats = [one.at for many in seen for one in many]
    if not ats:
        return [[] for _ in documents], Periods()
    start = min(ats) if time.start is None else time.start
    last = max(ats) if time.end is None else time.end
    how = temporal.periods(time.duration, start, last)
    return [_summed(many, how, start, last) for many in seen], how


def _instances(document: Document, by: str, expand: Callable[[str], str]) -> Iterator[_Seen]:
    instant = next(name for name, one in temporal.PROPERTIES.items() if one == by)
    for name, given in document.items():
        if name in HEAD:
            continue
        for one in given if isinstance(given, list) else [given]:
            member = next(iter(_MEMBERS & one.keys()), None) if isinstance(one, dict) else None
            at = None if member is None else _at(one.get(instant))
            if member is not None and at is not None:
                kind = str(one.get("type", "Property"))
                yield _Seen(expand(name), str(one.get("datasetId", "")), at, kind, one[member])


def _at(text: object) -> int | None:
    try:
        return parse_iso(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _summed(seen: Sequence[_Seen], how: Periods, start: int, last: int) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, int], list[_Seen]] = {}
    for one in seen:
        groups.setdefault((one.attribute, one.dataset, _period(one.at, how, start)), []).append(one)
    whole = how.width_us is None and not how.bounds
    return [
        {
            "attribute": attribute,
            "dataset": dataset,
            "period_at": period_at,
            "kind": many[0].kind,
            "last_at": last if whole else max(one.at for one in many),
            **_figures([one.content for one in many]),
        }
        for (attribute, dataset, period_at), many in sorted(groups.items(), key=lambda item: item[0])
    ]


def _period(at: int, how: Periods, start: int) -> int:
    if how.bounds:
        return how.bounds[max(0, bisect_right(how.bounds, at) - 1)]
    return start if how.width_us is None else how.origin + (at - how.origin) // how.width_us * how.width_us


def _figures(contents: Sequence[Any]) -> dict[str, Any]:
    """The columns of `EvolutionReader.sums`; None where there is no number, or no text."""
    numbers = [number for one in contents if (number := _number(one)) is not None]
    texts = [orjson.dumps(one).decode() for one in contents if isinstance(one, str)]
    total = math.fsum(numbers) if numbers else None
    mean = None if total is None else total / len(numbers)
    return {
        "rows": len(contents),
        "distinct_rows": len({_same(one) for one in contents}),
        "total": total,
        "mean": mean,
        "low": min(numbers, default=None),
        "high": max(numbers, default=None),
        "spread": None if mean is None else math.sqrt(math.fsum((one - mean) ** 2 for one in numbers) / len(numbers)),
        "squares": math.fsum(one * one for one in numbers) if numbers else None,
        "low_text": min(texts, default=None),
        "high_text": max(texts, default=None),
    }


def _number(content: object) -> float | None:
    """Booleans count as 0 and 1, arrays by their length (table 4.5.19.1-1)."""
    if isinstance(content, bool | int | float):
        return float(content)
    return float(len(content)) if isinstance(content, list) else None


def _same(content: Any) -> object:
    return float(content) if type(content) in (int, float) else orjson.dumps(content)
