"""/temporal/entities and /temporal/entityOperations/query, what reads them (clauses 5.7.3, 5.7.4)."""

from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import InvalidData, NotFound
from haechi.core.instances import TYPE
from haechi.core.times import to_us
from haechi.core.urn import type_of
from haechi.faces.ngsi_ld import entity_maps, posted, queries
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import Parameters, answer_type, parameters
from haechi.faces.ngsi_ld.temporal import uri_of
from haechi.faces.ngsi_ld.views import view_of
from haechi.ports import EntityQuery, EvolutionQuery
from haechi.services.ngsi_ld import q, temporal
from haechi.services.ngsi_ld.entity_maps import LARGEST, EntityMap, lifetime_s
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.temporal_answers import Answer, Answers, Asked
from haechi.services.ngsi_ld.temporal_search import Search, tests_of

FORMS = frozenset({"temporalValues", "aggregatedValues"})
_TIME = "timerel timeAt endTimeAt timeproperty lastN aggrMethods aggrPeriodDuration datasetId attrs pick omit lang"
_FILTERS = "type id idPattern q csf scopeQ expandValues georel geometry coordinates geoproperty"
_QUERY = f"{_TIME} {_FILTERS} orderBy limit offset count"
_TEMPORAL = frozenset({"temporalQ", "aggrParams"})
_SYSTEM = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "deletedAt"})


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /temporal/entities/{id} (5.7.3)."""
    given, context = parameters(request, f"{_TIME} {entity_maps.PARAMETERS}", FORMS), await face.context(request)
    asked = asked_of(given, context)
    uri_of(id)
    entity = await face.entity(id)
    there = await _gone(face, id) if entity is None else entity
    answer = await face.ask(_answers(face).of, [there], asked)
    if not answer.has_instances:
        await _explain_nothing(face, id, asked, context)
    headers = [(entity_maps.HEADER, _address(_map_of(face, [id], given)))] if given.flag("entityMap") else []
    return _shown(face, request, answer, context, single=True, headers=headers)


async def _gone(face: Face, id: str) -> dict[str, Any]:
    """What is known of an entity that is no more."""
    said = await face.ask(face.history.said, [id])
    types = [
        text
        for text, act in zip(*(said.column(name).to_pylist() for name in ("text", "act")), strict=True)
        if act == TYPE
    ]
    return {"id": id, "type": orjson.loads(types[-1]) if types else [type_of(id) or "Thing"]}


async def _explain_nothing(face: Face, id: str, asked: Asked, context: Context) -> None:
    """Raises `NotFound` unless it is the time asked about that has nothing."""
    any_of = EvolutionQuery((id,), asked.attributes, limit=1)
    if (await face.ask(face.history.evolution, any_of)).num_rows:
        return
    if asked.time.by == "deleted_at" and (await face.ask(face.history.said, [id])).num_rows:
        return
    names = ", ".join(map(context.compact, asked.attributes))
    what = f"of {names} of {id}; leave that choice out to see what it has" if names else f"of {id}"
    raise NotFound(f"there is no temporal evolution {what}")


async def query(face: Face, request: Request) -> Response:
    """GET /temporal/entities (5.7.4)."""
    given, context = parameters(request, f"{_QUERY} {entity_maps.PARAMETERS}", FORMS), await face.context(request)
    _check_width(given)
    return await _query(face, request, given, context, [_question(queries.selector_of(given, context))])


async def create_map(face: Face, request: Request) -> Response:
    """GET /temporal/entityMaps (5.14.5): 201 with the map of a temporal query."""
    given, context = parameters(request, f"{_QUERY} {entity_maps.PARAMETERS}", FORMS), await face.context(request)
    _check_width(given)
    selectors = [_question(queries.selector_of(given, context))]
    search, _ = search_of(face, given, context)
    return entity_maps.answer_with(face, request, await _made(face, given, search, selectors))


async def query_by_post(face: Face, request: Request) -> Response:
    """POST /temporal/entityOperations/query (5.7.4, 6.24): the same with a Query (clause 5.2.23) as body."""
    beside = parameters(request, f"limit offset count {entity_maps.PARAMETERS}", FORMS)
    body, context = await face.body(request)
    asked, selectors = posted_from(body, context)
    given = Parameters({**asked, **beside.given}, beside.options)
    return await _query(face, request, given, context, selectors)


def posted_from(body: Any, context: Context) -> tuple[dict[str, str], list[EntityQuery]]:
    """The parameters that a Query with a temporalQ stands for, and what it selects."""
    members = body if isinstance(body, dict) else {}
    rest = {name: one for name, one in members.items() if name not in _TEMPORAL} if members else body
    asked, selectors = posted.read(rest, context)
    given = {**asked, **temporal.flat(members)}
    _check_width(Parameters(given, frozenset()))
    return given, [_question(one) for one in selectors]


def _question(one: queries.Selector) -> EntityQuery:
    return EntityQuery(one.types, one.ids, one.pattern, matches=one.of_types)


async def _query(
    face: Face, request: Request, given: Parameters, context: Context, selectors: list[EntityQuery]
) -> Response:
    search, asked = search_of(face, given, context)
    mapped, status = await _followed(face, request, given, search, selectors)
    if mapped is not None:
        selectors = [narrowed for one in selectors if (narrowed := _among(one, mapped)) is not None]
    page, count = queries.page_of(given), queries.counted(given)
    entities, total = await face.ask(search.page, selectors, page, count, _by_id(given))
    more = len(entities) > page[0]
    shown = replace(
        asked, scoped={one["id"]: search.scoped[one["id"]] for one in entities if one["id"] in search.scoped}
    )
    answer = await face.ask(_answers(face).of, entities[: page[0]], shown)
    links = queries.page_links(request.url.path, given.given, page, more, answer_type(request))
    headers = [("Link", one) for one in links]
    if count:
        headers.append(("NGSILD-Results-Count", str(total)))
    if mapped is not None:
        headers.append((entity_maps.HEADER, _address(mapped)))
    response = _shown(face, request, answer, context, headers=headers)
    response.status_code = status or response.status_code
    return response


def search_of(face: Face, given: Parameters, context: Context) -> tuple[Search, Asked]:
    """What finds the entities of a temporal query, and what it asks of them."""
    asked = asked_of(given, context)
    if asked.time.timerel is None and not asked.time.named:
        raise InvalidData("a temporal query needs timerel and timeAt (clause 5.7.4); add them", "bad_request")
    expanded = frozenset(map(context.expand, given.names("expandValues")))
    tests = tests_of(given.get, context.expand, expanded)
    return Search(face.services.store, face.history, asked, tests), asked


async def _followed(
    face: Face, request: Request, given: Parameters, search: Search, selectors: list[EntityQuery]
) -> tuple[EntityMap | None, int]:
    """The map that a query follows, or makes (201): also where the one it names is no more (clause 5.7.4.4)."""
    named = request.headers.get(entity_maps.HEADER)
    if named is not None:
        with suppress(NotFound):
            return face.maps.get(unquote(named.rpartition("/")[2]), to_us(face.services.clock.now())), 0
    if named is None and not given.flag("entityMap"):
        return None, 0
    return await _made(face, given, search, selectors), 201


async def _made(face: Face, given: Parameters, search: Search, selectors: list[EntityQuery]) -> EntityMap:
    found, _ = await face.ask(search.page, selectors, (LARGEST, 0), False, _by_id(given))
    return _map_of(face, [one["id"] for one in found], given)


def _map_of(face: Face, ids: list[str], given: Parameters) -> EntityMap:
    return entity_maps.kept(face, ids, lifetime_s(given.get("entityMapLifetime")))


def _address(made: EntityMap) -> str:
    return entity_maps.PATH + made.id


def _among(one: EntityQuery, made: EntityMap) -> EntityQuery | None:
    """The same of entities of the map alone; None when that is none."""
    ids = tuple(id for id in made.entities if not one.ids or id in one.ids)
    return replace(one, ids=ids) if ids else None


def _answers(face: Face) -> Answers:
    return Answers(face.history, face.services.instances_most, to_us(face.services.clock.now()))


def _shown(
    face: Face,
    request: Request,
    answer: Answer,
    context: Context,
    *,
    single: bool = False,
    headers: list[tuple[str, str]] | None = None,
) -> Response:
    headers = headers or []
    if single and not answer.bodies[0]:
        raise NotFound("nothing is left of what pick and omit choose; ask for other members")
    if answer.content_range is not None:
        headers.append(("Content-Range", answer.content_range))
    response = face.answer(request, answer.bodies[0] if single else answer.bodies, context, headers)
    if answer.content_range is not None:
        response.status_code = 206
    return response


def asked_of(given: Parameters, context: Context) -> Asked:
    """What a request wants to know and to see."""
    for name in ("pick", "omit", "q", "attrs"):
        if "{" in (given.get(name) or ""):
            raise InvalidData(
                f"{name} of linked entities is not for temporal queries; leave the braces out", "bad_request"
            )
    time = temporal.parse(given.get)
    form = _form(given, time)
    plain = Parameters(given.given, given.options - FORMS - {"simplified", "keyValues"})
    view = view_of(plain, context)
    datasets = tuple("" if one == "@none" else uri_of(one) for one in given.names("datasetId"))
    if form == "aggregated" and not time.methods:
        raise InvalidData(f"aggregatedValues needs aggrMethods: {', '.join(temporal.METHODS)}", "bad_request")
    attributes = tuple(sorted(view.only - _CORE)) if view.only else ()
    return Asked(time, view, form, datasets, attributes, bare=bool(view.only) and not attributes)


_CORE = frozenset({"id", "type"})


def _form(given: Parameters, time: temporal.TemporalQuery) -> str:
    chosen = given.options & FORMS
    if len(chosen) > 1:
        raise InvalidData("temporalValues and aggregatedValues exclude each other; choose one", "bad_request")
    if "aggregatedValues" in chosen or (time.methods and not chosen):
        return "aggregated"
    return "simplified" if chosen or given.options & {"simplified", "keyValues"} else "normalized"


def _by_id(given: Parameters) -> str:
    """ "", "asc" or "desc": the only member that orders evolutions is id (clause 5.7.4.4)."""
    order = given.get("orderBy")
    if order is None:
        return ""
    name, _, direction = order.partition(";")
    if name != "id" or direction not in {"", "asc", "desc"}:
        raise InvalidData(
            f"orderBy={order[:40]!r}: temporal queries order by id, id;asc or id;desc only", "bad_request"
        )
    return direction or "asc"


def _check_width(given: Parameters) -> None:
    """Clause 5.7.4.4: a query names types, attributes, q or a place, or says that it stays here."""
    attrs = [one for one in given.names("attrs") if one not in _SYSTEM]
    if not (given.get("type") or attrs or given.get("q") or given.get("georel")) and not given.flag("local"):
        raise InvalidData("this asks for everything: name type, attrs, q or georel, or say local=true", "bad_request")
    if (csf := given.get("csf")) is not None:
        q.parse(csf, lambda name: name)  # of context sources; refused here even where there is none
