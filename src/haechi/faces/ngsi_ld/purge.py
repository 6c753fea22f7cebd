"""DELETE /entities (clause 5.6.21): deletes what a query finds, or only some attributes of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.queries import FILTERS, Selector, question_of, selector_of
from haechi.faces.ngsi_ld.requests import Parameters, parameters
from haechi.faces.ngsi_ld.writes import Change
from haechi.ports import EntityQuery, EntityStore
from haechi.services.ngsi_ld import projection
from haechi.services.ngsi_ld.names import Context

AT_ONCE = 1000  # entities changed in one frame
Decide = Callable[[Entity], Change | None]


async def purge(face: Face, request: Request) -> Response:
    """204 when all of it is done. What comes meanwhile and would fit may stay."""
    given = parameters(request, f"{FILTERS} keep drop")
    context = await face.context(request)
    decide = _decision(given, context)
    question = question_of(given, context, [selector_of(given, context)], face.services.store)
    ids = await face.ask(_ids, face.services.store, question)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        async with face.writes.holding(some):
            found = await face.entities(some)
            changes = [decide(one) for one in found.values() if _still(one, question)]
            await face.writes.send([one for one in changes if one is not None])
    return no_content()


def _ids(store: EntityStore, question: EntityQuery) -> list[str]:
    ids: list[str] = []
    matches = question.matches

    def collected(entity: Mapping[str, Any]) -> bool:
        if matches is None or matches(entity):
            ids.append(entity["id"])
        return False

    store.query(replace(question, matches=collected, limit=1))
    return ids


def _still(entity: Entity, question: EntityQuery) -> bool:
    """Whether it fits now that nobody else decides about it."""
    of_types = Selector(question.types).fits()
    return of_types(entity) and (question.matches is None or question.matches(entity))


def _decision(given: Parameters, context: Context) -> Decide:
    keep, drop = (projection.parse(given.get(name), context.expand, name) for name in ("keep", "drop"))
    if keep.names and drop.names:
        raise InvalidData("keep and drop contradict each other; send one of them", "bad_request")
    if keep.depth or drop.depth:
        raise InvalidData("a purge does not follow relationships; leave the braces out", "bad_request")
    if drop.names:
        return lambda entity: _without(entity, drop.names & entity["attrs"].keys(), "scope" in drop.names)
    if keep.names:
        return lambda entity: _without(entity, entity["attrs"].keys() - keep.names, False)
    return lambda entity: Change("delete", entity["id"])


def _without(entity: Entity, names: set[str] | frozenset[str], scope: bool) -> Change | None:
    goes = {"scope": None} if scope and entity.get("scope") else {}
    if not names and not goes:
        return None
    body = {"id": entity["id"], "attrs": dict.fromkeys(sorted(names)), **goes}
    return Change("merge", entity["id"], body, old=entity)
