"""/entities and below (clauses 6.4 to 6.7): create, retrieve, query, merge, replace, append, update, delete."""

import dataclasses
from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import Entity
from haechi.core.errors import InvalidData, NotFound
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld import answers, entity_maps, provision, queries
from haechi.faces.ngsi_ld.face import Face, no_content, update_result
from haechi.faces.ngsi_ld.provision import Outcome, existing
from haechi.faces.ngsi_ld.requests import Parameters, parameters
from haechi.faces.ngsi_ld.views import PARAMETERS as SHOWN
from haechi.faces.ngsi_ld.writes import Change
from haechi.services.ngsi_ld import ordering, typeq
from haechi.services.ngsi_ld.names import Context


def location_of(request: Request, id: str) -> str:
    """Path of an entity's resource (clause 6.4.3.1)."""
    return f"{request.scope.get('root_path', '')}/entities/{quote(id, safe=':')}"


def _uri(id: str) -> str:
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; entity ids are, such as urn:ngsi-ld:Building:17", "bad_request")
    return id


async def create(face: Face, request: Request) -> Response:
    """POST /entities (5.6.1): 201 with Location, 409 when there is one."""
    parameters(request, "")
    body, context = await face.body(request)
    entity = provision.entity_body(body, context)
    id = entity["id"]
    async with face.writes.holding([id]):
        known = await face.lookups.of([id])
        await face.writes.send([provision.create(entity, known.get(id))])
    return Response(status_code=201, headers={"Location": location_of(request, id)})


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /entities/{id} (5.7.1)."""
    given = parameters(request, f"type geometryProperty {SHOWN} {entity_maps.PARAMETERS}")
    context = await face.context(request)
    wanted = face.asked.of(request, given, context)
    if wanted.whole and "type" not in given.given and not face.distributed:
        document = existing(id, face.services.store.load([_uri(id)]).get(id))
        headers = entity_maps.of_one(face, request, given, id)
        if not headers:
            face.repeated.learn(request.scope, wanted.view)
        return answers.whole(face, wanted, document, headers)
    entity = of_type(given, context, existing(_uri(id), await face.entity(id)))
    attrs = {context.expand(name) for name in given.names("attrs")}
    if attrs and attrs.isdisjoint(entity["attrs"]):
        raise NotFound(f"{id} has none of the attributes {given.get('attrs')}; leave attrs out to see what it has")
    return await answers.retrieved(face, wanted, entity, entity_maps.of_one(face, request, given, id))


def of_type(given: Parameters, context: Context, entity: Entity) -> Entity:
    """The entity when it is of the types that the request selects (clauses 5.6.6.4, 5.7.1.4)."""
    selection = given.get("type")
    if selection is not None and selection != "*":
        types, test = typeq.parse(selection, context.expand)
        if set(types).isdisjoint(entity["type"]) or (test is not None and not test(entity)):
            raise NotFound(
                f"{entity['id']} is of type {', '.join(map(context.compact, entity['type']))}, not {selection}"
            )
    return entity


async def query(face: Face, request: Request) -> Response:
    """GET /entities (5.7.2): pages in order of creation or of orderBy, with links to the next and previous one."""
    given = parameters(request, f"{queries.PARAMETERS} {entity_maps.PARAMETERS}")
    context = await face.context(request)
    return await answered(face, request, given, (context, [queries.selector_of(given, context)]))


async def answered(
    face: Face, request: Request, given: Parameters, asked: tuple[Context, Sequence[queries.Selector]]
) -> Response:
    """The page of a query that asks with these parameters for what one of the selectors selects."""
    context, selectors = asked
    wanted = face.asked.of(request, given, context)
    limit, offset = page = queries.page_of(given)
    question = queries.question_of(given, context, selectors, face.services.store)
    more = limit + 1 if limit else 0  # one more than the client's: whether another page follows
    question = dataclasses.replace(question, limit=more, offset=offset, count=queries.counted(given))
    orders = ordering.parse(given.get, context.expand)
    mapped = await entity_maps.followed(face, request, given, question, orders)
    if wanted.whole and not mapped and not face.distributed:
        question = dataclasses.replace(question, raw=True)
    found = mapped.page if mapped else await queries.page_found(face, question, orders)
    again = {name: value for name, value in request.query_params.items() if name != "entityMap"}
    last, others = (queries.page_links(request.url.path, again, page, more) for more in (False, True))
    links = others if len(found.documents or found.entities) > limit else last
    headers = [("Link", link) for link in links]
    if found.total is not None:
        headers.append(("NGSILD-Results-Count", str(found.total)))
    if found.documents is not None:
        if queries.is_quick(question) and not orders:
            face.repeated.learn(request.scope, wanted.view, question, (last, others))
        return answers.wholes(face, wanted, found.documents[:limit], headers)
    response = await answers.queried(face, wanted, found.entities[:limit], headers)
    return mapped.named(response) if mapped else response


async def merge(face: Face, request: Request, id: str) -> Response:
    """PATCH /entities/{id} (5.6.17)."""
    given = parameters(request, "type observedAt lang")
    body, context = await face.body(request, merge=True)
    common = provision.common_of(given)
    async with face.writes.holding([_uri(id)]):
        old = await _target(face, given, context, id)
        await face.writes.send([provision.merge(body, context, old, common)])
    return no_content()


async def _target(face: Face, given: Parameters, context: Context, id: str) -> Entity:
    """The entity a request changes, when it is there and of the type selected."""
    return of_type(given, context, existing(id, await face.entity(id)))


async def replace(face: Face, request: Request, id: str) -> Response:
    """PUT /entities/{id} (5.6.18)."""
    given = parameters(request, "type")
    body, context = await face.body(request)
    async with face.writes.holding([_uri(id)]):
        await face.writes.send([provision.replace(body, context, await _target(face, given, context, id))])
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /entities/{id} (5.6.6)."""
    given, context = parameters(request, "type"), await face.context(request)
    async with face.writes.holding([_uri(id)]):
        await _target(face, given, context, id)
        await face.writes.send([Change("delete", id)])
    return no_content()


