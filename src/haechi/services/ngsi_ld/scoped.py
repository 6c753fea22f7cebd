"""When the scope of an entity fits a scope query: it is valid from when it was set until it is replaced or taken away
(clauses 4.18, 4.19). Pure; used by temporal queries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.services.ngsi_ld.evolution import SCOPE, Row

_EVER = 1 << 62
Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Scoped:
    """Spans, start inclusive and end exclusive, in which it fits, and the instances of the scope that do."""

    spans: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...] = ()

    def within(self, start: int | None, end: int | None) -> "Scoped":
        """The same of that time alone; a scope set before it is still valid in it."""
        low, high = -_EVER if start is None else start, _EVER if end is None else end
        places = [place for place, (begun, over) in enumerate(self.spans) if begun < high and over > low]
        rows = tuple(self.rows[place] for place in places) if self.rows else ()
        return Scoped(tuple(self.spans[place] for place in places), rows)

    def holds(self, row: Row) -> bool:
        """Whether that instance is of such a span; the scope itself is shown by `rows`."""
        return row.attribute != SCOPE and any(start <= row.at < end for start, end in self.spans)


def valid(rows: Sequence[Row], ends: Sequence[int], entity: Mapping[str, Any], test: Test) -> Scoped:
    """`rows`: instances of the scope in order of time; of an entity that has none its scope now counts for ever."""
    if not rows:
        return Scoped(((-_EVER, _EVER),) if test(entity) else ())
    found = []
    for place, row in enumerate(rows):
        later = [row.at for row in rows[place + 1 : place + 2]] + [at for at in ends if at > row.at]
        if test({SCOPE: row.instance["value"]}):
            found.append((row, (row.at, min(later, default=_EVER))))
    return Scoped(tuple(span for _, span in found), tuple(row for row, _ in found))
