"""Batches (clauses 5.6.7 to 5.6.10, 5.6.20): each member goes where registrations say, in one request to a source that
takes batches, in one per member to another; the rest is done here as one batch."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import HaechiError
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.distributed.asking import LOOP, Answer, Ask, Asker, details_of, escaped
from haechi.faces.ngsi_ld.distributed.inner import inner_request
from haechi.faces.ngsi_ld.distributed.writing import NO_ATTRIBUTES, Resource, Target, divide
from haechi.faces.ngsi_ld.errors import conflict, details
from haechi.faces.ngsi_ld.face import Face, json_answer, no_content
from haechi.faces.ngsi_ld.requests import LD, read_batch
from haechi.services.ngsi_ld.names import CORE_CONTEXT, Context
from haechi.services.registrations.matching import concerns
from haechi.services.registrations.model import Registration

# The batch operation, and the single ones that stand in for it (in this order) where a source takes no batches.
_OPERATIONS = {
    "create": ("createBatch", ("createEntity",)),
    "upsert": ("upsertBatch", ("createEntity", "replaceEntity")),
    "update": ("updateBatch", ("updateEntity", "appendAttrs")),
    "merge": ("mergeBatch", ("mergeEntity",)),
    "delete": ("deleteBatch", ("deleteEntity",)),
}


@dataclass(slots=True)
class _Shares:
    """Members for each source, and what is said of members so far."""

    sources: dict[str, tuple[Registration, list[Any]]] = field(default_factory=dict)
    here: list[Any] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)  # ids of which something is elsewhere and not here
    errors: list[dict[str, Any]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)

    def give(self, one: Registration, member: Any) -> None:
        self.sources.setdefault(one.id, (one, []))[1].append(member)

    def fail(self, id: str, error: Any, source: str | None) -> None:
        named = {} if source is None else {"registrationId": source}
        self.errors.append({"entityId": id, **named, "error": error})


async def batch(face: Face, request: Request, resource: Resource, kind: str) -> Response:
    """One of /entityOperations/create, upsert, update, merge, delete."""
    members = await read_batch(request, face.services.contexts)
    raw = orjson.loads(await request.body())
    context = next((one for _, one in members if isinstance(one, Context)), CORE_CONTEXT)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    given, raw = _common(raw) if media == LD else (None, raw)
    asker = Asker(face, request, context, given, given is None and media == LD)
    shares = _Shares()
    for whole, (body, named) in zip(raw, members, strict=True):
        _place(asker, kind, (whole, body, named), shares)
    if not shares.sources and not shares.errors:
        return await resource(face, request)
    await asyncio.gather(*(_forward(asker, kind, *each, shares) for each in shares.sources.values()))
    if shares.here:
        here = [{**one, "@context": given} for one in shares.here] if given is not None else shares.here
        await _here(face, await inner_request(request, here), resource, shares)
    return _answer(kind, shares)


def _common(members: list[Any]) -> tuple[Any, list[Any]]:
    """The @context that all members name by one URL, and the members without it; else None, and the members as they
    are."""
    given = {_url(one.get("@context")) if isinstance(one, dict) else None for one in members}
    url = given.pop() if len(given) == 1 else None
    if url is None:
        return None, members
    return url, [{name: one[name] for name in one if name != "@context"} for one in members]


def _url(given: Any) -> str | None:
    """The one URL an @context consists of."""
    found = given[0] if isinstance(given, list) and len(given) == 1 else given
    return found if isinstance(found, str) else None


def _place(asker: Asker, kind: str, member: tuple[Any, Any, Context | HaechiError], shares: _Shares) -> None:
    whole, body, named = member
    id = body if kind == "delete" else body.get("id", body.get("@id")) if isinstance(body, dict) else None
    if is_uri(id) and kind == "delete":
        _place_id(asker, str(id), shares)
    elif not is_uri(id) or isinstance(named, HaechiError):
        shares.here.append(whole)
    else:
        _place_entity(asker, kind, str(id), (whole, body, named), shares)


def _place_id(asker: Asker, id: str, shares: _Shares) -> None:
    together, single = _OPERATIONS["delete"]
    shares.here.append(id)
    for one in asker.living():
        if one.mode == "auxiliary" or not concerns(one, id, None):
            continue
        proxied = one.mode != "inclusive"
        if proxied:
            shares.elsewhere.add(id)
        if one.operations.isdisjoint({together, *single}):
            if proxied:
                shares.fail(id, details(conflict(f"{one.id} has it and deletes nothing")), one.id)
        elif not asker.looped:
            shares.give(one, id)
        elif proxied:
            shares.fail(id, _loop(one), one.id)


def _place_entity(asker: Asker, kind: str, id: str, member: tuple[Any, Any, Context], shares: _Shares) -> None:
    whole, body, context = member
    together, single = _OPERATIONS[kind]
    kinds = body.get("type", body.get("@type"))
    many = kinds if isinstance(kinds, list) else [kinds]
    types = tuple(context.expand(one) for one in many) if all(isinstance(one, str) for one in many) else None
    names = {context.expand(term): term for term in body if term not in NO_ATTRIBUTES}
    target = Target(id, types, names, body)
    division = divide(asker, frozenset({together, *single}), target, whole=True)
    for one, refused in division.refused:
        shares.fail(id, details(conflict(f"{one.id} has {len(refused)} of its attributes and takes none")), one.id)
    for one, share in division.forwarded:
        if asker.looped:
            shares.fail(id, _loop(one), one.id)
        else:
            shares.give(one, _fragment(whole, names, share))
    if division.taken:
        shares.elsewhere.add(id)
    if division.rest or not division.taken:
        shares.here.append(_fragment(whole, names, division.rest) if division.taken else whole)


def _fragment(whole: dict[str, Any], names: Mapping[str, str], share: Sequence[str]) -> dict[str, Any]:
    """A member with these attributes only, its @context included."""
    written = {names[name] for name in share}
    return {term: value for term, value in whole.items() if term in NO_ATTRIBUTES or term in written}


def _loop(one: Registration) -> dict[str, Any]:
    return details_of(Answer(one, LOOP, reason="a loop of registrations leads back to this broker"))


async def _forward(asker: Asker, kind: str, one: Registration, members: list[Any], shares: _Shares) -> None:
    query = [(name, value) for name, value in asker.request.query_params.multi_items() if name != "local"]
    together, single = _OPERATIONS[kind]
    if together in one.operations:
        answer = await asker.ask(Ask(one, "POST", f"/entityOperations/{kind}", query, members))
        _take(kind, answer, [_id(member) for member in members], shares)
        return
    offered = [name for name in single if name in one.operations]
    answers = await asyncio.gather(*(_alone(asker, one, offered, member, query) for member in members))
    for member, answer in zip(members, answers, strict=True):
        _take(kind, answer, [_id(member)], shares)


def _id(member: Any) -> str:
    return str(member if isinstance(member, str) else member.get("id", member.get("@id")))


async def _alone(
    asker: Asker, one: Registration, offered: Sequence[str], member: Any, query: Sequence[tuple[str, str]]
) -> Answer:
    """One member by the single operation that stands in for the batch; where an entity may be there already, or not
    yet, the second way is tried after the first."""
    path = f"/entities/{escaped(_id(member))}"
    only = [(name, value) for name, value in query if (name, value) != ("options", "update")]
    updating = len(only) < len(query) and "updateEntity" in one.operations
    if offered == ["deleteEntity"]:
        return await asker.ask(Ask(one, "DELETE", path, only))
    if offered[0] == "mergeEntity":
        return await asker.ask(Ask(one, "PATCH", path, only, member))
    if offered[0] in {"updateEntity", "appendAttrs"}:
        return await asker.ask(Ask(one, *_ATTRIBUTES[offered[0]](path), only, _bare(member)))
    if updating:
        answer = await asker.ask(Ask(one, "PATCH", path + "/attrs/", only, _bare(member)))
        if answer.status != 404 or "createEntity" not in offered:
            return answer
    first = Ask(one, "POST", "/entities", only, member)
    if offered[0] == "replaceEntity":
        first = Ask(one, "PUT", path, only, member)
    answer = await asker.ask(first)
    if answer.status == 409 and "replaceEntity" in offered and not updating:
        return await asker.ask(Ask(one, "PUT", path, only, member))
    return answer


_ATTRIBUTES: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "updateEntity": lambda path: ("PATCH", path + "/attrs/"),
    "appendAttrs": lambda path: ("POST", path + "/attrs/"),
}


def _bare(member: dict[str, Any]) -> dict[str, Any]:
    return {term: value for term, value in member.items() if term not in {"id", "@id", "type", "@type"}}


def _take(kind: str, answer: Answer, ids: Sequence[str], shares: _Shares) -> None:
    """What a source's answer says of each member (clause 5.2.16)."""
    source = answer.registration.id
    if answer.status == 207 and isinstance(answer.body, dict) and isinstance(answer.body.get("errors"), list):
        failed = {one.get("entityId"): one.get("error") for one in answer.body["errors"] if isinstance(one, dict)}
        for id in ids:
            shares.fail(id, failed[id], source) if id in failed else shares.done.append(id)
        return
    if not answer.ok or answer.status == 207:
        for id in ids:
            shares.fail(id, details_of(answer), source)
        return
    shares.done += ids
    if answer.status == 201:
        named = answer.body if isinstance(answer.body, list) else ids
        shares.created += [id for id in ids if id in named]


