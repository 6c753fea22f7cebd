"""/snapshots (clauses 5.16, 6.36 to 6.38), and the face of one for requests that name it in a header (6.3.22)."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import structlog
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import Conflict, HaechiError, InvalidData, NotFound, NotSupported, Unavailable
from haechi.core.times import format_iso, parse_iso, to_us
from haechi.core.urn import is_uri
from haechi.faces.http import header_of
from haechi.faces.ngsi_ld import posted, queries, snapshot_past
from haechi.faces.ngsi_ld.distributed import dispatch
from haechi.faces.ngsi_ld.distributed.wider import WiderFace
from haechi.faces.ngsi_ld.face import Face, json_answer, no_content
from haechi.faces.ngsi_ld.requests import Parameters, parameters
from haechi.ports import EntityQuery, EntityStore
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.snapshots import LARGEST, PRIORITY, TOGETHER, pages

HEADER = "NGSILD-Snapshot"
_QUERIES = ("snapshotQueries", "snapshotTemporalQueries")
_RAW_HEADER = HEADER.lower().encode()
PATH = "/ngsi-ld/v1/snapshots/"
_GIVEN = frozenset({"id", "type", "snapshotPriority", "expiresAt", *_QUERIES})
_CHANGING = frozenset({"type", "snapshotPriority", "expiresAt"})
_OF_ENTITIES = frozenset({"entities", "entityOperations", "entityMaps", "types", "attributes"})
_events = structlog.get_logger("snapshots")
Part = AsyncIterator[dict[str, Any]]  # entities by id, some at a time
_filling: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected


async def create(face: Face, request: Request) -> Response:
    """POST /snapshots (5.16.1): 201; it is filled afterwards."""
    parameters(request, "")
    body, context = await face.body(request)
    document = _document(face, body, _GIVEN)
    asked = {name: _listed(body, name) for name in _QUERIES if name in body}
    if not asked:
        raise InvalidData(f"{' or '.join(_QUERIES)} says what to copy; send one, or both", "bad_request")
    parts = [_part(face, request, one, context) for one in asked.get("snapshotQueries", ())]
    pasts = [snapshot_past.read(face, one, context) for one in asked.get("snapshotTemporalQueries", ())]
    document |= asked | _preparing(asked)
    return await _made(face, document, lambda: _fill(face, document, parts, pasts))


def _listed(body: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(body[name], list) or not body[name]:
        raise InvalidData(f"{name} is a list of queries, at least one", "bad_request")
    found: list[Any] = body[name]
    return found


def _preparing(asked: Mapping[str, Sequence[Any]]) -> dict[str, list[dict[str, str]]]:
    return {f"{name}Details": [{"resultStatus": "preparing"} for _ in many] for name, many in asked.items()}


async def clone(face: Face, request: Request, id: str) -> Response:
    """POST /snapshots/{id}/clone (5.16.2)."""
    parameters(request, "")
    body, _ = await face.body(request)
    source = _kept(face, id)
    document = _document(face, body, _CHANGING | {"id"})
    asked = {name: source[name] for name in _QUERIES if name in source}
    document |= asked | _preparing(asked)
    status = {name: source[name] for name in ("snapshotStatus", *(f"{one}Details" for one in asked))}
    return await _made(face, document, lambda: _clone(face, document, source["id"], status))


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /snapshots/{id} (5.16.3)."""
    parameters(request, "")
    return json_answer(_kept(face, id), 200)


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /snapshots/{id} (5.16.4): priority and end are the client's."""
    parameters(request, "")
    body, _ = await face.body(request, merge=True)
    kept = _kept(face, id)
    found = {**kept, **{name: one for name, one in _document(face, body, _CHANGING).items() if name in body}}
    face.snapshots.put(found)
    return json_answer(found, 200)


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /snapshots/{id} (5.16.5)."""
    parameters(request, "")
    face.forget_copy(_kept(face, id)["id"])
    return no_content()


async def purge(face: Face, request: Request) -> Response:
    """DELETE /snapshots?q= (5.16.7)."""
    given = parameters(request, "q")
    text = given.get("q")
    if text is None:
        raise InvalidData("say with q which snapshots go, such as q=snapshotPriority<5", "bad_request")
    for id in face.snapshots.matching(text):
        face.forget_copy(id)
    return no_content()


def _kept(face: Face, id: str) -> dict[str, Any]:
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; ids of snapshots are", "bad_request")
    try:
        return face.snapshots.get(id, to_us(face.services.clock.now()))
    except NotFound:
        if face.snapshots.has(id):  # it has expired
            face.forget_copy(id)
        raise


def _document(face: Face, body: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """What a client may say of a snapshot, with what it leaves out."""
    if wrong := sorted(body.keys() - allowed):
        raise InvalidData(f"{wrong[0]} is not the client's to say; leave it out", "bad_request")
    if body.get("type", "Snapshot") != "Snapshot":
        raise InvalidData("type must be Snapshot", "bad_request")
    priority = body.get("snapshotPriority", PRIORITY)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= 10:
        raise InvalidData("snapshotPriority must be a whole number from 1 to 10", "bad_request")
    id = body.get("id", f"urn:ngsi-ld:Snapshot:{uuid.uuid4()}")
    if not is_uri(id):
        raise InvalidData("the id of a snapshot is a URI; send one, or none", "bad_request")
    now = format_iso(to_us(face.services.clock.now()))
    found = {"id": id, "type": "Snapshot", "snapshotStatus": "preparing", "snapshotPriority": priority}
    return {**found, "createdAt": now, "lastUsedAt": now, **_end(body)}


def _end(body: Mapping[str, Any]) -> dict[str, str]:
    if "expiresAt" not in body:
        return {}
    try:
        return {"expiresAt": format_iso(parse_iso(str(body["expiresAt"])))}
    except (ValueError, OverflowError) as error:
        raise InvalidData("expiresAt must be a date-time such as 2026-11-22T09:00:00Z", "bad_request") from error


def _part(face: Face, request: Request, query: Any, context: Context) -> Part:
    """What answers one query here, and in other context sources (clause 5.7.2.4)."""
    asked, selectors = posted.read(query, context)
    question = queries.question_of(Parameters(asked, frozenset()), context, selectors, face.services.store)
    if not face.services.sources:
        return _here(face.services.store, question)
    return _everywhere(WiderFace(face, request, context, dispatch.parameters_of(query)), question)


async def _here(store: EntityStore, question: EntityQuery) -> Part:
    found = pages(store, question)
    while (some := await asyncio.to_thread(next, found, None)) is not None:
        yield some


async def _everywhere(face: WiderFace, question: EntityQuery) -> Part:
    whole = replace(question, limit=LARGEST, offset=0, count=False)
    entities = (await face.ask(queries.found, face.services.store, whole, ())).entities
    for start in range(0, len(entities), TOGETHER):
        yield {one["id"]: one for one in entities[start : start + TOGETHER]}


async def _made(face: Face, document: dict[str, Any], fill: Callable[[], Any]) -> Response:
    if face.snapshots.has(document["id"]):
        raise Conflict(f"there is a snapshot {document['id']} already; delete it, or choose another id")
    face.snapshots.add(document)
    task = asyncio.create_task(fill())
    _filling.add(task)
    task.add_done_callback(_filling.discard)
    return Response(status_code=201, headers={"Location": PATH + quote(document["id"], safe=":")})


async def _fill(
    face: Face, document: dict[str, Any], parts: Sequence[Part], pasts: Sequence[snapshot_past.PastQuery]
) -> None:
    """What became of each query, and of all (5.16.1.4); one that found nothing has no success to tell."""
    now = [await _poured(face, document["id"], one) for one in parts]
    results = [*now, *(then := await snapshot_past.filled(face, document["id"], pasts))]
    status = "failure" if "success" not in results else "success" if set(results) == {"success"} else "partial"
    told = {
        f"{name}Details": [{"resultStatus": one} for one in many]
        for name, many in zip(_QUERIES, (now, then), strict=True)
        if many
    }
    _done(face, {**document, "snapshotStatus": status, **told})


async def _clone(face: Face, document: dict[str, Any], source: str, status: Mapping[str, Any]) -> None:
    """As its source is, unless it could not be copied."""
    part = _here(face.copy_of(source).services.store, EntityQuery())
    failed = await _poured(face, document["id"], part) == "failure"
    if "snapshotTemporalQueries" in document:
        failed |= await snapshot_past.cloned(face, document["id"], source) == "failure"
    _done(face, {**document, "snapshotStatus": "failure"} if failed else {**document, **status})


def _done(face: Face, document: dict[str, Any]) -> None:
    if face.snapshots.has(document["id"]):
        face.snapshots.put(document)


async def _poured(face: Face, id: str, part: Part) -> str:
    """Into the snapshot's own store; what happens to the live model meanwhile is not told apart."""
    count = 0
    try:
        async for some in part:
            await face.services.shelf.copies.open(face.copy_name(id)).pour(some)
            count += len(some)
    except HaechiError as error:
        _events.warning("snapshot_not_filled", snapshot=id, error=str(error))
        return "failure"
    return "success" if count else "empty"


def face_for(face: Face, request: Request, pattern: tuple[str, ...]) -> Face:
    """The face of the snapshot a request names (6.3.22), of entities and what kinds of them there are."""
    named = header_of(request.scope, _RAW_HEADER)
    is_past = pattern[0] == "temporal"
    if named is None or not (is_past or pattern[0] in _OF_ENTITIES):
        return face
    if is_past and request.method not in {"GET", "HEAD"} and pattern[1] != "entityOperations":
        raise NotSupported("the past in a snapshot is only read; leave NGSILD-Snapshot out to change what was")
    id = unquote(named.rpartition("/")[2])
    kept = _kept(face, id)
    if kept["snapshotStatus"] == "preparing":
        raise Unavailable(f"snapshot {id} is still being filled; ask again in a moment")
    kept["lastUsedAt"] = format_iso(to_us(face.services.clock.now()))
    return face.past_of(id) if is_past else face.copy_of(id)
