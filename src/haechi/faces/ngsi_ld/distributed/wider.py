"""The live model as it is when other sources are asked too (clauses 5.7.1, 5.7.2, 5.7.5 to 5.7.10): a face whose
questions reach them. Resources read through it and know nothing of it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from starlette.requests import Request

from haechi.core import attribute as attributes
from haechi.core.entity import Entity, Instance
from haechi.core.errors import HaechiError, InvalidData
from haechi.core.times import parse_iso, to_us
from haechi.faces.ngsi_ld import queries
from haechi.faces.ngsi_ld.distributed.asking import Answer, Ask, Asker, escaped
from haechi.faces.ngsi_ld.face import Face
from haechi.ports import EntityPage, EntityQuery, EntityShape
from haechi.services.ngsi_ld import geoq, q, typeq
from haechi.services.ngsi_ld.names import Context
from haechi.services.registrations.matching import Part, Wanted, kept
from haechi.services.registrations.merging import merged
from haechi.services.registrations.model import PLACES, Registration

T = TypeVar("T")
PAGE = 1000
PAGES = 10  # of one source at most
EVERY = 1_000_000
_FILTERS = ("q", "scopeQ", "georel", "geometry", "coordinates", "geoproperty", "expandValues")
_PROJECTED = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "expiresAt"})


class WiderFace(Face):
    """A face for one request; `asker` keeps the warnings."""

    distributed = True

    def __init__(self, face: Face, request: Request, context: Context, given: Mapping[str, str]) -> None:
        self.__dict__.update(face.__dict__)
        self._face, self._given = face, given
        self.asker = Asker(face, request, context)
        self.origins = self._heard = dict[str, list[str]]()

    # --- retrieval (5.7.1) ---

    async def entities(self, ids: Sequence[str]) -> dict[str, Entity]:
        """Those that exist here or elsewhere, each made of all its parts."""
        here = await self._face.entities(ids)
        found = await asyncio.gather(*(self._entity(id, here.get(id)) for id in ids))
        return {id: one for id, one in zip(ids, found, strict=True) if one is not None}

    async def entity(self, id: str) -> Entity | None:
        return (await self.entities([id])).get(id)

    async def _entity(self, id: str, here: Entity | None) -> Entity | None:
        wanted = Wanted((id,), attributes=self._wanted_attributes(), datasets=self._datasets())
        ways = ("retrieveEntity", "queryEntity", "queryBatch")
        asks = [
            self._retrieval(id, one, part)
            for one, part in self.asker.matching(ways, wanted, lambda one: not one.intervals)
        ]
        found = [] if here is None else [("local", here)]
        for answer in await self.asker.ask_all(asks):
            if answer.status == 200:
                many = answer.body if isinstance(answer.body, list) else [answer.body]
                found += await self._read(answer, many, lambda one: one["id"] == id)
        return merged(found) if found else None

    def _retrieval(self, id: str, one: Registration, part: Part) -> Ask:
        """A retrieval; a query for the id where the source takes only those."""
        if "retrieveEntity" not in one.operations:
            return self._query_ask(one, part, split=True, offset=0)
        query = [("options", "sysAttrs")]
        if part.attributes:
            query.insert(0, ("attrs", self._names(part.attributes)))
        return Ask(one, "GET", f"/entities/{escaped(id)}", query)

    # --- queries (5.7.2) ---

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """A question to the live model; those of entities and of types go to others too."""
        store: Any = self._face.services.store
        if question == queries.found:
            return await self._query(*arguments[1:])  # type: ignore[return-value]
        if question == store.query:
            return await self._query(arguments[0], ())  # type: ignore[return-value]
        if question == store.shapes:
            return await self._shapes()  # type: ignore[return-value]
        return await self._face.ask(question, *arguments)

    async def _query(self, query: EntityQuery, orders: Sequence[Any]) -> EntityPage:
        wanted = Wanted(
            query.ids, query.types, query.id_pattern, self._wanted_attributes() & self._asked(), self._datasets()
        )
        targets = self.asker.matching(("queryEntity", "queryBatch"), wanted, self._test())
        if not targets:
            return await self._face.ask(queries.found, self._face.services.store, query, orders)
        if orders:
            raise InvalidData("orderBy needs local=true: what other sources have is not ordered", "bad_request")
        split = self._given.get("splitEntities") == "true"
        answers = await asyncio.gather(*(self._pages(one, part, split) for one, part in targets))
        elsewhere: dict[str, list[tuple[str, Entity]]] = {}
        for mode, entity in (one for many in answers for one in many):
            if (not query.ids or entity["id"] in query.ids) and not _over(entity, self._now()):
                elsewhere.setdefault(entity["id"], []).append((mode, entity))
        return await (self._aggregated if split else self._united)(query, elsewhere)

    def _asked(self) -> frozenset[str]:
        """Attributes an entity needs one of to match: `attrs`, not what is only shown."""
        return frozenset(map(self.asker.context.expand, _listed(self._given.get("attrs"))))

    async def _united(self, query: EntityQuery, elsewhere: Mapping[str, list[tuple[str, Entity]]]) -> EntityPage:
        """What each has that matches, one after the other: ours by creation, then theirs."""
        store, all_ids = self._face.services.store, tuple(elsewhere)
        own = await self._face.ask(store.query, replace(query, count=True))
        twice = {one["id"] for one in own.entities} & set(all_ids)
        if all_ids:
            among = replace(query, ids=all_ids, offset=0, limit=len(all_ids), count=False)
            both = (await self._face.ask(store.query, among)).entities if not query.ids else own.entities
            twice |= {one["id"] for one in both}
        others = [id for id in all_ids if id not in twice]
        total = own.total or 0
        page = [merged([("local", one), *elsewhere.get(one["id"], ())]) for one in own.entities]
        start = max(0, query.offset - total)
        page += [merged(elsewhere[id]) for id in others[start : start + max(0, query.limit - len(page))]]
        return EntityPage(page, total + len(others) if query.count else None)

    async def _aggregated(self, query: EntityQuery, elsewhere: Mapping[str, list[tuple[str, Entity]]]) -> EntityPage:
        """Split entities: put together first, tested then."""
        everything = replace(query, matches=None, box=None, limit=EVERY, offset=0, count=False)
        own = (await self._face.ask(self._face.services.store.query, everything)).entities
        found = [merged([("local", one), *elsewhere.get(one["id"], ())]) for one in own]
        known = {one["id"] for one in own}
        found += [merged(many) for id, many in elsewhere.items() if id not in known]
        matching = [one for one in found if query.matches is None or query.matches(one)]
        page = matching[query.offset : query.offset + query.limit]
        return EntityPage(page, len(matching) if query.count else None)

    async def _pages(self, one: Registration, part: Part, split: bool) -> list[tuple[str, Entity]]:
        """All of a source's answer, page by page."""
        found: list[tuple[str, Entity]] = []
        for page in range(PAGES):
            answer = await self.asker.ask(self._query_ask(one, part, split, page * PAGE))
            if answer.status != 200:
                break
            documents = answer.body
            found += await self._read(answer, documents, lambda _: True)
            if not isinstance(documents, list) or len(documents) < PAGE:
                break
        return found

    def _query_ask(self, one: Registration, part: Part, split: bool, offset: int) -> Ask:
        query: dict[str, str] = {}
        if types := self._types(part):
            query["type"] = types
        if part.ids:
            query["id"] = ",".join(part.ids)
        if part.pattern is not None:
            query["idPattern"] = part.pattern
        if part.attributes:
            query["attrs"] = self._names(part.attributes)
        if not split:
            query |= {name: self._given[name] for name in _FILTERS if name in self._given}
        query |= {"options": "sysAttrs", "limit": str(PAGE)} | ({"offset": str(offset)} if offset else {})
        if "queryEntity" in one.operations:
            return Ask(one, "GET", "/entities", list(query.items()))
        return Ask(one, "POST", "/entityOperations/query", _page_parameters(query), _query_body(query))

    def _types(self, part: Part) -> str:
        """The client's selection, narrowed to the types that the source has."""
        selection = self._given.get("type")
        if selection is not None and (";" in selection or "(" in selection):
            return selection
        return ",".join(map(self.asker.context.compact, part.types)) or (selection or "")

    def _test(self) -> Callable[[Registration], bool]:
        """csf, and where the source has something: a geo-query that cannot meet it is not forwarded."""
        context = self.asker.context
        csf = self._given.get("csf")
        of_source = None if csf is None else q.compile_q(csf, context.expand, frozenset())
        place = self._given.get("geoproperty") or "location"
        near = None if place not in PLACES else _meeting(self._given, context)

        def test(one: Registration) -> bool:
            if one.intervals or (of_source is not None and not of_source(one.entity)):
                return False
            return near is None or place not in one.entity["attrs"] or near(one.entity)

        return test

    def _wanted_attributes(self) -> frozenset[str]:
        """Attributes that can be in the answer; empty: any."""
        names = [
            *_listed(self._given.get("attrs")),
            *_listed((self._given.get("pick") or "").replace("|", ",") or None),
        ]
        if any("{" in one or "}" in one for one in names) or self._given.get("join") not in (None, "@none"):
            return frozenset()
        return frozenset(self.asker.context.expand(one) for one in names if one not in _PROJECTED)

    def _datasets(self) -> frozenset[str]:
        return frozenset(_listed(self._given.get("datasetId")))

    def _names(self, names: Iterable[str]) -> str:
        return ",".join(sorted(map(self.asker.context.compact, names)))

    def _now(self) -> int:
        return to_us(self._face.services.clock.now())

    # --- answers ---

    async def _read(self, answer: Answer, documents: Any, fits: Callable[[Entity], bool]) -> list[tuple[str, Entity]]:
        """Entities of a source's answer, what its registration says of them; an answer that is none is a warning."""
        if not isinstance(documents, list):
            self.asker.warn(replace(answer, sound=False, reason="its answer is no list of entities"))
            return []
        found = []
        for document in documents:
            try:
                entity = await self._parsed(document)
            except HaechiError as error:
                self.asker.warn(replace(answer, sound=False, reason=f"its answer is no entity: {error}"))
                return []
            narrowed = kept(answer.registration, entity) if fits(entity) else None
            if narrowed is not None and not _over(narrowed, self._now()):
                found.append((answer.registration.mode, narrowed))
                heard = self._heard.setdefault(narrowed["id"], [])
                heard += [answer.registration.id] if answer.registration.id not in heard else []
        return found

    async def _parsed(self, document: Any) -> Entity:
        if not isinstance(document, dict):
            raise InvalidData("an entity is a JSON object", "bad_request")
        context = self.asker.context
        if "@context" in document:
            context = await self._face.services.contexts.resolve(document["@context"])
        return stored_from(document, context)

    # --- types and attributes (5.7.5 to 5.7.10) ---

    async def _shapes(self) -> Sequence[EntityShape]:
        """What kinds of entities there are, others' included. Counts of attributes are the whole type's."""
        own = list(await self._face.ask(self._face.services.store.shapes))
        targets = {
            one.id: one for one, _ in self.asker.matching(("retrieveEntityTypes", "retrieveEntityTypeInfo"), Wanted())
        }
        answers = await asyncio.gather(*(self._source_shapes(one) for one in targets.values()))
        return own + [shape for many in answers for shape in many]

    async def _source_shapes(self, one: Registration) -> list[EntityShape]:
        query = [("details", "true")] if "retrieveEntityTypeDetails" in one.operations else []
        answer = await self.asker.ask(Ask(one, "GET", "/types", query))
        if answer.status != 200:
            return []
        try:
            names = _type_names(answer.body)
        except (KeyError, TypeError):
            self.asker.warn(replace(answer, sound=False, reason="its answer is no list of types"))
            return []
        found = []
        for name, listed in names.items():
            info = None
            if "retrieveEntityTypeInfo" in one.operations:
                told = await self.asker.ask(Ask(one, "GET", f"/types/{escaped(name)}"))
                info = told.body if told.status == 200 and isinstance(told.body, dict) else None
            found.append(self._shape(name, listed, info))
        return found

    def _shape(self, name: str, listed: Sequence[str], info: Mapping[str, Any] | None) -> EntityShape:
        expand = self.asker.context.expand
        details = [] if info is None else info.get("attributeDetails") or []
        kinds = {expand(one["attributeName"]): next(iter(one.get("attributeTypes") or ["Property"])) for one in details}
        for attribute in listed:
            kinds.setdefault(expand(attribute), "Property")
        count = 0 if info is None else info.get("entityCount", 0)
        return EntityShape((expand(name),), kinds, count if isinstance(count, int) else 0)


