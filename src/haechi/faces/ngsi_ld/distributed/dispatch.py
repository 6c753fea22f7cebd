"""Which operations are distributed, and how (clause 4.20). Called by the routes for each request while any context
source is registered."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core import attribute as attributes
from haechi.core.errors import HaechiError
from haechi.faces.ngsi_ld.distributed import batches, past, writing
from haechi.faces.ngsi_ld.distributed.asking import escaped
from haechi.faces.ngsi_ld.distributed.inner import kept
from haechi.faces.ngsi_ld.distributed.wider import WiderFace
from haechi.faces.ngsi_ld.distributed.writing import Operation, Resource
from haechi.faces.ngsi_ld.errors import error_response
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.links import query_context_of
from haechi.faces.ngsi_ld.requests import read
from haechi.services.ngsi_ld.names import CORE_CONTEXT, Context

Pattern = tuple[str, ...]
_ENTITY, _ATTRS, _ATTR = ("entities", "*"), ("entities", "*", "attrs"), ("entities", "*", "attrs", "*")
_CHANGES: Mapping[tuple[str, Pattern], Operation] = {
    ("POST", ("entities",)): Operation("createEntity", "POST", attributes.WHOLE, whole=True),
    ("PATCH", _ENTITY): Operation("mergeEntity", "PATCH", attributes.FRAGMENTS),
    ("PUT", _ENTITY): Operation("replaceEntity", "PUT", attributes.WHOLE),
    ("POST", _ATTRS): Operation("appendAttrs", "POST", attributes.UPDATE),
    ("PATCH", _ATTRS): Operation("updateEntity", "PATCH", attributes.UPDATE),
    ("PATCH", _ATTR): Operation("updateAttrs", "PATCH", one_attribute=True),
    ("PUT", _ATTR): Operation("replaceAttrs", "PUT", one_attribute=True),
    ("POST", ("temporal", "entities")): Operation("upsertTemporal", "POST", whole=True),
    ("POST", ("temporal", *_ATTRS)): Operation("appendAttrsTemporal", "POST"),
    ("PATCH", ("temporal", *_ATTR, "*")): Operation("updateAttrInstanceTemporal", "PATCH", one_attribute=True),
}
_REMOVALS: Mapping[Pattern, Operation] = {
    _ENTITY: Operation("deleteEntity", "DELETE", whole=True),
    _ATTR: Operation("deleteAttrs", "DELETE"),
    ("temporal", *_ENTITY): Operation("deleteTemporal", "DELETE", whole=True),
    ("temporal", *_ATTR): Operation("deleteAttrsTemporal", "DELETE"),
    ("temporal", *_ATTR, "*"): Operation("deleteAttrInstanceTemporal", "DELETE"),
}
_BATCHES = frozenset({"create", "upsert", "update", "merge", "delete"})
_READ: frozenset[Pattern] = frozenset(
    {("entities",), _ENTITY, ("types",), ("types", "*"), ("attributes",), ("attributes", "*")}
)


async def answer(face: Face, request: Request, resource: Resource, where: tuple[Pattern, Sequence[str]]) -> Response:
    """What the resource answers, with what other sources have to do with it. `where`: the pattern of the path and what
    stands for its asterisks."""
    pattern, names = where
    if request.query_params.get("local") != "true":
        request = await kept(request)
        method = "GET" if request.method == "HEAD" else request.method
        if (asked := await _wider(face, request, method, pattern)) is not None:
            return await _read(asked, request, resource, names)
        if (was := await _was(face, request, resource, (method, pattern, names))) is not None:
            return was
        if (written := await _written(face, request, resource, (method, pattern, names))) is not None:
            return written
    return await resource(face, request, *names)


async def _was(
    face: Face, request: Request, resource: Resource, where: tuple[str, Pattern, Sequence[str]]
) -> Response | None:
    """The answer to what reads the past; None when it is no distributed operation."""
    method, pattern, names = where
    if pattern == ("temporal", "entityOperations", "query"):
        return await past.queried(face, request, resource, await _posted(face, request))
    if method != "GET" or pattern[0] != "temporal":
        return None
    if pattern == ("temporal", "entities", "*"):
        return await past.retrieved(face, request, resource, names[0])
    if pattern == ("temporal", "entities"):
        return await past.queried(face, request, resource, None)
    return await past.mapped(face, request)


async def _written(
    face: Face, request: Request, resource: Resource, where: tuple[str, Pattern, Sequence[str]]
) -> Response | None:
    """The answer to what changes something; None when it is no distributed operation."""
    method, pattern, names = where
    if (operation := _CHANGES.get((method, pattern))) is not None:
        return await writing.changed(face, request, resource, names, operation, _path(pattern, names))
    if method == "DELETE" and pattern in _REMOVALS:
        return await writing.removed(face, request, resource, names, _REMOVALS[pattern], _path(pattern, names))
    if method == "DELETE" and pattern == ("entities",):
        return await writing.purged(face, request, resource)
    if pattern[0] == "entityOperations" and pattern[1] in _BATCHES:
        return await batches.batch(face, request, resource, pattern[1])
    return None


async def _wider(face: Face, request: Request, method: str, pattern: Pattern) -> WiderFace | None:
    """The face through which a resource reads what others have, too; None when it is no distributed operation."""
    if pattern == ("entityOperations", "query"):
        return await _querying(face, request)
    if method != "GET" or pattern not in _READ:
        return None
    context = await query_context_of(request.headers.getlist("link"), face.services.contexts)
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        given[name] = f"{given[name]},{value}" if name in given and name in {"id", "type", "attrs"} else value
    return WiderFace(face, request, context, given)


def _path(pattern: Pattern, names: Sequence[str]) -> str:
    """The path below /ngsi-ld/v1, escaped; that of a list ends in a slash, as the clauses on attributes write it."""
    given = iter(names)
    path = "/" + "/".join(escaped(next(given)) if one == "*" else one for one in pattern)
    return path + "/" if pattern[-1] == "attrs" else path


async def _querying(face: Face, request: Request) -> WiderFace:
    """A query by POST (5.7.2, 6.23)."""
    context, given = await _posted(face, request)
    return WiderFace(face, request, context, dict(request.query_params) | given)


async def _posted(face: Face, request: Request) -> tuple[Context, dict[str, str]]:
    """What the body of a query by POST asks for, as parameters; nothing where the resource will say what is wrong."""
    try:
        body, context = await read(request, face.services.contexts)
    except HaechiError:
        return CORE_CONTEXT, {}
    return context, parameters_of(body) if isinstance(body, dict) else {}


_MOMENTS = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration")


def parameters_of(body: Mapping[str, Any]) -> dict[str, str]:
    """What a Query (clause 5.2.23) asks of sources, as the parameters of a query."""
    found = {name: body[name] for name in ("q", "csf", "scopeQ") if isinstance(body.get(name), str)}
    for name in ("attrs", "pick", "omit", "datasetId"):
        if isinstance(body.get(name), list):
            found[name] = ",".join(map(str, body[name]))
    if body.get("splitEntities") is True:
        found["splitEntities"] = "true"
    place = body.get("geoQ")
    if isinstance(place, dict):
        for name in ("georel", "geometry", "geoproperty"):
            if isinstance(place.get(name), str):
                found[name] = place[name]
        coordinates = place.get("coordinates")
        found["coordinates"] = coordinates if isinstance(coordinates, str) else orjson.dumps(coordinates).decode()
    for moments in (body.get("temporalQ"), body.get("aggrParams")):
        if isinstance(moments, dict):
            found |= {name: _words(moments[name]) for name in _MOMENTS if name in moments}
    given = body.get("entities")
    selectors = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    types = [one["type"] for one in selectors if isinstance(one.get("type"), str)]
    if types and len(types) == len(selectors):
        found["type"] = ",".join(dict.fromkeys(types))
    return found


def _words(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


async def _read(face: WiderFace, request: Request, resource: Resource, names: Sequence[str]) -> Response:
    """A 404 keeps its warnings, too (6.3.17)."""
    try:
        response = await resource(face, request, *names)
    except HaechiError as error:
        response = error_response(error)
    if face.asker.warnings:
        response.headers["NGSILD-Warning"] = ", ".join(dict.fromkeys(face.asker.warnings))
    return response
