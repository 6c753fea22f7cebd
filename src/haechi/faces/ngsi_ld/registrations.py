"""/csourceRegistrations (clauses 5.9.2 to 5.9.4, 5.10.1, 5.10.2): which context sources there are, what they have."""

import uuid
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import NULL, Entity
from haechi.core.errors import Conflict, InvalidData
from haechi.core.times import format_iso, to_us
from haechi.core.urn import is_uri
from haechi.faces.http import PERSON, require
from haechi.faces.ngsi_ld.errors import conflict
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.queries import counted, page_links, page_of
from haechi.faces.ngsi_ld.requests import Parameters, answer_type, parameters, read
from haechi.ports import EntityQuery
from haechi.services.ngsi_ld import geoq, q, scopeq, typeq
from haechi.services.ngsi_ld.names import Context
from haechi.services.registrations import temporal
from haechi.services.registrations.conflicts import holds, overlapping
from haechi.services.registrations.matching import EVERYTHING, Wanted, matching_information
from haechi.services.registrations.model import (
    MODES,
    PROXIED,
    Document,
    Registration,
    compile_registration,
    internal_names,
    shown,
)
from haechi.services.registrations.operations import DEFAULT
from haechi.services.registrations.registry import Registered
from haechi.services.registrations.watch import without_secrets

PATH = "/ngsi-ld/v1/csourceRegistrations"
ROLE = "admin"  # who may say where requests of others go, and with which credentials
_PARAMETERS = (
    "type id idPattern attrs q csf scopeQ georel geometry coordinates geoproperty timerel timeAt endTimeAt timeproperty"
    " datasetId limit offset count"
)
_MANDATORY = ("type", "information", "endpoint")


async def create(face: Face, request: Request) -> Response:
    """POST (5.9.2): 201 with its Location."""
    _may(request)
    parameters(request, "")
    body, context = await _read(face, request)
    id = body.setdefault("id", f"urn:ngsi-ld:ContextSourceRegistration:{uuid.uuid4()}")
    if not isinstance(id, str) or not is_uri(id):
        raise InvalidData(f"the registration's id {id!r} is no URI; send one, or none", "bad_request")
    now = to_us(face.services.clock.now())
    if face.services.sources.registry.knows(id, now):
        raise Conflict(f"there is a registration {id} already; PATCH it, or choose another id")
    await _take(face, internal_names(body, context.expand), now)
    return Response(status_code=201, headers={"Location": f"{PATH}/{id}"})


async def _take(face: Face, document: Document, now: int) -> None:
    """Checks a new state of a registration against everything else, and stores it (clauses 5.9.2.4, 5.9.3.4)."""
    registration = compile_registration(document)
    if not registration.lives(now):
        raise InvalidData(
            f"expiresAt {document['expiresAt']} is over; name a time to come, or leave it out", "bad_request"
        )
    registry = face.services.sources.registry
    if (other := overlapping(registration, registry.living(now))) is not None:
        raise conflict(f"{other.id} claims some of it; what is exclusive has one source: DELETE or PATCH one of them")
    if registration.mode in PROXIED and (held := await _held(face, registration)):
        raise conflict(
            f"{held} is here already with what would be elsewhere; delete that here first, or register it inclusive"
        )
    registry.put(registration, now)