def _type_names(body: Any) -> dict[str, Sequence[str]]:
    if isinstance(body, dict):
        return {str(one): () for one in body["typeList"]}
    return {str(one["typeName"]): [str(name) for name in one.get("attributeNames", ())] for one in body}


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [one.strip() for one in text.split(",") if one.strip()]


def _meeting(given: Mapping[str, str], context: Context) -> Callable[[Mapping[str, Any]], bool] | None:
    """Whether a place can hold an answer to the geo-query; None: it can wherever it is."""
    relation = given.get("georel")
    if relation is None or relation == "disjoint" or "minDistance" in relation:
        return None
    asked = dict(given) if relation.startswith("near") else {**given, "georel": "intersects"}
    parsed = geoq.parse(asked.get, context.expand)
    return None if parsed is None else parsed[1]


def _page_parameters(query: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, query[name]) for name in ("options", "limit", "offset") if name in query]


def _query_body(query: Mapping[str, str]) -> dict[str, Any]:
    """The same query as the body of a query by POST (5.2.23)."""
    types = query.get("type", "")
    selectors: list[dict[str, str]] = []
    for id in query["id"].split(",") if "id" in query else [""]:
        selector = {"type": types} if types else {}
        selector |= {"id": id} if id else {}
        selector |= {"idPattern": query["idPattern"]} if "idPattern" in query else {}
        selectors += [selector] if selector else []
    body: dict[str, Any] = {"type": "Query"}
    if selectors:
        body["entities"] = selectors
    if "attrs" in query:
        body["attrs"] = query["attrs"].split(",")
    body |= {name: query[name] for name in ("q", "scopeQ") if name in query}
    if "georel" in query:
        place: dict[str, Any] = {name: query[name] for name in ("georel", "geometry", "geoproperty") if name in query}
        body["geoQ"] = {**place, "coordinates": orjson.loads(query["coordinates"])}
    return body


