"""Temporal operations that read (clauses 5.7.3, 5.7.4): this broker's answer and those of other sources, put together
as documents: instances of an attribute side by side in order of time, each once. Used by dispatch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld import entity_maps, queries, temporal_queries
from haechi.faces.ngsi_ld.distributed import past_maps, past_ranges
from haechi.faces.ngsi_ld.distributed.asking import Answer, Ask, Asker, escaped
from haechi.faces.ngsi_ld.distributed.inner import with_query
from haechi.faces.ngsi_ld.distributed.past_maps import Heard
from haechi.faces.ngsi_ld.distributed.past_sums import Sums, is_aggregated, of_instances
from haechi.faces.ngsi_ld.distributed.wider import types_of
from haechi.faces.ngsi_ld.distributed.writing import Resource
from haechi.faces.ngsi_ld.errors import error_response
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.links import query_context_of
from haechi.faces.ngsi_ld.requests import Parameters, answer_type
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.sums import HEAD as _HEAD
from haechi.services.registrations import temporal
from haechi.services.registrations.matching import Part, Wanted
from haechi.services.registrations.model import Registration

_OURS = frozenset({"local", "limit", "offset", "count", "csf", "entityMap", "entityMapLifetime"})
_NOT_FOUND, _PARTIAL = 404, 206
PAGE = 1000  # entities of one source at most
Document = dict[str, Any]
Given = Mapping[str, str]


async def retrieved(face: Face, request: Request, resource: Resource, id: str) -> Response:
    """GET /temporal/entities/{id}."""
    asker, given = await _asker(face, request), dict(request.query_params)
    own = await _own(face, request, resource, (id,))
    if (own.status_code >= 400 and own.status_code != _NOT_FOUND) or not is_uri(id):
        return own
    sums = Sums(face, asker.context, given) if is_aggregated(given) else None
    wanted = given if sums is None else of_instances(given)
    targets = _targets(asker, "retrieveTemporal", Wanted((id,), attributes=_attributes(asker, given)), given)
    if targets:
        _check_id_is_shown(given)
    asks = [Ask(one, "GET", f"/temporal/entities/{escaped(id)}", _query(asker, part, wanted)) for one, part in targets]
    answers = [one for one in await asker.ask_all(asks) if _sound(asker, one, dict) and one.body.get("id") == id]
    if not answers:
        return _warned(asker, own)
    known = {id: {**_body(own), "id": id}} if own.status_code < 400 else {}
    together = await _together(sums, known, {id: [one.body for one in answers]}, wanted)
    upto = _reach(asker, own, answers, summed=sums is not None)
    [shown] = together if upto is None else past_ranges.cut(together, _by(given), upto)
    response = await _answer(face, request, own, shown)
    if upto is not None:
        response.status_code, response.headers["Content-Range"] = 206, upto.header
    return _warned(asker, response)


def _by(given: Given) -> str:
    return given.get("timeproperty", "observedAt")


def _reach(asker: Asker, own: Response, answers: Iterable[Answer], *, summed: bool) -> past_ranges.Range | None:
    """How far back or forth all of them came; None: none cut its answer. Sums are made of what came, with a warning."""
    found = [past_ranges.read(own.headers.get("content-range"))] if own.status_code == _PARTIAL else []
    for one in answers:
        if one.status != _PARTIAL:
            continue
        its = past_ranges.read(one.content_range)
        if summed or its is None:
            reason = "it answered with a part of the time (206); ask for less of it"
            asker.warn(Answer(one.registration, one.status, reason=reason))
        else:
            found.append(its)
    return past_ranges.common(one for one in found if one is not None)


async def _together(
    sums: Sums | None, own: Mapping[str, Document], others: Mapping[str, Sequence[Document]], given: Given
) -> list[Document]:
    """One evolution per entity, ours first, then what only others have; sums of what was put together."""
    both = [document for id, document in own.items() if id in others]
    here = dict(own) if sums is None else await sums.here(both)
    whole = {
        id: merged([*([here[id]] if id in here else []), *others.get(id, ())], given)
        for id in (*own, *(one for one in others if one not in own))
        if id in here or id in others
    }
    if sums is None:
        return list(whole.values())
    summed = dict(zip(whole, sums.shown(list(whole.values()), own), strict=True))
    return [*(summed.get(id, one) for id, one in own.items()), *(summed[id] for id in whole if id not in own)]


async def queried(face: Face, request: Request, resource: Resource, posted: tuple[Context, Given] | None) -> Response:
    """GET /temporal/entities, or the same by POST: `posted` is what its body asks for, as parameters."""
    asker = await _asker(face, request) if posted is None else Asker(face, request, posted[0])
    given = {**dict(request.query_params), **(posted[1] if posted else {})}
    targets = _targets(asker, "queryTemporal", _wanted(asker, given), given)
    if not targets:
        return await resource(face, request)
    _check_id_is_shown(given)
    own, answers = await _everywhere(asker, resource, request, targets, given)
    heard = _by_entity(answers)
    sums = Sums(face, asker.context, given) if is_aggregated(given) else None
    others = {id: [one for _, one in many] for id, many in heard.items()}
    known = {str(one["id"]): one for one in _body(own)}
    mapped, status = past_maps.followed(face, request, given, known, heard)
    if mapped is not None:
        known, others = past_maps.among(mapped, known), past_maps.among(mapped, others)
    together = await _together(sums, known, others, of_instances(given) if sums else given)
    if mapped is not None:
        places = {id: place for place, id in enumerate(mapped.entities)}
        together.sort(key=lambda one: places.get(str(one.get("id")), len(places)))
    upto = _reach(asker, own, answers, summed=sums is not None)
    if upto is not None:
        together, status = past_ranges.cut(together, _by(given), upto), _PARTIAL if status == 200 else status
    limit, offset = page = queries.page_of(Parameters(given, frozenset()))
    again = {name: value for name, value in request.query_params.items() if name != "entityMap"}
    more, media = len(together) > offset + limit, answer_type(request)
    headers = [("Link", one) for one in queries.page_links(request.url.path, again, page, more, media)]
    if "ngsild-results-count" in own.headers:
        headers.append(("NGSILD-Results-Count", str(len(together))))
    if mapped is not None:
        headers.append((entity_maps.HEADER, entity_maps.PATH + mapped.id))
    if upto is not None:
        headers.append(("Content-Range", upto.header))
    response = face.answer(request, together[offset : offset + limit], asker.context, headers)
    response.status_code = status
    return _warned(asker, response)


async def mapped(face: Face, request: Request) -> Response | None:
    """GET /temporal/entityMaps (5.14.5): the map of what all sources have; None when no other has anything."""
    asker, given = await _asker(face, request), dict(request.query_params)
    targets = _targets(asker, "queryTemporal", _wanted(asker, given), given)
    if not targets:
        return None
    own, answers = await _everywhere(asker, temporal_queries.query, request, targets, given)
    made = past_maps.made(face, given, [str(one["id"]) for one in _body(own)], _by_entity(answers))
    return _warned(asker, entity_maps.answer_with(face, request, made))


async def _everywhere(
    asker: Asker, resource: Resource, request: Request, targets: Sequence[tuple[Registration, Part]], given: Given
) -> tuple[Response, list[Answer]]:
    """Our answer, with whatever matches here, and what others answer; of sums, the instances they are made of."""
    whole = await with_query(request, {"limit": str(PAGE), "offset": "0", "entityMap": "false"})
    raw = entity_maps.HEADER.lower().encode()
    whole.scope["headers"] = [one for one in whole.scope["headers"] if one[0] != raw]
    own = await resource(asker.face, whole)
    wanted = of_instances(given) if is_aggregated(given) else given
    answers = await asker.ask_all(
        Ask(one, "GET", "/temporal/entities", _page(asker, part, wanted)) for one, part in targets
    )
    sound = [one for one in answers if _sound(asker, one, list)]
    _warn_of_more(asker, own, sound)
    return own, sound


def _warn_of_more(asker: Asker, own: Response, answers: Iterable[Answer]) -> None:
    """Of each broker one page is put together: where one may have more, the client is told."""
    reason = f"it has {PAGE} entities or more, the most that are put together of one broker; name fewer"
    for one in answers:
        if len(one.body) >= PAGE:
            asker.warn(Answer(one.registration, one.status, reason=reason))
    if own.status_code < 400 and len(_body(own)) >= PAGE:
        asker.warn_here(reason)


def _by_entity(answers: Iterable[Answer]) -> Heard:
    heard: dict[str, list[tuple[str, Document]]] = {}
    for answer in answers:
        for one in answer.body:
            heard.setdefault(str(one.get("id")), []).append((answer.registration.id, one))
    return heard


def _check_id_is_shown(given: Given) -> None:
    """What several sources have of an entity is put together by its id."""
    picked, omitted = (given.get(name, "").split(",") for name in ("pick", "omit"))
    if (picked != [""] and "id" not in picked) or "id" in omitted:
        raise InvalidData("several sources are asked: keep id in what you pick, out of what you omit", "bad_request")


def _wanted(asker: Asker, given: Given) -> Wanted:
    ids = tuple(one for one in given.get("id", "").split(",") if one)
    types = types_of(given.get("type"), asker.context)
    return Wanted(ids, types, given.get("idPattern"), _attributes(asker, given))


async def _asker(face: Face, request: Request) -> Asker:
    return Asker(face, request, await query_context_of(request.headers.getlist("link"), face.services.contexts))


async def _own(face: Face, request: Request, resource: Resource, names: Sequence[str]) -> Response:
    try:
        return await resource(face, request, *names)
    except NotFound as error:
        return error_response(error)


def _targets(asker: Asker, operation: str, wanted: Wanted, given: Mapping[str, str]) -> list[tuple[Registration, Part]]:
    moments = _moments(given)
    return asker.matching(operation, wanted, lambda one: temporal.may_fit(moments, one))


def _moments(given: Mapping[str, str]) -> temporal.Question | None:
    try:
        return temporal.from_parameters(given) if "timerel" in given else None
    except HaechiError:
        return None  # the resource has answered already what is wrong with it


def _attributes(asker: Asker, given: Mapping[str, str]) -> frozenset[str]:
    names = [one for name in ("attrs", "pick") for one in given.get(name, "").split(",") if one]
    return frozenset(asker.context.expand(one) for one in names if one not in _HEAD)


def _query(asker: Asker, part: Part, given: Mapping[str, str]) -> list[tuple[str, str]]:
    query = {name: value for name, value in given.items() if name not in _OURS}
    if part.attributes and not {"pick", "omit"} & query.keys():
        query["attrs"] = ",".join(sorted(map(asker.context.compact, part.attributes)))
    return list(query.items())


def _page(asker: Asker, part: Part, given: Mapping[str, str]) -> list[tuple[str, str]]:
    query = dict(_query(asker, part, given)) | {"limit": str(PAGE)}
    if part.types and "type" not in query:
        query["type"] = ",".join(map(asker.context.compact, part.types))
    if part.ids:
        query["id"] = ",".join(part.ids)
    if part.pattern is not None:
        query["idPattern"] = part.pattern
    return list(query.items())


def _sound(asker: Asker, answer: Answer, shape: type) -> bool:
    """Whether it is an answer of that shape; one that is none is a warning."""
    if answer.status not in {200, 206}:
        return False
    body = answer.body
    many = body if isinstance(body, list) else [body]
    whole = isinstance(body, shape) and all(isinstance(one, dict) for one in many)
    if not whole:
        reason = "its answer is no temporal evolution"
        asker.warn(Answer(answer.registration, answer.status, reason=reason, sound=False))
    return whole


def _body(own: Response) -> Any:
    return orjson.loads(bytes(own.body))


async def _answer(face: Face, request: Request, own: Response, body: Any) -> Response:
    """The merged body with the headers of our own answer, where we had one."""
    if own.status_code < 400:
        headers = {
            name: value for name, value in own.headers.items() if name not in {"content-length", "content-range"}
        }
        return Response(orjson.dumps(body), 200, headers)
    context = await query_context_of(request.headers.getlist("link"), face.services.contexts)
    return face.answer(request, body, context)


def _warned(asker: Asker, response: Response) -> Response:
    if asker.warnings:
        response.headers["NGSILD-Warning"] = ", ".join(dict.fromkeys(asker.warnings))
    return response


def merged(documents: Sequence[Document], given: Mapping[str, str]) -> Document:
    """One evolution of several of the same entity."""
    if len(documents) == 1:
        return documents[0]
    found = dict(documents[0])
    for document in documents[1:]:
        for name, value in document.items():
            if name not in found:
                found[name] = value
            elif name not in _HEAD:
                found[name] = _attribute(found[name], value, given)
    return found


def _attribute(one: Any, other: Any, given: Mapping[str, str]) -> Any:
    """Instances of both, or columns of both (temporalValues)."""
    last = int(given["lastN"]) if given.get("lastN", "").isdecimal() else None
    if isinstance(one, dict) and isinstance(other, dict):
        member = next((name for name in past_ranges.COLUMNS if name in one and name in other), None)
        if member is None:
            return [one, other] if "observedAt" in one or "observedAt" in other else one
        return {**one, member: _ordered([*one[member], *other[member]], lambda row: str(row[1]), last)}
    ours, theirs = (many if isinstance(many, list) else [many] for many in (one, other))
    by = _by(given)
    return _ordered([*ours, *theirs], lambda instance: str(instance.get(by, "")), last)


def _ordered(instances: list[Any], at: Any, last: int | None) -> list[Any]:
    """In order of time, each instant of a series once; of so many the newest, which then come first."""
    seen: dict[tuple[str, str], Any] = {}
    for one in instances:
        dataset = str(one.get("datasetId", "")) if isinstance(one, dict) else ""
        moment = at(one)
        key = (dataset, moment or f"{len(seen)}")
        seen.setdefault(key, one)
    found = sorted(seen.values(), key=at)
    return found if last is None else list(reversed(found[-last:]))
