"""Changes of one entity (clauses 5.6.1 to 5.6.6, 5.6.11 to 5.6.19): each attribute goes where registrations say, the
rest is done here by the resource that would have done it all."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core import attribute as attributes
from haechi.core.errors import HaechiError
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.distributed import results
from haechi.faces.ngsi_ld.distributed.asking import LOOP, Answer, Ask, Asker, escaped
from haechi.faces.ngsi_ld.distributed.inner import inner_request
from haechi.faces.ngsi_ld.distributed.results import Outcome
from haechi.faces.ngsi_ld.errors import conflict
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.links import query_context_of
from haechi.faces.ngsi_ld.requests import LD, read, read_named
from haechi.services.ngsi_ld import typeq
from haechi.services.ngsi_ld.names import Context
from haechi.services.registrations.matching import Wanted, concerns, covers
from haechi.services.registrations.model import Registration

Resource = Callable[..., Awaitable[Response]]
NO_ATTRIBUTES = frozenset({"id", "@id", "type", "@type", "scope", "@context", "createdAt", "modifiedAt", "expiresAt"})


@dataclass(frozen=True, slots=True)
class Operation:
    """How one resource is forwarded. `name`: of clause 4.20; `reading`: how its body is read; `whole`: it is about an
    entity rather than about attributes."""

    name: str
    method: str
    reading: str = ""
    whole: bool = False
    one_attribute: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What a request changes: types None when nobody says."""

    id: str
    types: tuple[str, ...] | None
    names: Mapping[str, str]  # internal name of an attribute -> as the client wrote it
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Division:
    """Which source gets which attributes; `refused`: that of sources which do not do such things; `rest` stays here."""

    forwarded: Sequence[tuple[Registration, tuple[str, ...]]]
    refused: Sequence[tuple[Registration, tuple[str, ...]]]
    rest: tuple[str, ...]
    taken: bool  # something of it is elsewhere and not here (exclusive, redirect)


def divide(asker: Asker, operations: frozenset[str], target: Target, whole: bool) -> Division:
    """Clause 5.6.1.4 and its like: exclusive sources first, then redirects, then copies for inclusive ones. `whole`:
    without attributes an entity as such can be elsewhere."""
    living = asker.living()
    left = list(target.names)
    forwarded: list[tuple[Registration, tuple[str, ...]]] = []
    refused: list[tuple[Registration, tuple[str, ...]]] = []
    taken = False
    for mode in ("exclusive", "redirect"):
        gone: set[str] = set()
        for one in living:
            if one.mode != mode or not (share := _share(one, target, left, whole)):
                continue
            names = tuple(name for name in share if name)
            (refused if operations.isdisjoint(one.operations) else forwarded).append((one, names))
            gone.update(share)
            taken = True
        left = [name for name in left if name not in gone]
    for one in living:
        copied = one.mode == "inclusive" and not operations.isdisjoint(one.operations) and not asker.looped
        if copied and (share := _share(one, target, left, whole and not taken)):
            forwarded.append((one, tuple(name for name in share if name)))
    return Division(forwarded, refused, tuple(left), taken)


def _share(one: Registration, target: Target, names: Sequence[str], whole: bool) -> list[str]:
    """Of these attributes those that the source may have; the empty name is the entity itself."""
    if not names and whole and not target.names:
        return [""] if covers(one, target.id, target.types, None) else []
    return [name for name in names if covers(one, target.id, target.types, name)]


async def changed(
    face: Face, request: Request, resource: Resource, names: Sequence[str], operation: Operation, path: str
) -> Response:
    """One change with a body: create, append, update, merge, replace."""
    asker, target = await _target(face, request, names, operation)
    if target is None:
        return await resource(face, request, *names)
    _check(target, asker.context, operation)
    division = divide(asker, frozenset({operation.name}), target, operation.whole)
    if not division.forwarded and not division.refused:
        return await resource(face, request, *names)
    outcomes = await _remote(asker, operation, target, division, path)
    if division.rest or not division.taken:
        inner = await inner_request(request, _fragment(target, division.rest, asker))
        outcomes.append(await _here(face, inner, resource, names, division.rest))
    if operation.whole:
        done = next((one.response for one in outcomes if one.response is not None), None)
        return results.entity_answer(target.id, outcomes, done or _created(request, target.id, operation))
    return results.attributes_answer(outcomes)


