"""A context source registration (clause 5.2.9) as its client wrote it, checked and compiled. Used by the registry, the
face and whoever matches."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from haechi.core import attribute as attributes
from haechi.core import geo, header
from haechi.core.duration import Duration, parse_duration
from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.core.pattern import compile_pattern
from haechi.core.times import parse_iso
from haechi.core.urn import is_uri
from haechi.services.ngsi_ld.names import iri_of
from haechi.services.registrations import operations

TYPE = "ContextSourceRegistration"
MODES = ("inclusive", "exclusive", "redirect", "auxiliary")
PROXIED = frozenset({"exclusive", "redirect"})  # clause 4.3.6.3: the broker itself holds no such data
PLACES = ("location", "observationSpace", "operationSpace")
_INTERVALS = ("observationInterval", "managementInterval")
MEMBERS = frozenset(
    """
    id type registrationName description information tenant observationInterval managementInterval location
    observationSpace operationSpace expiresAt endpoint contextSourceInfo scope mode operations refreshRate management
    contextSourceAlias localOnly datasetId
    """.split()  # noqa: SIM905 - a list of words is read as one
)
TOLD = frozenset(
    "status timesSent timesFailed lastSuccess lastFailure createdAt modifiedAt deletedAt @context".split()  # noqa: SIM905
)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?Z", re.ASCII)
Document = Mapping[str, Any]
Expand = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class EntityInfo:
    """Which entities (clause 5.2.8). Types are internal names; at most one of `ids` and `pattern` is given."""

    types: tuple[str, ...]
    ids: tuple[str, ...] = ()
    pattern: str | None = None
    fits_pattern: Callable[[str], bool] | None = None

    def holds(self, id: str) -> bool:
        """Whether the source may have the entity of that id."""
        if self.ids:
            return id in self.ids
        return self.fits_pattern is None or self.fits_pattern(id)


@dataclass(frozen=True, slots=True)
class Information:
    """What the source may have of which entities (clause 5.2.10); empty: anything."""

    entities: tuple[EntityInfo, ...]
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Management:
    """How the broker treats the source (clause 5.2.34). `cooldown_s` and `timeout_s` None: the broker's own; `cache`
    None: each question is asked anew."""

    local_only: bool = False
    timeout_s: float | None = None
    cooldown_s: float | None = None
    cache: Duration | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """Compiled. `document` has internal names and only what the client may say; `entity` is the registration as the
    query language sees it; instants in microseconds."""

    id: str
    document: Document
    mode: str
    operations: frozenset[str]
    information: tuple[Information, ...]
    endpoint: str
    tenant: str | None
    alias: str | None
    pairs: tuple[tuple[str, str], ...]
    management: Management
    expires_at: int | None
    datasets: frozenset[str]
    entity: Entity
    intervals: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Where its API begins: a path is put behind it."""
        endpoint = self.endpoint.rstrip("/")
        return endpoint if endpoint.endswith("/ngsi-ld/v1") else endpoint + "/ngsi-ld/v1"

    def lives(self, now: int) -> bool:
        """Not expired: after that it counts as deleted (clause 5.9.2.4)."""
        return self.expires_at is None or self.expires_at > now


def wrong(member: str, complaint: str) -> InvalidData:
    """A member that cannot stand so."""
    return InvalidData(f"{member} {complaint}", "bad_request")


def internal_names(body: Document, expand: Expand) -> dict[str, Any]:
    """The document with internal names; what only the broker says is left out. `InvalidData` where it has no shape."""
    found = {name if name in MEMBERS else expand(name): value for name, value in body.items() if name not in TOLD}
    information = found.get("information")
    if isinstance(information, list):
        found["information"] = [_renamed(one, expand) if isinstance(one, dict) else one for one in information]
    return found


def _renamed(information: Document, rename: Expand) -> dict[str, Any]:
    """One RegistrationInfo with other names."""
    found = dict(information)
    if isinstance(found.get("entities"), list):
        found["entities"] = [_entity_renamed(one, rename) for one in found["entities"]]
    for name in ("propertyNames", "relationshipNames"):
        if isinstance(found.get(name), list):
            found[name] = [rename(one) if isinstance(one, str) else one for one in found[name]]
    return found


