"""/entityOperations (clauses 5.6.7 to 5.6.10, 5.6.20): many entities in one request and one frame on the log."""

import asyncio
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.attribute import FRAGMENTS, WHOLE
from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld import provision
from haechi.faces.ngsi_ld.face import Face, batch_result, json_answer, no_content
from haechi.faces.ngsi_ld.provision import entity_body, sound_and_existing
from haechi.faces.ngsi_ld.requests import parameters, read_batch
from haechi.faces.ngsi_ld.writes import TURN, Change, after
from haechi.services.ngsi_ld.names import Context

MOST = 10_000
Item = tuple[Any, Context | HaechiError]
Decide = Callable[[Any, Context, Entity | None], list[Change]]


class _Results:
    """What became of each entity of a batch."""

    def __init__(self) -> None:
        self.created: dict[str, None] = {}  # each once, in order
        self.changed: dict[str, None] = {}
        self.errors: list[tuple[str, HaechiError]] = []

    def done(self, id: str, was_there: bool) -> None:
        (self.changed if was_there else self.created)[id] = None

    @property
    def success(self) -> list[str]:
        return [*self.created, *self.changed]


async def _items(face: Face, request: Request) -> list[Item]:
    body = await read_batch(request, face.services.contexts)
    if len(body) > MOST:
        raise InvalidData(f"a batch has at most {MOST} members, this one {len(body)}; send several", "too_large")
    return body


async def _run(face: Face, items: list[Item], decide: Decide) -> _Results:
    """Decides member by member, each seeing what earlier ones of its id will have done (clause 4.6.6); sends once."""
    results = _Results()
    named = [(_id_of(place, body, results), body, context) for place, (body, context) in enumerate(items)]
    times = Counter(id for id, _, _ in named if id)
    async with face.writes.holding(times):
        before = await face.entities(list(times))
        known: dict[str, Entity | None] = dict(before)
        changes: list[Change] = []
        for place, (id, body, context) in enumerate(named):
            if place % TURN == TURN - 1:
                await asyncio.sleep(0)  # others have their turn
            if not id:
                continue
            again = times[id] > 1
            try:
                decided = _decided(decide, body, context, deepcopy(known.get(id)) if again else known.get(id))
            except HaechiError as error:
                results.errors.append((id, error))
                continue
            for change in decided if again else ():
                known[id] = after(change, known.get(id))
            changes += decided
            results.done(id, id in before)
        await face.writes.send(changes)
    return results


def _decided(decide: Decide, body: Any, context: Context | HaechiError, old: Entity | None) -> list[Change]:
    if isinstance(context, HaechiError):
        raise context
    return decide(body, context, old)


def _id_of(place: int, body: Any, results: _Results) -> str:
    """The id of a member; empty, and an error in the results, when it has none."""
    id = body.get("id", body.get("@id")) if isinstance(body, dict) else None
    if isinstance(id, str) and is_uri(id):
        return id
    error = InvalidData(f"member {place} has no URI as its id; add it", "bad_request")
    results.errors.append((id if isinstance(id, str) else f"urn:ngsi-ld:member:{place}", error))
    return ""


def _created(body: Any, context: Context, old: Entity | None) -> Change:
    return provision.create(entity_body(body, context), old)


async def create(face: Face, request: Request) -> Response:
    """POST /entityOperations/create (5.6.7): 201 with the ids, 207 when some failed."""
    parameters(request, "")
    results = await _run(
        face,
        await _items(face, request),
        lambda body, context, old: [_created(body, context, old)],
    )
    if results.errors:
        return json_answer(batch_result(results.success, results.errors), 207)
    return json_answer(list(results.created), 201)


async def upsert(face: Face, request: Request) -> Response:
    """POST /entityOperations/upsert (5.6.8): 201 with the ids that are new, 204 when none is, 207 when some failed."""
    given = parameters(request, "")

    def decide(body: Any, context: Context, old: Entity | None) -> list[Change]:
        if old is None:
            return [_created(body, context, None)]
        if "update" in given.options:
            return _changes(provision.append(body, context, old, overwrite=True))
        return [provision.replace(body, context, old)]

    results = await _run(face, await _items(face, request), decide)
    if results.errors:
        return json_answer(batch_result(results.success, results.errors), 207)
    return json_answer(list(results.created), 201) if results.created else no_content()


def _changes(outcome: provision.Outcome) -> list[Change]:
    return [outcome.change] if outcome.change else []


async def update(face: Face, request: Request) -> Response:
    """POST /entityOperations/update (5.6.9): 204, 207 when some failed."""
    given = parameters(request, "")
    left: list[tuple[str, HaechiError]] = []  # what noOverwrite kept, though the rest was written

    def decide(body: Any, context: Context, old: Entity | None) -> list[Change]:
        entity = sound_and_existing(body, context, old, WHOLE)
        outcome = provision.append(body, context, entity, overwrite="noOverwrite" not in given.options)
        if outcome.not_updated:
            left.append((body["id"], InvalidData("; ".join(outcome.not_updated.values()), "bad_request")))
        return _changes(outcome)

    results = await _run(face, await _items(face, request), decide)
    results.errors += left
    for id, _ in left:
        results.changed.pop(id, None)
    return _done(results)


async def merge(face: Face, request: Request) -> Response:
    """POST /entityOperations/merge (5.6.20): 204, 207 when some failed."""
    parameters(request, "")

    def decide(body: Any, context: Context, old: Entity | None) -> list[Change]:
        return [provision.merge(body, context, sound_and_existing(body, context, old, FRAGMENTS))]

    return _done(await _run(face, await _items(face, request), decide))


async def delete(face: Face, request: Request) -> Response:
    """POST /entityOperations/delete (5.6.10) with an array of ids: 204, 207 when some are not there."""
    parameters(request, "")
    ids = [body for body, _ in await _items(face, request)]
    if not all(is_uri(one) for one in ids):
        raise InvalidData("send a JSON array of ids of entities: URIs such as urn:ngsi-ld:Building:17", "bad_request")
    results = _Results()
    async with face.writes.holding(ids):
        left = set(await face.entities(list(dict.fromkeys(ids))))
        for id in ids:
            if id in left:
                left.remove(id)
                results.done(id, was_there=True)
            else:
                results.errors.append((id, NotFound(f"no entity {id}; leave it out")))
        await face.writes.send([Change("delete", id) for id in results.changed])
    return _done(results)


def _done(results: _Results) -> Response:
    if results.errors:
        return json_answer(batch_result(results.success, results.errors), 207)
    return no_content()
