"""Where an attribute path of `q` leads in a stored entity (clause 4.9). Used by the query language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.entity import KINDS


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """Microseconds since the epoch, told apart from a number."""

    us: int


class Vocab(str):
    """A value of a VocabProperty: a name, compared as a term."""

    __slots__ = ()


class Link(str):
    """The target of a relationship: equal or not, but never in an order or matching a pattern."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Path:
    """Internal names of an attribute and its attributes; in brackets stood keys of the value or a language, in braces
    a path in the entity that the attribute, a relationship, leads to, and of which types that is."""

    names: tuple[str, ...]
    inside: tuple[str, ...] = ()
    linked: Path | None = None
    types: frozenset[str] = frozenset()

    @property
    def depth(self) -> int:
        """How many relationships it follows."""
        return 0 if self.linked is None else 1 + self.linked.depth


Load = Callable[[str], Mapping[str, Any] | None]  # the entity of that id


def no_entity(_: str) -> None:
    """A `Load` for where relationships are not followed."""


_HEAD = frozenset({"id", "type", "scope"})
_INSTANTS = frozenset({"observedAt", "createdAt", "modifiedAt"})
_WORDS = frozenset({"unitCode", "datasetId"})


def targets(entity: Mapping[str, Any], path: Path, load: Load = no_entity) -> Iterator[Any]:
    """Every value the path leads to: of each instance, and of an array each member too."""
    if path.linked is not None:
        for link in _walk(entity["attrs"], path.names, ()):
            found = load(link) if isinstance(link, Link) else None
            if found is not None and (not path.types or not path.types.isdisjoint(found["type"])):
                yield from targets(found, path.linked, load)
        return
    if len(path.names) == 1 and path.names[0] in ("createdAt", "modifiedAt"):
        if path.names[0] in entity:
            yield Instant(entity[path.names[0]])
        return
    if len(path.names) == 1 and path.names[0] in _HEAD:
        value = entity.get(path.names[0])
        yield from value if isinstance(value, list) else [] if value is None else [value]
        return
    for value in _walk(entity["attrs"], path.names, path.inside):
        yield value
        if isinstance(value, list):
            yield from value


def _walk(attributes: Mapping[str, Sequence[Any]], names: Sequence[str], inside: Sequence[str]) -> Iterator[Any]:
    for instance in attributes.get(names[0], ()):
        if len(names) == 1:
            yield from _values(instance, inside)
        elif len(names) == 2 and names[1] in _INSTANTS:
            if names[1] in instance:
                yield Instant(instance[names[1]])
        elif len(names) == 2 and names[1] in _WORDS:
            if names[1] in instance:
                yield instance[names[1]]
        else:
            yield from _walk(instance.get("attrs", {}), names[1:], inside)


def _values(instance: Mapping[str, Any], inside: Sequence[str]) -> Iterator[Any]:
    kind = instance["type"]
    content = instance.get(KINDS[kind])
    if kind == "LanguageProperty" and isinstance(content, dict):
        yield from content.values() if not inside or inside[0] == "*" else _dig(content, inside)
    elif kind == "VocabProperty":
        for one in content if isinstance(content, list) else [content]:
            yield Vocab(one)
    elif kind in {"Relationship", "ListRelationship"}:
        for one in content if isinstance(content, list) else [content]:
            yield Link(one)
    else:
        yield from _dig(content, inside)


def _dig(value: Any, keys: Sequence[str]) -> Iterable[Any]:
    found = [value]
    for key in keys:
        found = [one[key] for one in _members(found) if key in one]
    # A JSON-LD typed value, {"@type": "DateTime", "@value": "…"}, is compared by its value (clause 4.6.3).
    return [one["@value"] if isinstance(one, dict) and "@value" in one else one for one in found]


def _members(values: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for one in values:
        if isinstance(one, dict):
            yield one
        elif isinstance(one, list):
            yield from (inner for inner in one if isinstance(inner, dict))
