"""POST /entityOperations/query (clauses 5.2.23, 6.23.3.1): the same queries with their parameters in a body."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import InvalidData
from haechi.faces.ngsi_ld.entities import answered
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.queries import Selector, selector
from haechi.faces.ngsi_ld.requests import Parameters, parameters
from haechi.services.ngsi_ld.names import Context

_TEXTS = ("q", "csf", "scopeQ", "lang", "join", "geometryProperty")
_LISTS = ("attrs", "pick", "omit", "datasetId", "expandValues", "jsonKeys", "containedBy")
_GEO = {"georel": "georel", "geometry": "geometry", "coordinates": "coordinates", "geoproperty": "geoproperty"}
_ORDER = {"orderBy": "orderBy", "collation": "collation", "geometry": "orderGeometry", "coordinates": "orderFrom"}
_ELSE = frozenset({"type", "entities", "geoQ", "ordering", "orderingParams", "joinLevel", "splitEntities"})
_KNOWN = _ELSE | {*_TEXTS, *_LISTS}


async def query(face: Face, request: Request) -> Response:
    """Answers as GET /entities does."""
    given = parameters(request, "limit offset count")
    body, context = await face.body(request)
    asked, selectors = read(body, context)
    return await answered(face, request, Parameters({**asked, **given.given}, given.options), (context, selectors))


def read(body: Any, context: Context) -> tuple[dict[str, str], Sequence[Selector]]:
    """The parameters that a Query (clause 5.2.23) stands for, and its selectors; `InvalidData` names the member."""
    if not isinstance(body, dict) or body.get("type") != "Query":
        raise InvalidData('a query is a JSON object with "type": "Query"; send one', "bad_request")
    if unknown := sorted(body.keys() - _KNOWN):
        raise InvalidData(f"a query has no {unknown[0]!r} here; it has {', '.join(sorted(_KNOWN))}", "bad_request")
    given = {name: _text(body[name], name) for name in _TEXTS if name in body}
    given |= {name: ",".join(_texts(body[name], name)) for name in _LISTS if name in body}
    if "joinLevel" in body:
        given["joinLevel"] = str(_level(body["joinLevel"]))
    if body.get("geoQ") == {}:
        raise InvalidData("geoQ is empty; give georel, geometry and coordinates, or leave it out", "bad_request")
    if "geoQ" in body:
        given |= _renamed(body["geoQ"], _GEO, "geoQ", {"coordinates": _coordinates})
    for name in ("ordering", "orderingParams"):
        if name in body:
            given |= _renamed(body[name], _ORDER, name, {"orderBy": _names, "coordinates": _array})
    selectors = _selectors(body["entities"], context) if "entities" in body else [Selector()]
    if "entities" in body:
        given["type"] = "|".join(str(one["type"]) for one in body["entities"])
    return given, selectors


def _selectors(given: Any, context: Context) -> list[Selector]:
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise InvalidData("entities is a list of selectors, at least one: {type, id, idPattern}", "bad_request")
    return [_selector(one, context) for one in given]


def _selector(one: Mapping[str, Any], context: Context) -> Selector:
    """Clause 5.2.33: the type is needed; an id goes before a pattern."""
    if unknown := sorted(one.keys() - {"id", "idPattern", "type"}):
        raise InvalidData(f"a selector has no {unknown[0]!r}; it has id, idPattern and type", "bad_request")
    ids = _texts(one["id"], "id") if "id" in one else ()
    pattern = _text(one["idPattern"], "idPattern") if "idPattern" in one and not ids else None
    return selector(_text(one.get("type"), "type of a selector"), ids, pattern, context)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidData(f"{name} must be a text, not {str(value)[:40]!r}", "bad_request")
    return value


def _texts(value: object, name: str) -> list[str]:
    many = value if isinstance(value, list) else [value]
    if not many:
        raise InvalidData(f"{name} is an empty list; name something, or leave it out", "bad_request")
    return [_text(one, name) for one in many]


def _names(value: object, name: str) -> str:
    return ",".join(_texts(value, name))


def _level(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidData(f"joinLevel must be a whole number from 1, not {str(value)[:40]!r}", "bad_request")
    return value


def _coordinates(value: object, name: str) -> str:
    """The array, or a text that holds it."""
    return value if isinstance(value, str) else _array(value, name)


def _array(value: object, name: str) -> str:
    if not isinstance(value, list):
        raise InvalidData(f"{name} must be an array such as [126.7,37.6], not {str(value)[:40]!r}", "bad_request")
    return orjson.dumps(value).decode()


def _renamed(
    given: Any, names: Mapping[str, str], member: str, readers: Mapping[str, Callable[[object, str], str]]
) -> dict[str, str]:
    if not isinstance(given, dict):
        raise InvalidData(f"{member} is an object; see clause 5.2.13 or 5.2.43", "bad_request")
    if unknown := sorted(given.keys() - names.keys()):
        raise InvalidData(f"{member} has no {unknown[0]!r}; it has {', '.join(sorted(names))}", "bad_request")
    return {names[name]: readers.get(name, _text)(value, name) for name, value in given.items()}
