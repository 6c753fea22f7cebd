"""Logging in and out, who am I, and a new password. Routed by `routes.py`."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import Refused
from haechi.faces.console.services import ConsoleServices
from haechi.faces.guard import cookie_of, no_cookie
from haechi.faces.http import body_of, error_response, json_response, person_of
from haechi.services.users.accounts import Person


class _Login(msgspec.Struct):
    user: str
    password: str


class _Passwords(msgspec.Struct):
    old: str
    new: str


async def log_in(request: Request, services: ConsoleServices) -> Response:
    """`{user, role, name, token}` and the cookie; 401 when wrong, 429 when guessed too often."""
    body = await body_of(request, _Login)
    try:
        person, token = await services.accounts.login(body.user, body.password, address_of(request))
    except Refused as error:
        return error_response(error, 401)
    headers = {"Set-Cookie": cookie_of(token, secure=request.url.scheme == "https")}
    return json_response({**_shown(person), "token": token}, headers=headers)


async def log_out(request: Request, services: ConsoleServices) -> Response:
    """Ends this session."""
    await services.accounts.logout(person_of(request).session)
    return json_response({}, headers={"Set-Cookie": no_cookie()})


async def me(request: Request, services: ConsoleServices) -> Response:
    """Who is logged in."""
    return json_response(_shown(person_of(request)))


async def password(request: Request, services: ConsoleServices) -> Response:
    """`{old, new}`: changes the own password and ends all own sessions, this one included."""
    body = await body_of(request, _Passwords)
    await services.accounts.change_password(person_of(request).user, body.old, body.new, address_of(request))
    return json_response({}, headers={"Set-Cookie": no_cookie()})


def address_of(request: Request) -> str:
    """Where the request came from, for the throttle."""
    return request.client.host if request.client else "unknown"


def _shown(person: Person) -> dict[str, str]:
    return {"user": person.user, "role": person.role, "name": person.name}