def _created(request: Request, id: str, operation: Operation) -> Response:
    if operation.method != "POST":
        return no_content()
    root = request.scope.get("root_path", "")
    kind = "temporal/entities" if "Temporal" in operation.name else "entities"
    return Response(status_code=201, headers={"Location": f"{root}/{kind}/{escaped(id)}"})


async def _target(
    face: Face, request: Request, names: Sequence[str], operation: Operation
) -> tuple[Asker, Target | None]:
    """The body as it concerns registrations; no target when it is not sound enough to tell: the resource says why."""
    merge = request.method == "PATCH" or operation.reading == attributes.UPDATE
    body, context = await read(request, face.services.contexts, merge)
    _, given = await read_named(request)
    asker = Asker(face, request, context, given, _media(request) == LD)
    id = names[0] if names else body.get("id", body.get("@id")) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not is_uri(id):
        return asker, None
    types = _types(body.get("type", body.get("@type")), context) if not operation.one_attribute else None
    if (selection := request.query_params.get("type")) not in (None, "*"):
        types = typeq.parse(str(selection), context.expand)[0]
    if operation.one_attribute:
        return asker, Target(str(id), types, {context.expand(names[1]): names[1]}, body)
    written = {context.expand(term): term for term in body if term not in NO_ATTRIBUTES}
    return asker, Target(str(id), types, written, body)


def _types(given: Any, context: Context) -> tuple[str, ...] | None:
    many = given if isinstance(given, list) else [given]
    return tuple(context.expand(one) for one in many) if all(isinstance(one, str) for one in many) else None


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check(target: Target, context: Context, operation: Operation) -> None:
    """Nothing is forwarded of what this broker would refuse as a whole."""
    if operation.name == "createEntity":
        attributes.entity_from({**target.body}, context.expand)
    elif operation.reading and not operation.one_attribute:
        attributes.attributes_from({**target.body}, context.expand, operation.reading)


def _fragment(target: Target, names: Sequence[str], asker: Asker) -> dict[str, Any]:
    """The body with these attributes only; its @context stays where the client put it."""
    written = {target.names[name] for name in names if name in target.names}
    found = {term: value for term, value in target.body.items() if term in NO_ATTRIBUTES or term in written}
    return {**found, "@context": asker.given} if asker.in_body and asker.given is not None else found


async def _remote(asker: Asker, operation: Operation, target: Target, division: Division, path: str) -> list[Outcome]:
    query = [(name, value) for name, value in asker.request.query_params.multi_items() if name != "local"]
    refused = [
        results.of_error(conflict(f"{one.id} has it and does not take {operation.name}"), names, one.id)
        for one, names in division.refused
    ]
    if asker.looped:
        return refused + [results.of_answer(_loop(one), names) for one, names in division.forwarded]
    asks = []
    for one, names in division.forwarded:
        body = target.body if operation.one_attribute else _fragment(target, names, asker)
        body = {term: value for term, value in body.items() if term != "@context"}
        asks.append(Ask(one, operation.method, path, query, body))
    answers = await asker.ask_all(asks)
    return refused + [
        results.of_answer(answer, names) for answer, (_, names) in zip(answers, division.forwarded, strict=True)
    ]


def _loop(one: Registration) -> Answer:
    return Answer(one, LOOP, reason="a loop of registrations leads back to this broker")


async def _here(
    face: Face, request: Request, resource: Resource, names: Sequence[str], attributes_: Sequence[str]
) -> Outcome:
    try:
        response = await resource(face, request, *names)
    except HaechiError as error:
        response = results.local(error)
    return results.of_response(response, attributes_)


