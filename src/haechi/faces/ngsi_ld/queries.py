"""Entity queries (clause 5.7.2): parameters to a question for the live model, pages and links. Used by /entities,
/entityOperations/query and purge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from haechi.core.attribute import name_from
from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.core.pattern import compile_pattern, matching
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import JSON, Parameters
from haechi.faces.ngsi_ld.views import PARAMETERS as SHOWN
from haechi.faces.ngsi_ld.views import join_of
from haechi.ports import EntityPage, EntityQuery, EntityStore
from haechi.services.ngsi_ld import geoq, ordering, projection, q, scopeq, typeq
from haechi.services.ngsi_ld.names import Context

MOST = 1000
DEFAULT_LIMIT = 20
QUICK = 101  # entities read without a thread of their own
_SYSTEM = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"})
_HEAD = frozenset({"id", "type", "scope"})
FILTERS = "type id idPattern q scopeQ expandValues georel geometry coordinates geoproperty attrs csf jsonKeys"
PARAMETERS = (
    f"{FILTERS} {SHOWN} limit offset count orderBy collation orderFrom orderGeometry geometryProperty splitEntities"
)
Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """Which entities by type, id and pattern of the id (clause 5.2.33); empty: all."""

    types: tuple[str, ...] = ()
    of_types: Test | None = None
    ids: tuple[str, ...] = ()
    pattern: str | None = None

    def fits(self) -> Test:
        """The same as a test."""
        named = None if self.pattern is None else compile_pattern(self.pattern)
        types, ids, of_types = frozenset(self.types), frozenset(self.ids), self.of_types

        def test(entity: Mapping[str, Any]) -> bool:
            return (
                (not types or not types.isdisjoint(entity["type"]))
                and (of_types is None or of_types(entity))
                and (not ids or entity["id"] in ids)
                and (named is None or named(entity["id"]))
            )

        return test


def selector_of(given: Parameters, context: Context) -> Selector:
    """Type, id and idPattern of a request."""
    return selector(given.get("type"), given.names("id"), given.get("idPattern"), context)


def selector(selection: str | None, ids: Sequence[str], pattern: str | None, context: Context) -> Selector:
    """`InvalidData` when a part of it is wrong."""
    types: tuple[str, ...] = ()
    of_types: Test | None = None
    if selection is not None and selection != "*":
        types, of_types = typeq.parse(selection, context.expand)
    for one in ids:
        if not is_uri(one):
            raise InvalidData(f"id={one!r} is no URI; entity ids are, such as urn:ngsi-ld:Building:17", "bad_request")
    if pattern is not None:
        matching(pattern, [])  # refused here even where the store has nothing to test
    return Selector(types, of_types, tuple(ids), pattern)


def question_of(given: Parameters, context: Context, selectors: Sequence[Selector], store: EntityStore) -> EntityQuery:
    """The question without its page. Several selectors: one of them fits; `store` knows linked entities."""
    _check_width(given, context)
    tests: list[Test] = []
    if (text := given.get("q")) is not None:
        expanded = frozenset(map(context.expand, given.names("expandValues")))
        tests.append(q.compile_q(text, context.expand, expanded, _linked(store)))
    if (scopes := given.get("scopeQ")) is not None:
        tests.append(scopeq.parse(scopes))
    if (sources := given.get("csf")) is not None:
        q.parse(sources, context.expand)  # it chooses among context sources, not among what is here
    geographical = geoq.parse(given.get, context.expand)
    if geographical is not None:
        tests.append(geographical[1])
    picked = projection.parse(given.get("pick"), context.expand, "pick").names
    attrs = frozenset(context.expand(name_from(one)) for one in given.names("attrs"))
    if wanted := attrs or (picked if _HEAD.isdisjoint(picked) else frozenset[str]()):
        tests.append(lambda entity: not wanted.isdisjoint(entity["attrs"]))
    chosen = _together(selectors)
    tests = [*([chosen.of_types] if chosen.of_types else []), *tests]
    box = geographical[0] if geographical else None
    return EntityQuery(chosen.types, chosen.ids, chosen.pattern, box, _joined(tests))


def _together(selectors: Sequence[Selector]) -> Selector:
    """One selector that finds what any of them does."""
    if len(selectors) == 1:
        return selectors[0]
    types = tuple(dict.fromkeys(name for one in selectors for name in one.types))
    ids = tuple(dict.fromkeys(id for one in selectors for id in one.ids))
    tests = [one.fits() for one in selectors]
    return Selector(
        types if all(one.types for one in selectors) else (),
        lambda entity: any(test(entity) for test in tests),
        ids if all(one.ids for one in selectors) else (),
    )


def _linked(store: EntityStore) -> Callable[[str], Entity | None]:
    """Entities that q reaches by relationships, each read once; asked in the thread of the query."""
    known: dict[str, Entity | None] = {}

    def load(id: str) -> Entity | None:
        if id not in known:
            body = store.load([id]).get(id)
            known[id] = None if body is None else orjson.loads(body)
        return known[id]

    return load


def _check_width(given: Parameters, context: Context) -> None:
    """Clause 5.7.2.4: a query names types, attributes, q or a place, or says that it stays here; it follows no more
    relationships than it joins."""
    if given.get("type") == "*" and given.get("local") == "false":
        raise InvalidData("type=* asks for everything here: leave local=false out", "bad_request")
    text = given.get("q")
    paths = [] if text is None else q.paths_of(q.parse(text, context.expand))
    join = join_of(given)
    if max((path.depth for path in paths), default=0) > (join.level if join.form else 0):
        raise InvalidData("q follows more links than joinLevel; say join=inline and how many", "bad_request")
    attrs = [one for one in given.names("attrs") if one not in _SYSTEM]
    named = attrs or any(path.names[0] not in _SYSTEM for path in paths)
    if not (named or given.get("type") or given.get("georel")) and not given.flag("local"):
        raise InvalidData("this asks for everything: name type, attrs, q or georel, or say local=true", "bad_request")


def _joined(tests: list[Test]) -> Test | None:
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda entity: all(test(entity) for test in tests)


async def page_found(face: Face, question: EntityQuery, orders: Sequence[ordering.Order]) -> EntityPage:
    """One page of the answer; `question` says limit, offset and whether to count."""
    if is_quick(question) and not orders and not face.distributed:
        return face.services.store.query(question)
    return await face.ask(found, face.services.store, question, orders)


def is_quick(question: EntityQuery) -> bool:
    """Whether the store answers from an index in less time than a thread would cost: the first entities of a type."""
    narrow = question.limit <= QUICK and question.offset <= QUICK and not question.count
    whole = question.matches is None and question.id_pattern is None and question.box is None
    return narrow and whole and len(question.types) < 2 and len(question.ids) <= QUICK


def found(store: EntityStore, question: EntityQuery, orders: Sequence[ordering.Order]) -> EntityPage:
    """The same, blocking."""
    if not orders:
        return store.query(question)
    ranks: list[tuple[tuple[ordering.Rank, ...], str]] = []
    matches = question.matches

    def collected(entity: Mapping[str, Any]) -> bool:
        if matches is None or matches(entity):
            ranks.append((tuple(order.rank(entity) for order in orders), entity["id"]))
        return False

    store.query(replace(question, matches=collected, limit=1, offset=0, count=False))
    ids = ordering.arranged(ranks, tuple(orders))[question.offset : question.offset + question.limit]
    bodies = store.load(ids)  # of a moment later: those deleted meanwhile are not shown
    return EntityPage([orjson.loads(bodies[id]) for id in ids if id in bodies], len(ranks) if question.count else None)


def counted(given: Parameters) -> bool:
    """Whether the client wants NGSILD-Results-Count (clause 6.3.13)."""
    return given.flag("count") or "count" in given.options


def page_of(given: Parameters) -> tuple[int, int]:
    """Limit and offset (clause 6.3.10)."""
    limit = given.number("limit", DEFAULT_LIMIT, 0, MOST)
    if limit == 0 and not counted(given):
        raise InvalidData("limit=0 asks for a count only: add count=true", "bad_request")
    return limit, given.number("offset", 0, 0, 10**9)


def page_links(path: str, given: Mapping[str, str], page: tuple[int, int], more: bool, media: str = JSON) -> list[str]:
    """Link headers to the next and previous page (clause 6.3.10), which come in the same media type."""
    limit, offset = page
    links = []
    if more and limit:
        links.append(f'<{_address(path, given, limit, offset + limit)}>; rel="next"{_typed(media)}')
    if offset > 0 and limit:
        links.append(f'<{_address(path, given, limit, max(offset - limit, 0))}>; rel="prev"{_typed(media)}')
    return links


def links_as(headers: Sequence[tuple[str, str]], media: str) -> list[tuple[str, str]]:
    """Headers of an answer in JSON as they are of one in another media type: its pages are of that type, too."""
    if media == JSON:
        return list(headers)
    plain = _typed(JSON)
    return [
        (name, value.removesuffix(plain) + _typed(media) if name == "Link" and value.endswith(plain) else value)
        for name, value in headers
    ]


def _typed(media: str) -> str:
    return f';type="{media}"'


def _address(path: str, given: Mapping[str, str], limit: int, offset: int) -> str:
    parameters = {**given, "limit": str(limit), "offset": str(offset)}
    text = "&".join(f"{_quoted(name)}={_quoted(parameters[name])}" for name in sorted(parameters))
    return f"{path.rstrip('/')}?{text}"


_PLAIN = ":/,;*()!$'@|~."  # what a query may hold as it is (RFC 3986, 3.4), and |


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe=_PLAIN)