def stored_from(document: Mapping[str, Any], context: Context) -> Entity:
    """The stored entity of a normalized document, with the instants its source says."""
    plain = _without_expiry(document)
    entity = attributes.entity_from(plain, context.expand)
    for name in ("createdAt", "modifiedAt", "expiresAt"):
        if (at := _instant(document.get(name))) is not None:
            entity[name] = at
    for term, given in document.items():
        instances = entity["attrs"].get(context.expand(term)) if term not in _PROJECTED else None
        if instances is not None:
            _stamp(instances, given if isinstance(given, list) else [given])
    return entity


def _without_expiry(document: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in document.items() if name not in {"@context", "expiresAt", "deletedAt"}}
    return deepcopy(plain)


def _stamp(instances: Sequence[Instance], given: Sequence[Any]) -> None:
    if len(instances) != len(given):
        return
    for instance, one in zip(instances, given, strict=True):
        if isinstance(one, dict):
            for name in ("createdAt", "modifiedAt"):
                if (at := _instant(one.get(name))) is not None:
                    instance[name] = at


def _instant(value: object) -> int | None:
    try:
        return parse_iso(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _over(entity: Mapping[str, Any], now: int) -> bool:
    """Whether a transient entity is gone by now (clause 4.22)."""
    return bool(entity.get("expiresAt", now + 1) <= now)


def types_of(selection: str | None, context: Context) -> tuple[str, ...]:
    """Types of a selection in internal names; empty: any."""
    return () if selection in (None, "", "*") else typeq.parse(str(selection), context.expand)[0]
