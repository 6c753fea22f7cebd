"""What of the past all sources answered wholly, where one cut its answer (206, clause 6.3.10). Used by `past`.

Each says in Content-Range how far it came. Together they know everything only as far as the first of them: what others
have beyond it is left out, and the client asks on from there."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from haechi.core.times import format_iso, parse_iso
from haechi.services.ngsi_ld.sums import HEAD

Document = dict[str, Any]
COLUMNS = ("values", "objects", "vocabs", "languageMaps", "jsons", "valueLists", "objectLists")
_SHAPE = re.compile(r"date-time (\S{10,40}Z)-(\S{10,40}Z)/(\*|\d{1,12})", re.ASCII)


class Range(NamedTuple):
    """From `start` to `end` (µs, both inclusive); with lastN, which begins at the newest, `end` is the earlier one."""

    start: int
    end: int
    size: str

    @property
    def backwards(self) -> bool:
        return self.size != "*"

    @property
    def header(self) -> str:
        """Content-Range."""
        return f"date-time {format_iso(self.start)}-{format_iso(self.end)}/{self.size}"

    def holds(self, at: int) -> bool:
        """Whether this instant is on this side of the cut."""
        return at >= self.end if self.backwards else at <= self.end


def read(header: str | None) -> Range | None:
    """The range that a source names; None where it names none that can be understood."""
    found = _SHAPE.fullmatch(header or "")
    if found is None:
        return None
    try:
        return Range(parse_iso(found[1]), parse_iso(found[2]), found[3])
    except ValueError:
        return None


def common(ranges: Iterable[Range]) -> Range | None:
    """How far all of them came; None where nobody cut."""
    all_ = list(ranges)
    if not all_:
        return None
    nearest, widest = (max, max) if all_[0].backwards else (min, min)
    return Range(widest(one.start for one in all_), nearest(one.end for one in all_), all_[0].size)


def cut(documents: Sequence[Document], by: str, upto: Range) -> list[Document]:
    """The evolutions without what lies beyond; a series that is left with nothing stays as an empty one. `by`: the
    temporal property asked about."""
    return [
        {name: value if name in HEAD else _attribute(value, by, upto) for name, value in document.items()}
        for document in documents
    ]


def _attribute(value: Any, by: str, upto: Range) -> Any:
    if isinstance(value, dict):
        columns = [name for name in COLUMNS if isinstance(value.get(name), list)]
        if columns:
            return {**value, **{name: _kept(value[name], lambda row: row[1], upto) for name in columns}}
        value = [value]
    return _kept(value, lambda one: one.get(by), upto) if isinstance(value, list) else value


def _kept(rows: list[Any], at: Callable[[Any], Any], upto: Range) -> list[Any]:
    return [row for row in rows if (instant := _instant(row, at)) is None or upto.holds(instant)]


def _instant(row: Any, at: Callable[[Any], Any]) -> int | None:
    """None: it has no such instant, and no range leaves it out."""
    try:
        return parse_iso(at(row))
    except (ValueError, AttributeError, IndexError, KeyError, TypeError):
        return None
