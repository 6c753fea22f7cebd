"""The attribute projection language (clause 4.21): what `pick` and `omit` name, of an entity and of those linked to it.
Used by everything that shows entities."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from haechi.core.attribute import name_from
from haechi.core.errors import InvalidData

DEEPEST = 10  # entities linked one after the other
_NAME = re.compile(r"[^\s,|{}()<>;\"'=&?*\[\]]+")


@dataclass(frozen=True, slots=True)
class Projection:
    """Internal names of members; `linked`: what is named of the entities that a relationship leads to."""

    names: frozenset[str] = frozenset()
    linked: Mapping[str, Projection] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many relationships it follows one after the other."""
        return max((1 + one.depth for one in self.linked.values()), default=0)


NOTHING = Projection()


def parse(text: str | None, expand: Callable[[str], str], parameter: str) -> Projection:
    """`id,locatedAt{id,name}` as a projection; `InvalidData` says where it goes wrong."""
    if text is None:
        return NOTHING
    parser = _Parser(text, expand, parameter)
    found = parser.members(0)
    if parser.at < len(text):
        raise parser.wrong()
    return found


class _Parser:
    def __init__(self, text: str, expand: Callable[[str], str], parameter: str) -> None:
        self.text, self.at, self._expand, self._parameter = text, 0, expand, parameter

    def wrong(self) -> InvalidData:
        return InvalidData(
            f"{self._parameter}={self.text[:80]!r} is wrong at character {self.at}: separate names by , or | and put"
            " those of linked entities in braces, as in id,locatedAt{id,name}",
            "bad_request",
        )

    def members(self, depth: int) -> Projection:
        if depth > DEEPEST:
            raise InvalidData(f"{self._parameter} follows more than {DEEPEST} links; ask for fewer", "bad_request")
        names: set[str] = set()
        linked: dict[str, Projection] = {}
        while True:
            name = self._name()
            names.add(name)
            if self._next("{"):
                linked[name] = self.members(depth + 1)
                if not self._next("}"):
                    raise self.wrong()
            if not (self._next(",") or self._next("|")):
                return Projection(frozenset(names), linked)

    def _next(self, expected: str) -> bool:
        found = self.text.startswith(expected, self.at)
        self.at += len(expected) if found else 0
        return found

    def _name(self) -> str:
        match = _NAME.match(self.text.strip() if not self.at else self.text, self.at)
        if match is None:
            raise self.wrong()
        self.at = match.end()
        return self._expand(name_from(match[0]))
