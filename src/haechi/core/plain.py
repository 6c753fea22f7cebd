"""Reads what most entities and attributes look like, without asking every rule of `core.attribute` again.

Entities come in shapes: the same members with other values. What follows from names alone (expansion, which words are
forbidden) is looked up once per shape and @context; kinds and metadata that need no more than a look at their types are
taken as they are. Everything else goes to `core.attribute`, which also words each complaint: what is answered here
is what it would have answered. Kept by a `Context` for all that read with it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from haechi.core import attribute
from haechi.core.attribute import Expand
from haechi.core.entity import NULL, Entity, Instance
from haechi.core.urn import is_uri

SHAPES = 100  # kept of one @context
WIDEST = 60  # members of a shape that is kept
_HEAD = frozenset({"id", "type", "scope", "expiresAt"})
_NOT_KEPT = frozenset({"@id", "@type", "@context", attribute.PROOF})
_POSITION = (2, 3)  # longitude, latitude, and maybe an altitude

Attributes = dict[str, list[Instance] | None]


class _Shape(NamedTuple):
    """What follows from the names of members; `attributes`: term, internal name, whether it is always a place."""

    attributes: tuple[tuple[str, str, bool], ...]
    has_scope: bool
    has_end: bool


class Plain:
    """For one @context, whose terms `expand` turns into internal names."""

    def __init__(self, expand: Expand) -> None:
        self._expand = expand
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}
        self._types: dict[str, tuple[str, ...]] = {}

    def entity(self, document: Mapping[str, Any]) -> Entity:
        """As `attribute.entity_from`."""
        id, kind = document.get("id"), document.get("type")
        shape = self._shape(document)
        if shape is None or type(kind) is not str or id == NULL or not is_uri(id):
            return attribute.entity_from(document, self._expand)
        entity: Entity = {"id": id, "type": self.types(kind)}
        if shape.has_scope:
            entity["scope"] = attribute.scope_from(document["scope"])
        if shape.has_end:
            entity["expiresAt"] = attribute.end_from(document["expiresAt"])
        entity["attrs"] = self._attributes(document, shape)
        return entity

    def attributes(self, document: Mapping[str, Any], reading: str = attribute.WHOLE) -> Attributes:
        """As `attribute.attributes_from`: what is plain is read alike in each of its ways."""
        shape = self._shape(document)
        if shape is None:
            return attribute.attributes_from(document, self._expand, reading)
        return self._attributes(document, shape, reading)

    def _attributes(self, document: Mapping[str, Any], shape: _Shape, reading: str = attribute.WHOLE) -> Attributes:
        found: Attributes = {}
        for term, name, of_place in shape.attributes:
            given = document[term]
            one = _instance(given, of_place)
            found[name] = attribute.read_one(term, given, self._expand, reading) if one is None else [one]
        return found

    def types(self, given: object) -> list[str]:
        """As `attribute.types_from`."""
        if type(given) is not str:
            return attribute.types_from(given, self._expand)
        known = self._types.get(given)
        if known is None:
            known = tuple(attribute.types_from(given, self._expand))
            if len(self._types) < SHAPES:
                self._types[given] = known
        return [*known]

    def _shape(self, document: Mapping[str, Any]) -> _Shape | None:
        """None where the names need a closer look, each time."""
        names = tuple(document)
        if names in self._shapes:
            return self._shapes[names]
        if len(names) > WIDEST:
            return None
        if len(self._shapes) >= SHAPES:
            self._shapes.clear()
        self._shapes[names] = shape = self._learnt(names)
        return shape

    def _learnt(self, names: tuple[str, ...]) -> _Shape | None:
        terms = [one for one in names if one not in _HEAD]
        internal = attribute.names_of(terms, self._expand) if _NOT_KEPT.isdisjoint(names) else None
        if internal is None:
            return None
        found = tuple((term, name, name in attribute.GEOPROPERTIES) for term, name in internal.items())
        return _Shape(found, "scope" in names, "expiresAt" in names)


def _instance(given: Any, of_place: bool) -> Instance | None:
    """The one instance that this stands for; None where that needs a closer look."""
    if type(given) is not dict:
        return {"type": "Property", "value": given} if not of_place and _is_word(given) else None
    kind = given.get("type")
    form = _FORMS.get(kind) if type(kind) is str else None
    if form is None or (of_place and kind != "GeoProperty"):
        return None
    names = tuple(given)
    if names[:2] != form.names or not form.sound(given[form.names[1]]):
        return None
    return given if len(names) == 2 else _with_rest(given, names[2:], kind == "Property")


def _with_rest(given: Instance, names: Sequence[str], has_unit: bool) -> Instance | None:
    """With the metadata of these names, where they are plain, too."""
    found = given
    for name in names:
        value = given[name]
        if type(value) is not str or not value or value == NULL:
            return None
        if name == "observedAt":
            instant = _instant(value)
            if instant is None:
                return None
            found = {**found, name: instant}
        elif name != "unitCode" or not has_unit:
            return None
    return found


@lru_cache(maxsize=1_000)
def _instant(text: str) -> int | None:
    """None where the text is no instant of ours; what is sent together often has one instant."""
    try:
        return attribute.instant_from(text) if len(text) <= 40 else None
    except (ValueError, OverflowError):
        return None


def _is_word(value: Any) -> bool:
    """A number, a text or a boolean, but the NGSI-LD Null."""
    kind = type(value)
    return kind is float or kind is int or kind is bool or (kind is str and value != NULL)


def _is_point(value: Any) -> bool:
    """A GeoJSON Point with nothing else in it, on the globe."""
    if type(value) is not dict or len(value) != 2 or value.get("type") != "Point":
        return False
    position = value.get("coordinates")
    if type(position) is not list or len(position) not in _POSITION:
        return False
    for one in position:
        if (type(one) is not float and type(one) is not int) or not isfinite(one):
            return False
    return bool(abs(position[0]) <= 180 and abs(position[1]) <= 90)


def _is_target(value: Any) -> bool:
    return is_uri(value) and value != NULL


class _Form(NamedTuple):
    """The first members of an instance, in the order in which they are kept, and what its value must be like."""

    names: tuple[str, str]
    sound: Callable[[Any], bool]


_FORMS: Mapping[str, _Form] = {
    "Property": _Form(("type", "value"), _is_word),
    "GeoProperty": _Form(("type", "value"), _is_point),
    "Relationship": _Form(("type", "object"), _is_target),
}
