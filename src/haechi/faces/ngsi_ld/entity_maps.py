"""/entityMaps, and queries that make or follow one (clauses 5.5.9.3, 5.14, 6.32, 6.34)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.core.times import parse_iso, to_us
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld import queries
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.requests import Parameters, body_of, parameters
from haechi.ports import EntityPage, EntityQuery
from haechi.services.ngsi_ld import ordering
from haechi.services.ngsi_ld.entity_maps import LARGEST, LOCAL, EntityMap, lifetime_s
from haechi.services.ngsi_ld.names import CORE_CONTEXT

HEADER = "NGSILD-EntityMap"
PATH = "/ngsi-ld/v1/entityMaps/"
PARAMETERS = "entityMap entityMapLifetime"
_CHUNK = 1_000
OK, CREATED = 200, 201
Orders = Sequence[ordering.Order]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A page of a query with the map that it made (201) or followed (200)."""

    page: EntityPage
    id: str
    status: int

    def named(self, response: Response) -> Response:
        """The answer with the map's address."""
        response.headers[HEADER] = PATH + self.id
        if self.status != OK:  # else the answer's own status stands
            response.status_code = self.status
        return response


async def create(face: Face, request: Request) -> Response:
    """GET /entityMaps (5.14.4): 201 with the map of a query."""
    given = parameters(request, f"{queries.PARAMETERS} {PARAMETERS}")
    context = await face.context(request)
    selectors = [queries.selector_of(given, context)]
    question = queries.question_of(given, context, selectors, face.services.store)
    made = await made_for(face, given, question, ordering.parse(given.get, context.expand))
    return answer_with(face, request, made)


def answer_with(face: Face, request: Request, made: EntityMap) -> Response:
    """201 with the map itself."""
    response = face.answer(request, made.shown(), CORE_CONTEXT, {HEADER: PATH + made.id})
    response.status_code = CREATED
    return response


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /entityMaps/{id} (5.14.1)."""
    parameters(request, "")
    return face.answer(request, _map(face, id).shown(), CORE_CONTEXT)


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /entityMaps/{id} (5.14.2): expiresAt alone is the client's to say."""
    parameters(request, "")
    body: Any = await body_of(request)
    found = _map(face, id)
    if not isinstance(body, dict):
        raise InvalidData('a fragment of an EntityMap is a JSON object, such as {"expiresAt": …}', "bad_request")
    if "expiresAt" in body:
        face.maps.renew(found, _now(face), _instant(body["expiresAt"]))
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /entityMaps/{id} (5.14.3)."""
    parameters(request, "")
    face.maps.remove(_map(face, id).id, _now(face))
    return no_content()


def _map(face: Face, id: str) -> EntityMap:
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; ids of EntityMaps are", "bad_request")
    return face.maps.get(id, _now(face))


def _now(face: Face) -> int:
    return to_us(face.services.clock.now())


def _instant(value: object) -> int:
    try:
        return parse_iso(value if isinstance(value, str) else "")
    except (ValueError, OverflowError) as error:
        raise InvalidData(
            f"expiresAt is {str(value)[:60]!r}; write a date-time such as 2026-11-22T09:00:00Z", "bad_request"
        ) from error


async def made_for(face: Face, given: Parameters, question: EntityQuery, orders: Orders) -> EntityMap:
    """The map of everything that answers the question."""
    life_s = lifetime_s(given.get("entityMapLifetime"))
    whole = replace(question, limit=LARGEST + 1, offset=0, count=False)
    found = await face.ask(queries.found, face.services.store, whole, orders)
    return kept(face, [one["id"] for one in found.entities], life_s)


def kept(face: Face, ids: Sequence[str], life_s: float) -> EntityMap:
    """A map of these entities, each with where it is: here, and in the sources that this face heard of it from."""
    elsewhere = face.origins
    here = face.services.store.load([id for id in ids if id in elsewhere]) if elsewhere else {}
    entities = {id: [*([LOCAL] if id in here or id not in elsewhere else []), *elsewhere.get(id, ())] for id in ids}
    return face.maps.add(f"urn:ngsi-ld:entitymap:{uuid.uuid4()}", entities, _now(face), life_s)


async def followed(
    face: Face, request: Request, given: Parameters, question: EntityQuery, orders: Orders
) -> Mapped | None:
    """A page of a query that makes a map (status 201), because it asks or because the one that it names lives no more
    (clause 5.7.2.4), or follows one (200); None when it does neither."""
    named = request.headers.get(HEADER)
    if named is None and not given.flag("entityMap"):
        return None
    found = None if named is None else face.maps.known(unquote(named.rpartition("/")[2]), _now(face))
    if found is not None:
        return Mapped(await _page(face, found, question), found.id, OK)
    made = await made_for(face, given, question, orders)
    return Mapped(await _page(face, made, question), made.id, CREATED)


def of_one(face: Face, request: Request, given: Parameters, id: str) -> list[tuple[str, str]]:
    """The headers of a retrieval that names a map which lives, or makes one because it asks or because the one that it
    names lives no more (clause 5.7.1.4)."""
    named = request.headers.get(HEADER)
    if named is None and not given.flag("entityMap"):
        return []
    found = None if named is None else face.maps.known(unquote(named.rpartition("/")[2]), _now(face))
    found = found or kept(face, [id], lifetime_s(given.get("entityMapLifetime")))
    return [(HEADER, PATH + found.id)]


async def _page(face: Face, found: EntityMap, question: EntityQuery) -> EntityPage:
    """From `offset` on, those that still answer the question, until the page is full; the others leave the map."""
    start, entities = (0 if question.count else question.offset), list[Entity]()
    wanted = LARGEST if question.count else question.limit
    while len(entities) < wanted and (ids := list(found.entities)[start : start + _CHUNK]):
        there = await _fitting(face, question, ids)
        for id in ids:
            if id not in there:
                del found.entities[id]
        start += len(there)
        entities += [there[id] for id in ids if id in there]
    if not question.count:
        return EntityPage(entities[: question.limit])
    return EntityPage(entities[question.offset : question.offset + question.limit], len(entities))


async def _fitting(face: Face, question: EntityQuery, ids: Sequence[str]) -> dict[str, Entity]:
    asked = [id for id in ids if not question.ids or id in question.ids]
    if not asked:
        return {}
    again = replace(question, ids=tuple(asked), limit=len(asked), offset=0, count=False)
    page = await face.ask(face.services.store.query, again)
    return {one["id"]: one for one in page.entities}
