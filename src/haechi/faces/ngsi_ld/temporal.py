"""/temporal/entities, what changes them (clauses 5.6.11 to 5.6.16): record, take back and correct instances.

Everything goes through the log like any write: history keeps it, and the live model takes what is newest.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from haechi.core import attribute as attributes
from haechi.core.entity import KINDS, NULL, Entity, Instance
from haechi.core.errors import InvalidData, NotFound
from haechi.core.urn import is_uri, type_of
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.requests import parameters
from haechi.faces.ngsi_ld.writes import Change
from haechi.ports import EvolutionQuery
from haechi.services.ngsi_ld.evolution import SCOPE, Row, instant_of, rows_of
from haechi.services.ngsi_ld.names import Context

_MEMBERS = frozenset({"id", "@id", "type", "@type", SCOPE, "@context"})
_STAND_INS: Mapping[str, Any] = {
    "value": 0,
    "object": "urn:x:null",
    "languageMap": {"@none": "-"},
    "vocab": "null",
    "json": {},
    "valueList": [],
    "objectList": [],
}


async def create(face: Face, request: Request) -> Response:
    """POST /temporal/entities (5.6.11): 201 with Location, 204 when there was an evolution already."""
    parameters(request, "")
    body, context = await face.body(request)
    if not isinstance(body, dict):
        raise InvalidData("an entity is a JSON object; send one", "bad_request")
    id = uri_of(body.get("id", body.get("@id")))
    recorded = {"type": attributes.types_from(body.get("type", body.get("@type")), context.expand)}
    recorded |= _fragment(body, context)
    async with face.writes.holding([id]):
        was_there = await face.entity(id) is not None or await has_evolution(face, id)
        await face.writes.send([Change("record", id, {"id": id, **recorded})])
    if was_there:
        return no_content()
    location = f"{request.scope.get('root_path', '')}/temporal/entities/{quote(id, safe=':')}"
    return Response(status_code=201, headers={"Location": location})


async def append(face: Face, request: Request, id: str) -> Response:
    """POST /temporal/entities/{id}/attrs (5.6.12)."""
    parameters(request, "")
    uri_of(id)
    body, context = await face.body(request)
    if not isinstance(body, dict):
        raise InvalidData("send an object of attributes, each with its instances", "bad_request")
    recorded = _fragment(body, context)
    async with face.writes.holding([id]):
        await face.writes.send([await _recording(face, id, recorded)])
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /temporal/entities/{id} (5.6.16): its history is taken back; what is true now stays, unless nothing but
    its history ever said so."""
    parameters(request, "")
    uri_of(id)
    async with face.writes.holding([id]):
        if not await has_evolution(face, id):
            raise _no_evolution(id)
        await face.writes.send([Change("forget", id, {"all": True})])
    return no_content()


async def delete_attribute(face: Face, request: Request, id: str, term: str) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attribute} (5.6.13): default instances, of datasetId, or deleteAll=true."""
    given, context = parameters(request, "deleteAll datasetId"), await face.context(request)
    uri_of(id)
    name, dataset = context.expand(attributes.name_from(term)), given.get("datasetId") or ""
    if dataset:
        uri_of(dataset)
    which: dict[str, Any] = {"all": True} if given.flag("deleteAll") else {"datasetId": dataset} if dataset else {}
    async with face.writes.holding([id]):
        asked = EvolutionQuery((id,), (name,), () if "all" in which else (dataset,), limit=1)
        if not (await face.ask(face.history.evolution, asked)).num_rows:
            raise NotFound(f"the evolution of {id} has no such instances of {term}; GET it to see what it has")
        await face.writes.send([Change("forget", id, which, name)])
    return no_content()


async def delete_instance(face: Face, request: Request, id: str, term: str, instance: str) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attribute}/{instanceId} (5.6.15)."""
    parameters(request, "")
    context = await face.context(request)
    name = context.expand(attributes.name_from(term))
    async with face.writes.holding([uri_of(id)]):
        found = await _instance(face, id, name, uri_of(instance))
        await face.writes.send([_forgetting(found)])
    return no_content()


async def modify_instance(face: Face, request: Request, id: str, term: str, instance: str) -> Response:
    """PATCH /temporal/entities/{id}/attrs/{attribute}/{instanceId} (5.6.14): members given replace those there are."""
    parameters(request, "")
    if not term or not instance:
        raise InvalidData("PATCH is for one instance: …/attrs/{attribute}/{instanceId}", "method")
    uri_of(id), uri_of(instance)
    name_from = attributes.name_from(term)
    body, context = await face.body(request, merge=True)
    name = context.expand(name_from)
    fragment = _one_fragment(body, term, context)
    async with face.writes.holding([id]):
        found = await _instance(face, id, name, instance)
        changed = {**found.instance, **fragment, "instanceId": instance, "createdAt": found.instance["createdAt"]}
        kept = {key: one for key, one in changed.items() if one is not None and key != "modifiedAt"}
        if KINDS[kept["type"]] not in kept:
            raise InvalidData(f"a {kept['type']} needs {KINDS[kept['type']]}; send it, too", "bad_request")
        recording = await _recording(face, id, {"attrs": {name: [kept]}})
        await face.writes.send([_forgetting(found), recording])
    return no_content()


