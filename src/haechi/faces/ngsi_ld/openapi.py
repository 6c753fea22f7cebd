"""What the NGSI-LD API can do, as OpenAPI 3.1 and as a page that needs no network: made from the table of resources.

Mounted by the api role at /docs.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from haechi.faces.ngsi_ld import entity_maps, queries
from haechi.faces.ngsi_ld.errors import BASE, problems
from haechi.faces.ngsi_ld.requests import JSON, LD, MERGE

ROOT = "/ngsi-ld/v1"
Table = Mapping[tuple[str, ...], Mapping[str, Callable[..., Awaitable[Response]]]]
_NAMES = {
    "entities": "entityId",
    "attrs": "attrId",
    "types": "type",
    "attributes": "attrId",
    "jsonldContexts": "contextId",
}
_QUERIES: Mapping[tuple[str, ...], str] = {
    ("entities",): f"{queries.PARAMETERS} {entity_maps.PARAMETERS}",
    ("entityMaps",): queries.PARAMETERS,
}
_HEADERS = {
    "NGSILD-Tenant": "The tenant; the city's own when it is missing (clause 6.3.14).",
    "Link": "The @context that names are written with (clause 6.3.5).",
}
_BODIES = {"POST": (JSON, LD), "PUT": (JSON, LD), "PATCH": (JSON, LD, MERGE)}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code{font-family:ui-monospace,monospace}li{margin:.4rem 0}b{display:inline-block;min-width:4.5rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#16181c}a{color:#8ab4f8}}"
)


def document(table: Table) -> dict[str, Any]:
    """The OpenAPI document."""
    paths = {}
    for pattern, methods in table.items():
        path, names = _path(pattern)
        paths[path] = {method.lower(): _operation(pattern, names, method, methods[method]) for method in methods}
    problem = {"type": "object", "properties": {name: {"type": "string"} for name in ("type", "title", "detail")}}
    problem["properties"]["status"] = {"type": "integer"}  # type: ignore[index]
    problem["properties"]["type"]["enum"] = [BASE + one for one in problems()]  # type: ignore[index]
    return {
        "openapi": "3.1.0",
        "info": {"title": "NGSI-LD API of this city", "version": "1.9.1", "summary": "ETSI GS CIM 009 V1.9.1"},
        "servers": [{"url": ROOT}],
        "paths": paths,
        "components": {"schemas": {"ProblemDetails": problem}, "securitySchemes": {"token": _BEARER}},
        "security": [{"token": []}],
    }


_BEARER = {"type": "http", "scheme": "bearer", "description": "A token of `haechi token`, or of POST /api/login."}


def _path(pattern: tuple[str, ...]) -> tuple[str, list[str]]:
    parts: list[str] = []
    names: list[str] = []
    for before, part in zip(("", *pattern), pattern, strict=False):
        if part == "*":
            names.append(_NAMES.get(before, "instanceId" if before == "*" else f"{before.removesuffix('s')}Id"))
        parts.append(f"{{{names[-1]}}}" if part == "*" else part)
    return "/" + "/".join(parts), names


def _operation(
    pattern: tuple[str, ...], names: list[str], method: str, resource: Callable[..., Awaitable[Response]]
) -> dict[str, Any]:
    summary = (inspect.getdoc(resource) or resource.__name__).partition("\n")[0]
    given = [{"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in names]
    asked = _QUERIES.get(pattern, "").split() if method == "GET" else []
    given += [{"name": one, "in": "query", "schema": {"type": "string"}} for one in asked]
    given += [
        {"name": one, "in": "header", "schema": {"type": "string"}, "description": text}
        for one, text in _HEADERS.items()
    ]
    found: dict[str, Any] = {
        "operationId": f"{resource.__module__.rpartition('.')[2]}_{resource.__name__}",
        "summary": summary,
        "tags": [pattern[0]],
        "parameters": given,
        "responses": {"2XX": {"description": "Done"}, "default": _PROBLEM},
    }
    if method in _BODIES:
        found["requestBody"] = {"required": True, "content": {one: {} for one in _BODIES[method]}}
    return found


_PROBLEM = {
    "description": "Not done; detail says what to do",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
}


def page(found: Mapping[str, Any]) -> str:
    """The document for people."""
    rows = [
        f"<li><b>{method.upper()}</b> <code>{escape(ROOT + path)}</code><br>{escape(operation['summary'])}</li>"
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(found['info']['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{escape(found['info']['title'])}</h1><p>{escape(found['info']['summary'])}. For programs: "
        f'<a href="/docs/openapi.json">openapi.json</a>.</p><ul>{"".join(rows)}</ul></html>'
    )


def routes(table: Table) -> list[BaseRoute]:
    """/docs and /docs/openapi.json."""
    found = document(table)
    body, html = orjson.dumps(found), page(found)

    async def as_json(request: Request) -> Response:
        return Response(body, media_type=JSON)

    async def as_page(request: Request) -> Response:
        return HTMLResponse(html)

    return [Route("/docs", as_page), Route("/docs/openapi.json", as_json)]
