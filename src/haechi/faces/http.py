"""What every HTTP face shares: JSON answers, errors as statuses, typed bodies. Used by the faces."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import orjson
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from haechi.core.errors import (
    Busy,
    Conflict,
    HaechiError,
    InvalidData,
    InvalidSettings,
    NotFound,
    NotSupported,
    Refused,
    Unavailable,
)
from haechi.services.users.accounts import Person

PERSON = "haechi.person"  # key in the ASGI scope: who is asking, set by `guard.Guard`
MAX_BODY = 1 << 20
STATUSES: Mapping[type[HaechiError], int] = {
    Busy: 429,
    InvalidData: 400,
    InvalidSettings: 500,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    NotSupported: 501,
    Unavailable: 503,
}
Endpoint = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of that name, in lower case as ASGI has them; what each request asks for goes without more."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """All of that name."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The body as JSON; numpy arrays are lists, NaN is null."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, dict(headers or {}), "application/json")


def status_of(error: HaechiError) -> int:
    """The HTTP status of an error of the tree; the nearest class counts."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def error_response(error: HaechiError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": class, "detail": what to do}`; 429 says in Retry-After how long to wait."""
    if isinstance(error, Busy):
        headers = {"Retry-After": str(error.retry_after_s), **(headers or {})}
    body = {"error": type(error).__name__, "detail": str(error)}
    return json_response(body, status or status_of(error), headers)


def answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint with errors of the tree turned into answers. Bugs pass through and become a logged 500."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HaechiError as error:
            return error_response(error)

    return answer


def person_of(connection: HTTPConnection) -> Person:
    """Who is asking; the guard let nobody in without."""
    person = connection.scope[PERSON]
    assert isinstance(person, Person)
    return person


def require(connection: HTTPConnection, role: str) -> Person:
    """Who is asking, when the role suffices; `Refused` names the role that is missing."""
    person = person_of(connection)
    if not person.may(role):
        raise Refused(f"this needs the role {role}, {person.user} is {person.role}; ask an administrator for it")
    return person


async def body_of(request: Request, shape: type[T]) -> T:
    """The JSON body as that msgspec struct; `InvalidData` names the field that is wrong. An empty body is `{}`."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise InvalidData(f"the body is larger than {MAX_BODY} bytes; send less at once", "too_large")
    try:
        return msgspec.json.decode(bytes(content) or b"{}", type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidData(f"the body is not what this path takes: {error}", "bad_body") from error


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query, `default` when absent; `InvalidData` outside `low` to `high`."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
        raise InvalidData(f"{name}={text!r}: give a whole number from {low} to {high}", "bad_query")
    return int(text)


def one_of(request: Request, name: str, default: str, options: tuple[str, ...]) -> str:
    """A word from the query; `InvalidData` names the options."""
    text = request.query_params.get(name, default)
    if text not in options:
        raise InvalidData(f"{name}={text!r}: give one of {', '.join(options)}", "bad_query")
    return text