async def _held(face: Face, registration: Registration) -> str:
    """An entity stored here that the registration says is elsewhere; empty when there is none."""
    for one in registration.information:
        for entity in one.entities:
            query = EntityQuery(
                types=entity.types,
                ids=entity.ids,
                id_pattern=entity.pattern,
                matches=lambda found: holds(registration, found),
                limit=1,
            )
            if page := (await face.ask(face.services.store.query, query)).entities:
                return str(page[0]["id"])
    return ""


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /{id} (5.9.3): members given replace those there, null removes."""
    _may(request)
    parameters(request, "")
    now = to_us(face.services.clock.now())
    fragment, context = await _read(face, request, _id(id))
    old = face.services.sources.registry.get(id, now).registration.document
    for name in _MANDATORY:
        if name in fragment and fragment[name] in (None, NULL):
            raise InvalidData(f"{name} is needed; it cannot be removed", "bad_request")
    if fragment.get("id", id) != id:
        raise InvalidData("the id of a registration stays; leave it out", "bad_request")
    given = internal_names(fragment, context.expand)
    merged = {name: value for name, value in {**old, **given}.items() if value is not None and value != NULL}
    await _take(face, merged, now)
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /{id} (5.9.4)."""
    _may(request)
    parameters(request, "")
    registry = face.services.sources.registry
    registry.get(_id(id), to_us(face.services.clock.now()))
    registry.remove(id)
    return no_content()


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /{id} (5.10.1)."""
    given, context = parameters(request, ""), await face.context(request)
    found = face.services.sources.registry.get(_id(id), to_us(face.services.clock.now()))
    sys_attrs = "sysAttrs" in given.options
    return face.answer(request, document_of(found, context, sys_attrs, open_to(request)), context)


async def query(face: Face, request: Request) -> Response:
    """GET (5.10.2): those that may have something of what is asked for."""
    given, context = parameters(request, _PARAMETERS), await face.context(request)
    fits = _question(given, context)
    registry = face.services.sources.registry
    found = [one for one in registry.all(to_us(face.services.clock.now())) if fits(one.registration)]
    limit, offset = page_of(given)
    page = found[offset : offset + limit]
    sys_attrs, whole = "sysAttrs" in given.options, open_to(request)
    links = page_links(PATH, given.given, (limit, offset), offset + limit < len(found), answer_type(request))
    headers = [("Link", one.replace("; rel", ";rel")) for one in links]
    if counted(given):
        headers.append(("NGSILD-Results-Count", str(len(found))))
    return face.answer(request, [document_of(one, context, sys_attrs, whole) for one in page], context, headers)


def _question(given: Parameters, context: Context) -> Callable[[Registration], bool]:
    """A test for registrations (clause 5.10.2.4)."""
    wanted = wanted_of(given, context)
    moments = temporal.from_parameters(given.given)
    tests = [
        q.compile_q(text, context.expand, frozenset())
        for text in (given.get("q"), given.get("csf"))
        if text is not None
    ]
    if (scopes := given.get("scopeQ")) is not None:
        tests.append(scopeq.parse(scopes))
    if (place := geoq.parse(given.get, context.expand)) is not None:
        tests.append(place[1])
    if wanted == EVERYTHING and not tests:
        raise InvalidData("this asks for everything: name type, id, attrs, q, csf, scopeQ or georel", "bad_request")

    def fits(registration: Registration) -> bool:
        entity: Entity = registration.entity
        return (
            temporal.fits(moments, registration)
            and bool(matching_information(registration, [wanted]))
            and (
                not registration.datasets
                or not wanted.datasets
                or not registration.datasets.isdisjoint(wanted.datasets)
            )
            and all(test(entity) for test in tests)
        )

    return fits


def wanted_of(given: Parameters, context: Context) -> Wanted:
    """What parameters of a query select, in internal names."""
    selection, ids = given.get("type"), given.names("id")
    for one in ids:
        if not is_uri(one):
            raise InvalidData(f"id={one!r} is no URI; entity ids are, such as urn:ngsi-ld:Building:17", "bad_request")
    types = () if selection in (None, "*") else typeq.parse(str(selection), context.expand)[0]
    attributes = frozenset(map(context.expand, given.names("attrs")))
    return Wanted(ids, types, given.get("idPattern"), attributes, frozenset(given.names("datasetId")))


def document_of(one: Registered, context: Context, sys_attrs: bool, whole: bool) -> dict[str, Any]:
    """A registration as a client reads it; `whole`: with the credentials for its source."""
    document = one.registration.document
    found = shown(document if whole else without_secrets(document), context.compact)
    found = {**found, "mode": document.get("mode", MODES[0]), "operations": document.get("operations", [DEFAULT])}
    if sys_attrs:
        found |= {"createdAt": format_iso(one.created_at), "modifiedAt": format_iso(one.modified_at)}
    return found | one.counters.shown()


async def _read(face: Face, request: Request, id: str | None = None) -> tuple[dict[str, Any], Context]:
    body, context = await read(request, face.services.contexts, merge=id is not None)
    if not isinstance(body, dict) or not body:
        raise InvalidData("a registration is a JSON object; see clause 5.2.9", "bad_request")
    return dict(body), context


def _may(request: Request) -> None:
    if PERSON in request.scope:
        require(request, ROLE)


def open_to(request: Request) -> bool:
    """Whether this person may read credentials for sources."""
    person = request.scope.get(PERSON)
    return person is None or person.may(ROLE)


def _id(id: str) -> str:
    if not id:
        raise InvalidData("name a registration: /csourceRegistrations/{id}", "method")
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; ids of registrations are", "bad_request")
    return id