async def _instance(face: Face, id: str, name: str, instance: str) -> Row:
    """That instance; `NotFound` names what is missing."""
    at = instant_of(instance)
    if at is not None:
        near = await _rows(face, EvolutionQuery((id,), (name,), start=at, end=at + 1))
        if found := [one for one in near if one.instance["instanceId"] == instance]:
            return found[0]
    # One that was moved to another instant kept its id.
    everywhere = await _rows(face, EvolutionQuery((id,), (name,), limit=1_000_000))
    for one in everywhere:
        if one.instance["instanceId"] == instance:
            return one
    raise NotFound(f"the evolution of {id} has no such attribute or instance {instance}; GET it to see what it has")


async def _rows(face: Face, query: EvolutionQuery) -> list[Row]:
    return rows_of(await face.ask(face.history.evolution, query), query.by)


def _forgetting(found: Row) -> Change:
    where: dict[str, Any] = {"observedAt": found.observed_at}
    return Change(
        "forget", found.entity, where | ({"datasetId": found.dataset} if found.dataset else {}), found.attribute
    )


async def _recording(face: Face, id: str, recorded: Mapping[str, Any]) -> Change:
    """More instances of an entity that has an evolution."""
    old = await face.entity(id)
    if old is None and not await has_evolution(face, id):
        raise _no_evolution(id)
    past = {"past": True, "type": [type_of(id) or "Thing"]} if old is None else {}
    types = {"type": recorded["type"]} if "type" in recorded else {}
    return Change("record", id, {"id": id, **recorded, **types, **past})


async def has_evolution(face: Face, id: str) -> bool:
    """Whether history has any instance of it."""
    return bool((await face.ask(face.history.evolution, EvolutionQuery((id,), limit=1))).num_rows)


def _no_evolution(id: str) -> NotFound:
    return NotFound(f"there is no temporal evolution of {id}; create it with POST /temporal/entities")


def uri_of(id: object) -> str:
    """An id of the path or the body, or BadRequestData."""
    if not isinstance(id, str) or not is_uri(id):
        raise InvalidData(f"{str(id)[:60]!r} is no URI; ids are, such as urn:ngsi-ld:Building:17", "bad_request")
    return id


def _fragment(body: Mapping[str, Any], context: Context) -> Entity:
    """Scope and attributes of a body, each with all its instances."""
    if any(body.get(name, "") in (NULL, None) for name in body):
        raise InvalidData(f"null and {NULL} stand for the content of an instance only (clause 5.5.4)", "bad_request")
    found: Entity = {"attrs": {}}
    for term, given in body.items():
        if term == SCOPE:
            _read_scope(given, found)
        elif term not in _MEMBERS:
            read = [_read_instance(term, one, context) for one in _many(given)]
            for name, instance in (one for one in read if one is not None):
                found["attrs"].setdefault(name, []).append(instance)
    if not found["attrs"] and SCOPE not in found and len(body) > len(_MEMBERS & body.keys()):
        raise InvalidData("no attribute of the body is one; see clause 4.5.7", "bad_request")
    return found


def _many(given: Any) -> list[Any]:
    """The instances an attribute is given as; a list of plain values is one value."""
    if (
        isinstance(given, list)
        and given
        and all(isinstance(one, dict) and not _STAND_INS.keys().isdisjoint(one) for one in given)
    ):
        return given
    return [given]


def _read_scope(given: Any, found: Entity) -> None:
    """A scope as in the core API, or as the evolution of a Property (clause 4.5.6)."""
    many = given if isinstance(given, list) else [given]
    if not all(isinstance(one, dict) for one in many):
        found[SCOPE] = attributes.scope_from(given)
        return
    instances: list[Instance] = []
    for one in many:
        instance: Instance = {"type": "Property", "value": attributes.scope_from(one.get("value"))}
        if "observedAt" in one:
            read = attributes.attributes_from({"a": {"type": "Property", "value": 0, "observedAt": one["observedAt"]}})
            instance["observedAt"] = (read["a"] or [{}])[0]["observedAt"]
        instances.append(instance)
    found["attrs"][SCOPE] = instances


def _read_instance(term: str, given: Any, context: Context) -> tuple[str, Instance] | None:
    """Internal name and one instance; its content may be the NGSI-LD Null: it was deleted then (clause 4.5.7)."""
    nothing = (
        [member for member, one in given.items() if member in _STAND_INS and _is_null(one)]
        if isinstance(given, dict)
        else []
    )
    if nothing:
        given = {**given, nothing[0]: _STAND_INS[nothing[0]]}
    read = attributes.attributes_from({term: given}, context.expand)
    if not read:
        return None
    name, instances = next(iter(read.items()))
    assert instances, "a whole attribute has an instance"
    instance = instances[0]
    if nothing:
        instance[nothing[0]] = {"@none": NULL} if nothing[0] == "languageMap" else NULL
    return name, instance


def _is_null(content: Any) -> bool:
    return bool(content == NULL or (isinstance(content, dict) and content.get("@none") == NULL))


def _one_fragment(body: Any, term: str, context: Context) -> Instance:
    """The members of one instance that a body gives; it may be wrapped in the attribute's name."""
    if isinstance(body, dict) and set(body) == {term}:
        body = body[term]
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    read = attributes.attributes_from({term: body}, context.expand, attributes.FRAGMENTS)
    instances = next(iter(read.values()), None)
    if not instances or len(instances) != 1:
        raise InvalidData(f"send one instance of {term}; to remove it use DELETE", "bad_request")
    return {key: one for key, one in instances[0].items() if key != "datasetId"}