def _missing(error: dict[str, Any]) -> bool:
    return isinstance(error["error"], dict) and error["error"].get("status") == 404 and "registrationId" in error


async def _here(face: Face, request: Request, resource: Resource, shares: _Shares) -> None:
    ids = [_id(member) for member in shares.here if isinstance(member, str | dict)]
    try:
        response = await resource(face, request)
    except HaechiError as error:
        for id in ids:
            shares.fail(id, details(error), None)
        return
    if response.status_code == 207:
        body = orjson.loads(bytes(response.body))
        shares.done += body["success"]
        for one in body["errors"]:
            if not (one["entityId"] in shares.elsewhere and one["error"].get("status") == 404):
                shares.errors.append(one)
        return
    shares.done += ids
    if response.status_code == 201:
        shares.created += orjson.loads(bytes(response.body))


def _answer(kind: str, shares: _Shares) -> Response:
    if kind == "delete":  # nobody says of which type an id is: that one source has no such entity is no failure
        shares.errors = [one for one in shares.errors if not (_missing(one) and one["entityId"] in shares.done)]
    failed = {one["entityId"] for one in shares.errors}
    if shares.errors:
        success = [id for id in dict.fromkeys(shares.done) if id not in failed]
        return json_answer({"success": success, "errors": shares.errors}, 207)
    if kind == "create":
        return json_answer(list(dict.fromkeys(shares.done)), 201)
    created = list(dict.fromkeys(shares.created))
    return json_answer(created, 201) if kind == "upsert" and created else no_content()