def _entity_renamed(one: Any, rename: Expand) -> Any:
    if not isinstance(one, dict) or "type" not in one:
        return one
    kinds = one["type"]
    if isinstance(kinds, list):
        return {**one, "type": [rename(kind) if isinstance(kind, str) else kind for kind in kinds]}
    return {**one, "type": rename(kinds) if isinstance(kinds, str) else kinds}


def shown(document: Document, compact: Expand) -> dict[str, Any]:
    """The document as a client of another context reads it."""
    found = {name if name in MEMBERS else compact(name): value for name, value in document.items()}
    found["information"] = [_renamed(one, compact) for one in document["information"]]
    return found


def compile_registration(document: Document) -> Registration:
    """`document`: of `internal_names`, with an id. `InvalidData` names the member that is wrong (clause 5.9.2.4)."""
    if document.get("type") != TYPE:
        raise wrong("type", f"must be {TYPE}")
    mode = document.get("mode", MODES[0])
    if mode not in MODES:
        raise wrong("mode", f"is {mode!r}; there are {', '.join(MODES)}")
    offered = operations.expanded(_words(document, "operations") or (operations.DEFAULT,))
    if mode == "auxiliary" and (writes := sorted(offered & operations.WRITING)):
        raise wrong("mode", f"auxiliary sources are only read (clause 4.3.6.2), operations has {writes[0]}")
    information = tuple(_information(one) for one in _objects(document, "information"))
    if mode == "exclusive":
        _check_exclusive(information)
    refresh = document.get("refreshRate")
    if refresh is not None:
        parse_duration("refreshRate", refresh)
    return Registration(
        id=str(document["id"]),
        document=document,
        mode=mode,
        operations=offered,
        information=information,
        endpoint=_endpoint(document),
        tenant=_text(document, "tenant"),
        alias=_text(document, "contextSourceAlias"),
        pairs=_pairs(document),
        management=_management(document),
        expires_at=instant_of(document, "expiresAt"),
        datasets=frozenset(_words(document, "datasetId")),
        entity=_entity(document),
        intervals={name: _interval(document, name) for name in _INTERVALS if document.get(name) is not None},
    )


def _information(given: Document) -> Information:
    entities = tuple(_entity_info(one) for one in _objects(given, "entities", needed=False))
    names = (*_words(given, "propertyNames"), *_words(given, "relationshipNames"))
    if not entities and not names:
        raise wrong("information", "needs entities, propertyNames or relationshipNames in each member")
    return Information(entities, frozenset(attributes.name_from(one) for one in names))


def _entity_info(given: Document) -> EntityInfo:
    """The type may be left out beside an id, as clients do; table 5.2.8-1 wants it."""
    ids, pattern = _words(given, "id"), given.get("idPattern")
    if given.get("type") is None and not ids:
        raise wrong("information.entities", "need a type each")
    types = () if given.get("type") is None else tuple(attributes.types_from(given["type"]))
    for one in ids:
        if not is_uri(one):
            raise wrong("information.entities", f"have the id {one!r}, which is no URI")
    if pattern is None:
        return EntityInfo(types, ids)
    if not isinstance(pattern, str):
        raise wrong("information.entities", "have an idPattern that is no text")
    test = compile_pattern(pattern)
    # An id goes before a pattern (clause 5.2.8).
    return EntityInfo(types, ids, None if ids else pattern, None if ids else test)


def _check_exclusive(information: Sequence[Information]) -> None:
    """Clause 4.3.6.3."""
    for one in information:
        if not one.attributes:
            raise wrong("information", "of an exclusive registration names propertyNames or relationshipNames")
        if not one.entities or not all(entity.ids for entity in one.entities):
            raise wrong("information", "of an exclusive registration names each entity by its id")


def _endpoint(document: Document) -> str:
    endpoint = document.get("endpoint")
    if not isinstance(endpoint, str) or urlsplit(endpoint).scheme not in {"http", "https"}:
        raise wrong("endpoint", f"is {endpoint!r}; write the http or https URL of the source")
    try:
        host, _ = urlsplit(endpoint).hostname, urlsplit(endpoint).port
    except ValueError as error:
        raise wrong("endpoint", f"is {endpoint!r}: {error}") from error
    if not host or urlsplit(endpoint).query or urlsplit(endpoint).fragment:
        raise wrong("endpoint", f"is {endpoint!r}; write a URL with a host and without ? and #")
    return endpoint


