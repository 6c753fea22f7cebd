"""Reads attributes in NGSI-LD's normalized, concise and simplified forms into stored instances (clause 4.5).

Used by the NGSI-LD face for what clients send and by provisioning for a city's facilities. `expand` turns a client's
term into the internal name; members of a later edition that we do not store are refused by name, never dropped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from haechi.core import geo
from haechi.core.entity import KINDS, NULL, Entity, Instance
from haechi.core.errors import InvalidData
from haechi.core.times import from_us, parse_iso
from haechi.core.urn import is_uri

Expand = Callable[[str], str]
DEEPEST = 8  # levels of attributes of attributes
_SYSTEM = frozenset({"createdAt", "modifiedAt", "deletedAt"})  # ours to write: ignored in what clients send
# How what a client sends is read: as whole instances, as whole instances or their removal, or as parts of instances.
WHOLE, UPDATE, FRAGMENTS = "whole", "update", "fragments"
_MEMBERS = {"value", "object", "languageMap", "vocab", "json", "valueList", "objectList"}
_BY_MEMBER = {member: kind for kind, member in reversed(list(KINDS.items()))}
_FORBIDDEN = frozenset("<>\"'=;()|&*,[]{} \t\r\n")
_TERM = re.compile(r"[^\W\d_]\w*")
_SCOPE = re.compile(r"(/[^\W\d_]\w*)+")
GEOPROPERTIES = frozenset({"location", "observationSpace", "operationSpace"})  # clause 4.7.1
_LANGUAGE = re.compile(r"@none|[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")  # RFC 5646
_WITH_UNIT = frozenset({"Property", "ListProperty"})


def _as_is(name: str) -> str:
    return name


def entity_from(document: Mapping[str, Any], expand: Expand = _as_is) -> Entity:
    """The stored entity of a whole NGSI-LD document (clause 5.2.4); without instants. `InvalidData` names the mend."""
    id = document.get("id", document.get("@id"))
    if not is_uri(id) or id == NULL:
        raise InvalidData(f"id must be a URI such as urn:ngsi-ld:Building:17, not {_short(id)}", "bad_request")
    types = types_from(document.get("type", document.get("@type")), expand)
    entity: Entity = {"id": id, "type": types}
    if "scope" in document:
        entity["scope"] = scope_from(document["scope"])
    if "expiresAt" in document:
        entity["expiresAt"] = end_from(document["expiresAt"])
    entity["attrs"] = attributes_from(document, expand)
    return entity


def types_from(given: object, expand: Expand = _as_is) -> list[str]:
    """Internal names of one type or a list of them, each once."""
    types = given if isinstance(given, list) else [given]
    if not types or not all(isinstance(one, str) and one for one in types):
        raise InvalidData(f"type must be a name or a list of names, not {_short(given)}", "bad_request")
    if words := _NO_TYPES.intersection(types):
        raise InvalidData(f"{min(words)} is a word of NGSI-LD and cannot name a type; rename it", "bad_request")
    return list(dict.fromkeys(expand(name_from(one)) for one in types))


def scope_from(given: object) -> list[str]:
    """Scopes (clause 4.18): paths such as /gimpo/janggi."""
    scopes = given if isinstance(given, list) else [given]
    if not scopes or not all(isinstance(one, str) and _SCOPE.fullmatch(one) for one in scopes):
        raise InvalidData(
            f"scope must be one or several paths such as /gimpo/janggi of letters, digits and _, not {_short(given)}",
            "bad_request",
        )
    return list(dict.fromkeys(scopes))


def end_from(given: object) -> int:
    """When an entity ends (clause 5.2.4), in microseconds."""
    try:
        return instant_from(given)
    except (ValueError, OverflowError) as error:
        raise InvalidData(
            f"expiresAt must be a date-time such as 2026-11-22T09:00:00Z, not {_short(given)}", "bad_request"
        ) from error


def instant_from(value: object) -> int:
    """Microseconds of a date-time in UTC; `ValueError` or `OverflowError` when it is none."""
    instant = parse_iso(value) if isinstance(value, str) and "T" in value and value.endswith("Z") else _no_instant()
    from_us(instant)  # not so near to an end of the calendar that it could not be written back
    return instant


def name_from(name: object) -> str:
    """A term or IRI that may name a type or attribute (clause 4.6.2)."""
    sound = isinstance(name, str) and len(name) <= 1024 and (_TERM.fullmatch(name) or is_uri(name))
    if not sound or not isinstance(name, str) or not _FORBIDDEN.isdisjoint(name):
        raise InvalidData(
            f"{_short(name)} cannot be a name: start with a letter, go on with letters, digits and _, or use an IRI",
            "bad_request",
        )
    return name


def attributes_from(
    document: Mapping[str, Any], expand: Expand = _as_is, reading: str = WHOLE, depth: int = 0
) -> dict[str, list[Instance] | None]:
    """Instances by internal name of everything in `document` that is no system member.

    `UPDATE`: the NGSI-LD Null, `urn:ngsi-ld:null`, asks for removal (None instead of instances, or in place of the
    content of one); `FRAGMENTS`: so too inside values, and parts of instances are allowed.
    """
    if depth > DEEPEST:
        raise InvalidData(f"attributes of attributes go deeper than {DEEPEST} levels; flatten them", "bad_request")
    system = _ENTITY_MEMBERS if depth == 0 else frozenset({"instanceId"})
    found: dict[str, list[Instance] | None] = {}
    for term, given in document.items():
        if term in system or term in _SYSTEM:
            continue
        if term in _NO_NAMES:
            raise InvalidData(
                f"{term} is a word of NGSI-LD and cannot name an attribute here; rename it", "bad_request"
            )
        name = expand(name_from(term))
        if name in found:
            raise InvalidData(f"{term} stands twice under different names; give it once", "bad_request")
        found[name] = read_one(term, given, expand, reading, depth)
    return found


def read_one(term: str, given: object, expand: Expand, reading: str = WHOLE, depth: int = 0) -> list[Instance] | None:
    """Instances of one attribute, None where its removal is asked for."""
    if reading != WHOLE and given == NULL:
        return None
    return _Reader(term, expand, reading, depth).instances(given)


def names_of(terms: Sequence[str], expand: Expand = _as_is) -> dict[str, str] | None:
    """Internal names of terms that all name an attribute of their own; None where some term does not."""
    if not (_ENTITY_MEMBERS | _SYSTEM | _NO_NAMES).isdisjoint(terms):
        return None
    try:
        found = {term: expand(name_from(term)) for term in terms}
    except InvalidData:
        return None  # whoever reads the document says why
    return found if len(set(found.values())) == len(found) else None


_ENTITY_MEMBERS = frozenset({"id", "@id", "type", "@type", "scope", "@context", "expiresAt"})


class _Reader:
    """Reads one attribute; holds what every complaint about it names."""

    def __init__(self, term: str, expand: Expand, reading: str, depth: int) -> None:
        self._term, self._expand, self._reading, self._depth = term, expand, reading, depth
        self._fragments, self._removes = reading == FRAGMENTS, reading != WHOLE

    def instances(self, given: object) -> list[Instance]:
        many = isinstance(given, list) and bool(given) and all(self._is_instance(one) for one in given)
        found = [self.instance(one) for one in (given if many and isinstance(given, list) else [given])]
        of_place = not self._depth and self._expand(self._term) in GEOPROPERTIES
        if of_place and any(one.get("type", "GeoProperty") != "GeoProperty" for one in found):
            raise self._wrong("is always a GeoProperty (clause 4.7.1); send a GeoJSON geometry")
        datasets = [one.get("datasetId") for one in found]
        if len(set(datasets)) < len(datasets):
            raise self._wrong("several instances have the same datasetId (or none); give each its own")
        return found

    def _is_instance(self, one: object) -> bool:
        return (
            isinstance(one, dict)
            and not geo.is_geometry(one)
            and (not _MEMBERS.isdisjoint(one) or str(one.get("type")) in KINDS)
        )

    def instance(self, given: object) -> Instance:
        if not isinstance(given, dict) or geo.is_geometry(given):
            return self._plain(given)
        kind = self._kind(given)
        if kind is None and not self._part(given):
            return self._plain(given)
        instance = self._full(given, kind)
        if self._term == PROOF and kind is not None and not _proves(instance):
            raise self._wrong("is a Property whose value is the object of a proof (clause 4.5.2.2)")
        return instance

    def _plain(self, value: object) -> Instance:
        """Concise and simplified: the value stands for itself."""
        if value is None or value == NULL:
            raise self._wrong(f"has no value; leave it out, or send {NULL} in a patch to remove it")
        kind = "GeoProperty" if geo.is_geometry(value) else "Property"
        return {"type": kind, "value": self._content(kind, value)}

    def _kind(self, given: Mapping[str, Any]) -> str | None:
        """The kind named or, in the concise form, told by the member that holds the value."""
        named = given.get("type")
        if isinstance(named, str) and named in KINDS:
            return named
        members = [member for member in given if member in _MEMBERS]
        if named is not None and members:
            raise self._wrong(f"has the unknown type {_short(named)}; use one of {', '.join(KINDS)}")
        if len(members) > 1:
            raise self._wrong(f"has {' and '.join(members)} at once; keep one of them")
        if not members:
            return None
        if members[0] == "value":
            return "GeoProperty" if geo.is_geometry(given["value"]) else "Property"
        kind: str = _BY_MEMBER[members[0]]
        return kind

    def _part(self, given: Mapping[str, Any]) -> bool:
        """In a merge patch: a piece of an instance rather than a compound value."""
        return self._fragments and (
            not {"unitCode", "observedAt", "expiresAt", "datasetId"}.isdisjoint(given)
            or (bool(given) and all(self._is_instance(one) for one in given.values()))
        )

    def _full(self, given: Mapping[str, Any], kind: str | None) -> Instance:
        instance: Instance = {} if kind is None else {"type": kind}
        if kind is not None:
            member = KINDS[kind]
            self._no_other_value(given, kind, member)
            if member in given:
                instance[member] = self._content(kind, given[member])
            elif not self._fragments:
                raise self._wrong(f"is a {kind} without {member}; add it")
        rest = {}
        for name, value in given.items():
            if name == "type" or name in _MEMBERS or name in _SYSTEM or name == "instanceId":
                continue
            if name in _METADATA or (name in SEALS and self._term == PROOF):
                instance[name] = self._metadata(name, value)
            elif name in _LATER or name in _OUTPUT_ONLY:
                raise InvalidData(f"{self._term}: {name} cannot be set here; leave it out", "bad_request")
            else:
                rest[name] = value
        if kind is not None and kind not in _WITH_UNIT and "unitCode" in instance:
            raise self._wrong(f"is a {kind}, which has no unit; leave unitCode out")
        if kind == "LanguageProperty" and instance.get("valueType", "langString") != "langString":
            raise self._wrong("is a LanguageProperty: its valueType, if any, is langString")
        if instance.get("datasetId") == "@none":
            del instance["datasetId"]
        if rest:
            instance["attrs"] = attributes_from(rest, self._expand, self._reading, self._depth + 1)
        return instance

    def _no_other_value(self, given: Mapping[str, Any], kind: str, member: str) -> None:
        others = [name for name in given if name in _MEMBERS and name != member]
        if others:
            raise self._wrong(f"is a {kind}: its value is in {member}, not in {others[0]}")

    def _metadata(self, name: str, value: object) -> Any:
        if self._fragments and name != "datasetId" and value == NULL:
            return None
        if name in {"observedAt", "expiresAt"}:
            return self._instant(name, value)
        if name == "datasetId":
            if (not is_uri(value) and value != "@none") or value == NULL:
                raise self._wrong(f"datasetId must be a URI, not {_short(value)}")
            return value
        if name in {"objectType", "entityTypeSealed"}:
            return types_from(value, self._expand)
        if not isinstance(value, str) or not value:
            raise self._wrong(f"{name} must be a text, not {_short(value)}")
        return value

    def _instant(self, name: str, value: object) -> int:
        try:
            return instant_from(value)
        except (ValueError, OverflowError) as error:
            raise self._wrong(
                f"{name} must be a date-time such as 2026-11-22T09:00:00Z, not {_short(value)}"
            ) from error

    def _content(self, kind: str, value: object) -> Any:
        if self._removes and (value == NULL or (kind == "LanguageProperty" and value == {"@none": NULL})):
            return None
        if value is None or value == NULL:
            raise self._wrong(f"has a null value; leave the attribute out, or send {NULL} in a patch to remove it")
        return getattr(self, f"_of_{kind.lower()}")(value)

    def _of_property(self, value: Any) -> Any:
        if not self._fragments and isinstance(value, dict | list) and holds_null(value):
            raise self._wrong(f"has {NULL} inside its value; only a merge patch may, to remove a member")
        return value

    def _of_jsonproperty(self, value: Any) -> Any:
        objects = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) for one in objects):
            raise self._wrong(f"json must be an object or a list of objects, not {_short(value)}")
        return value

    def _of_geoproperty(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = orjson.loads(value)  # clause 4.7.2: a geometry may come as a string
            except orjson.JSONDecodeError as error:
                raise self._wrong(f"must be a GeoJSON geometry, not {_short(value)}") from error
        try:
            if geo.check(value).geom_type == "GeometryCollection":
                raise self._wrong("must be one geometry: a GeometryCollection is not allowed (clause 4.6.3)")
        except InvalidData as error:
            raise self._wrong(str(error)) from error
        return value

    def _of_relationship(self, value: Any) -> Any:
        targets = value if isinstance(value, list) else [value]
        if not targets or not all(is_uri(one) for one in targets):
            raise self._wrong(f"object must be the URI of an entity, not {_short(value)}")
        return value

    def _of_languageproperty(self, value: Any) -> Any:
        if not isinstance(value, dict) or not value:
            raise self._wrong(f'languageMap must look like {{"ko": "…", "en": "…"}}, not {_short(value)}')
        for language, text in value.items():
            if text == NULL and not self._fragments:
                raise self._wrong(f"has {NULL} as a text; leave that language out")
            if not _LANGUAGE.fullmatch(language):
                raise self._wrong(f"names the language {_short(language)}; write a tag such as ko or zh-Hans, or @none")
            sound = isinstance(text, str) or (isinstance(text, list) and all(isinstance(one, str) for one in text))
            if not sound:
                raise self._wrong(f"the text of {language} must be a string or a list of strings, not {_short(text)}")
        return value

    def _of_vocabproperty(self, value: Any) -> Any:
        terms = value if isinstance(value, list) else [value]
        if not terms or not all(isinstance(one, str) and one for one in terms):
            raise self._wrong(f"vocab must be a term or a list of terms, not {_short(value)}")
        expanded = [self._expand(one) for one in terms]
        return expanded if isinstance(value, list) else expanded[0]

    def _of_listproperty(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise self._wrong(f"valueList must be a list, not {_short(value)}")
        return value

    def _of_listrelationship(self, value: Any) -> Any:
        members = value if isinstance(value, list) else [None]
        targets = [one.get("object") if isinstance(one, dict) and len(one) == 1 else one for one in members]
        if not all(is_uri(one) for one in targets):
            raise self._wrong(f"objectList must be a list of URIs of entities, not {_short(value)}")
        return targets

    def _wrong(self, complaint: str) -> InvalidData:
        return InvalidData(f"attribute {self._term} {complaint}", "bad_request")


PROOF = "ngsildproof"  # the one attribute that may carry seals
SEALS = ("entityIdSealed", "entityTypeSealed")
_METADATA = frozenset({"unitCode", "observedAt", "expiresAt", "datasetId", "objectType", "valueType"})
_LATER = frozenset({"entity", "entityList"})
_OUTPUT_ONLY = frozenset(
    f"previous{name}" for name in ("Value", "Object", "LanguageMap", "Vocab", "Json", "ValueList", "ObjectList")
)
_NO_NAMES = _METADATA | _OUTPUT_ONLY | {"@context", *SEALS, "value", "object", "instanceId"}
_NO_TYPES = frozenset({"id", "type", "@id", "@type", "@context"})


def _proves(instance: Instance) -> bool:
    return instance.get("type") == "Property" and isinstance(instance.get("value", {}), dict | None)


def _no_instant() -> int:
    raise ValueError("no date-time")


def holds_null(value: object) -> bool:
    """Whether the NGSI-LD null stands anywhere inside (clause 5.5.4)."""
    if isinstance(value, dict):
        return any(holds_null(one) for one in value.values())
    if isinstance(value, list):
        return any(holds_null(one) for one in value)
    return value == NULL


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
