"""Requests whose body can be read more than once, or is another than the client's. Used by all that writes here."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request

from haechi.core.errors import InvalidData
from haechi.faces.ngsi_ld.requests import LARGEST


async def kept(request: Request) -> Request:
    """The same request with its body read: `stream` and `body` give it as often as they are asked."""
    if "content-length" not in request.headers:
        return request
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST:
            raise InvalidData(f"the body is larger than {LARGEST} bytes; send it in several parts", "too_large")
    return await _with_body(request, bytes(content))


async def inner_request(request: Request, body: Any) -> Request:
    """The same request with another body: what is left of it for this broker."""
    return await _with_body(request, orjson.dumps(body))


async def with_query(request: Request, changed: Mapping[str, str]) -> Request:
    """The same request with some query parameters of other values."""
    query = {**dict(request.query_params), **changed}
    made = await _with_body(request, await request.body() if "content-length" in request.headers else b"")
    made.scope["query_string"] = urlencode(query).encode()
    return made


async def _with_body(request: Request, content: bytes) -> Request:
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-length"]
    length = [(b"content-length", str(len(content)).encode())] if "content-length" in request.headers else []
    scope = {**request.scope, "headers": [*headers, *length]}
    scope.pop("state", None)
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # the client stays
        sent = True
        return {"type": "http.request", "body": content, "more_body": False}

    made = Request(scope, receive)
    await made.body()
    return made