def _pairs(document: Document) -> tuple[tuple[str, str], ...]:
    given = document.get("contextSourceInfo")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise wrong("contextSourceInfo", "must be an array of key and value")
    found = []
    for one in given:
        if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in ("key", "value")):
            raise wrong("contextSourceInfo", "needs a text as key and a text as value in each pair (clause 5.2.22)")
        if not header.is_name(one["key"]) or not header.is_value(one["value"]):
            raise wrong("contextSourceInfo", f"has {one['key'][:40]!r}, which cannot be sent as an HTTP header")
        found.append((one["key"], one["value"]))
    return tuple(found)


def _management(document: Document) -> Management:
    given = document.get("management")
    if given is None:
        return Management(local_only=_flag(document, "localOnly"))
    if not isinstance(given, dict):
        raise wrong("management", "must be an object (clause 5.2.34)")
    cache = parse_duration("management.cacheDuration", given["cacheDuration"]) if "cacheDuration" in given else None
    local_only = _flag(given, "localOnly") or _flag(document, "localOnly")
    return Management(local_only, _milliseconds(given, "timeout"), _milliseconds(given, "cooldown"), cache)


def _milliseconds(given: Document, member: str) -> float | None:
    value = given.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**10:
        raise wrong(f"management.{member}", f"is {value!r}; write milliseconds above 0")
    return float(value) / 1000


def _flag(given: Document, member: str) -> bool:
    value = given.get(member, False)
    if not isinstance(value, bool):
        raise wrong(member, f"is {value!r}; write true or false")
    return value


def _text(given: Document, member: str) -> str | None:
    value = given.get(member)
    if value is not None and (not isinstance(value, str) or not value or not header.is_value(value)):
        raise wrong(member, f"is {value!r}; write a text")
    return value


def _words(given: Document, member: str) -> tuple[str, ...]:
    value = given.get(member)
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(one, str) and one for one in words):
        raise wrong(member, "must be an array of texts")
    return tuple(words)


def _objects(given: Document, member: str, *, needed: bool = True) -> Sequence[Document]:
    value = given.get(member)
    if value is None and not needed:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise wrong(member, "must be an array of at least one object")
    return value


def instant_of(given: Document, member: str) -> int | None:
    """A date-time member in microseconds; it ends in Z (clause 4.6.3)."""
    value = given.get(member)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or not _INSTANT.fullmatch(value):
            raise ValueError(value)
        return parse_iso(value.replace(",", "."))
    except (ValueError, OverflowError) as error:
        raise wrong(member, f"is {value!r}; write a date-time such as 2026-11-22T09:00:00Z") from error


def _interval(document: Document, member: str) -> tuple[int, int | None]:
    """TimeInterval (clause 5.2.11)."""
    given = document[member]
    if not isinstance(given, dict) or given.get("startAt") is None:
        raise wrong(member, "must be an object with startAt, and endAt when it is over")
    start, end = instant_of(given, "startAt"), instant_of(given, "endAt")
    assert start is not None
    if end is not None and end < start:
        raise wrong(member, "ends before it starts")
    return start, end


def _entity(document: Document) -> Entity:
    """What csf, q, geo-queries and scopeQ are tested on: context source properties, places, the endpoint and others."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in PLACES:
            geo.check(value)
            found[name] = [{"type": "GeoProperty", "value": value}]
        elif name not in MEMBERS:
            found |= attributes.attributes_from({name: value})
        elif isinstance(value, str | int | float) and name not in {"id", "type", "scope"}:
            found[name] = [{"type": "Property", "value": value}]
    scope = document.get("scope")
    entity: Entity = {"id": document["id"], "type": [TYPE], "attrs": found}
    return entity if scope is None else {**entity, "scope": attributes.scope_from(scope)}


def iris(names: frozenset[str]) -> list[str]:
    """The IRIs of internal names, in order."""
    return sorted(map(iri_of, names))