async def append(face: Face, request: Request, id: str) -> Response:
    """POST /entities/{id}/attrs (5.6.3): 204, or 207 when noOverwrite kept something."""
    given = parameters(request, "type")
    body, context = await face.body(request, merge=True)  # as ngsijs sends it
    async with face.writes.holding([_uri(id)]):
        old = await _target(face, given, context, id)
        outcome = provision.append(body, context, old, "noOverwrite" not in given.options)
        await _send(face, outcome)
    return update_result(outcome.updated, outcome.not_updated)


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /entities/{id}/attrs (5.6.2): 204, or 207 when some attributes are not there."""
    given = parameters(request, "type")
    body, context = await face.body(request, merge=True)
    async with face.writes.holding([_uri(id)]):
        outcome = provision.update(body, context, await _target(face, given, context, id))
        await _send(face, outcome)
    return update_result(outcome.updated, outcome.not_updated)


async def _send(face: Face, outcome: Outcome) -> None:
    await face.writes.send([outcome.change] if outcome.change else [])


async def patch_attribute(face: Face, request: Request, id: str, attribute: str) -> Response:
    """PATCH /entities/{id}/attrs/{attribute} (5.6.4)."""
    given = parameters(request, "type")
    body, context = await face.body(request, merge=True)
    async with face.writes.holding([_uri(id)]):
        old = await _target(face, given, context, id)
        await face.writes.send([provision.patch_attribute(body, attribute, context, old)])
    return no_content()


async def replace_attribute(face: Face, request: Request, id: str, attribute: str) -> Response:
    """PUT /entities/{id}/attrs/{attribute} (5.6.19)."""
    given = parameters(request, "type")
    body, context = await face.body(request)
    async with face.writes.holding([_uri(id)]):
        old = await _target(face, given, context, id)
        await face.writes.send([provision.replace_attribute(body, attribute, context, old)])
    return no_content()


async def delete_attribute(face: Face, request: Request, id: str, attribute: str) -> Response:
    """DELETE /entities/{id}/attrs/{attribute} (5.6.5): the default instance, that of datasetId, or deleteAll=true."""
    given, context = parameters(request, "type deleteAll datasetId"), await face.context(request)
    dataset = given.get("datasetId")
    where = {"all": True} if given.flag("deleteAll") else {"datasetId": dataset} if dataset else {}
    async with face.writes.holding([_uri(id)]):
        old = await _target(face, given, context, id)
        await face.writes.send([provision.delete_attribute(attribute, context, old, where)])
    return no_content()