async def removed(
    face: Face, request: Request, resource: Resource, names: Sequence[str], operation: Operation, path: str
) -> Response:
    """One deletion: of an entity, or of an attribute of one."""
    context = await query_context_of(request.headers.getlist("link"), face.services.contexts)
    asker = Asker(face, request, context)
    if not is_uri(names[0]):
        return await resource(face, request, *names)
    selection = request.query_params.get("type")
    types = None if selection in (None, "*") else typeq.parse(str(selection), context.expand)[0]
    name = context.expand(names[1]) if len(names) > 1 else ""
    target = Target(names[0], types, {name: names[1]} if name else {}, {})
    division = (
        divide(asker, frozenset({operation.name}), target, whole=False)
        if name
        else _whole(asker, operation.name, target)
    )
    if not division.forwarded and not division.refused:
        return await resource(face, request, *names)
    outcomes = await _removals(asker, operation, division, path)
    if division.rest or not name:
        own = await _here(face, request, resource, names, division.rest)
        missing = own.error is not None and own.error.get("status") == 404
        if not (missing and division.taken):  # deleted here "if it exists" (5.6.6.4)
            outcomes.append(own)
    return results.entity_answer(names[0], outcomes, no_content())


def _whole(asker: Asker, operation: str, target: Target) -> Division:
    """Who has anything of the entity."""
    found = [one for one in asker.living() if one.mode != "auxiliary" and concerns(one, target.id, target.types)]
    proxied = [one for one in found if one.mode in {"exclusive", "redirect"}]
    inclusive = [one for one in found if one.mode == "inclusive" and operation in one.operations and not asker.looped]
    doing = [one for one in proxied if operation in one.operations] + inclusive
    refusing = [one for one in proxied if operation not in one.operations]
    return Division([(one, ()) for one in doing], [(one, ()) for one in refusing], (), bool(proxied))


async def _removals(asker: Asker, operation: Operation, division: Division, path: str) -> list[Outcome]:
    refused = [
        results.of_error(conflict(f"{one.id} has it and does not take {operation.name}"), names, one.id)
        for one, names in division.refused
    ]
    if asker.looped:
        return refused + [results.of_answer(_loop(one), names) for one, names in division.forwarded]
    query = [(name, value) for name, value in asker.request.query_params.multi_items() if name != "local"]
    answers = await asker.ask_all(Ask(one, operation.method, path, query) for one, _ in division.forwarded)
    return refused + [
        results.of_answer(answer, names) for answer, (_, names) in zip(answers, division.forwarded, strict=True)
    ]


async def purged(face: Face, request: Request, resource: Resource) -> Response:
    """DELETE /entities (5.6.21): others purge what they have of it, this broker its own."""
    context = await query_context_of(request.headers.getlist("link"), face.services.contexts)
    asker, given = Asker(face, request, context), request.query_params
    selection, ids = given.get("type"), tuple(one for one in given.get("id", "").split(",") if one)
    types = () if selection in (None, "*") else typeq.parse(str(selection), context.expand)[0]
    own = await resource(face, request)  # what is wrong with the request is said before anything is forwarded
    wanted = Wanted(ids, types, given.get("idPattern"))
    targets = asker.matching("purgeEntity", wanted, lambda one: one.mode != "auxiliary")
    asks = []
    for one, part in targets:
        query = {name: value for name, value in given.items() if name != "local"}
        query |= {"id": ",".join(part.ids)} if part.ids else {}
        query |= {"idPattern": part.pattern} if part.pattern else {}
        query |= {"type": ",".join(map(context.compact, part.types))} if part.types and not types else {}
        asks.append(Ask(one, "DELETE", "/entities", list(query.items())))
    answers = [one for one in await asker.ask_all(asks) if one.status != 404]
    failed = [results.of_answer(one, ()) for one in answers if not one.ok]
    if not failed:
        return own
    errors = [{"registrationId": one.source, "error": one.error} for one in failed]
    return Response(orjson.dumps({"success": [], "errors": errors}), 207, media_type="application/json")
