"""Entity queries (clause 5.7.2): parameters to a question for the live model, pages and links. Used by /entities."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from haechi.core.errors import InvalidData
from haechi.core.pattern import matching
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.ports import EntityQuery
from haechi.services.ngsi_ld import geoq, q, scopeq, typeq
from haechi.services.ngsi_ld.names import Context

MOST = 1000
DEFAULT_LIMIT = 20
_SYSTEM = frozenset({"id", "type", "scope", "createdAt", "modifiedAt"})
PARAMETERS = (
    "type id idPattern q scopeQ expandValues georel geometry coordinates geoproperty attrs pick omit limit offset count"
)
Test = Callable[[Mapping[str, Any]], bool]


def query_of(given: Parameters, context: Context) -> EntityQuery:
    """The question; `limit` is one more than the client's so that the page knows whether another follows."""
    _check_width(given)
    tests: list[Test] = []
    types: tuple[str, ...] = ()
    if (selection := given.get("type")) is not None and selection != "*":
        types, of_types = typeq.parse(selection, context.expand)
        tests += [of_types] if of_types else []
    if (text := given.get("q")) is not None:
        expanded = frozenset(map(context.expand, given.names("expandValues")))
        tests.append(q.compile_q(text, context.expand, expanded))
    if (scopes := given.get("scopeQ")) is not None:
        tests.append(scopeq.parse(scopes))
    geographical = geoq.parse(given.get, context.expand)
    if geographical is not None:
        tests.append(geographical[1])
    if attrs := given.names("attrs"):
        wanted = frozenset(map(context.expand, attrs))
        tests.append(lambda entity: not wanted.isdisjoint(entity["attrs"]))
    if (pattern := given.get("idPattern")) is not None:
        matching(pattern, [])  # refused here even where the store has nothing to test
    limit, offset = page_of(given)
    return EntityQuery(
        types,
        _ids(given),
        pattern,
        geographical[0] if geographical else None,
        _joined(tests),
        limit + 1 if limit else 0,
        offset,
        counted(given),
    )


def _check_width(given: Parameters) -> None:
    """Clause 5.7.2.4: a query names types, attributes, q or a place, or says that it stays here."""
    if given.get("type") == "*" and given.get("local") == "false":
        raise InvalidData("type=* asks for everything here: leave local=false out", "bad_request")
    attrs = [one for one in given.names("attrs") if one not in _SYSTEM]
    if not (given.get("type") or attrs or given.get("q") or given.get("georel")) and not given.flag("local"):
        raise InvalidData("this asks for everything: name type, attrs, q or georel, or say local=true", "bad_request")


def _ids(given: Parameters) -> tuple[str, ...]:
    ids = given.names("id")
    for one in ids:
        if not is_uri(one):
            raise InvalidData(f"id={one!r} is no URI; entity ids are, such as urn:ngsi-ld:Building:17", "bad_request")
    return ids


def _joined(tests: list[Test]) -> Test | None:
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda entity: all(test(entity) for test in tests)


def counted(given: Parameters) -> bool:
    """Whether the client wants NGSILD-Results-Count (clause 6.3.13)."""
    return given.flag("count") or "count" in given.options


def page_of(given: Parameters) -> tuple[int, int]:
    """Limit and offset (clause 6.3.10)."""
    limit = given.number("limit", DEFAULT_LIMIT, 0, MOST)
    if limit == 0 and not counted(given):
        raise InvalidData("limit=0 asks for a count only: add count=true", "bad_request")
    return limit, given.number("offset", 0, 0, 10**9)


def page_links(path: str, given: Mapping[str, str], page: tuple[int, int], more: bool) -> list[str]:
    """Link headers to the next and previous page (clause 6.3.10)."""
    limit, offset = page
    others = "&".join(
        f"{quote(name)}={quote(value, safe=',')}" for name, value in given.items() if name not in {"limit", "offset"}
    )
    base = f"{path}?{others}{'&' if others else ''}limit={limit}"
    links = []
    if more and limit:
        links.append(f'<{base}&offset={offset + limit}>; rel="next"; type="application/json"')
    if offset > 0 and limit:
        links.append(f'<{base}&offset={max(offset - limit, 0)}>; rel="prev"; type="application/json"')
    return links
