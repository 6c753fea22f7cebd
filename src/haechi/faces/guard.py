"""The door of every HTTP face: who is asking, is it asked from our own pages, and headers that keep browsers strict.

`app.py` puts `SecurityHeaders` and `Guard` around all routes. What is not public answers 401 without a session, so a
route that somebody forgets to protect is protected.
"""

from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from haechi.core.errors import Refused
from haechi.faces.http import PERSON, error_response, header_of
from haechi.services.users.accounts import Person
from haechi.services.users.tokens import reaches

COOKIE = "haechi_session"
CSP = (
    "default-src 'self'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_RAW = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}  # ASGI: names in lower case
_RAW_PAIRS = list(_RAW.items())
_RAW_NO_STORE = [*_RAW_PAIRS, (b"cache-control", b"no-store")]
_LOG_IN = "log in first: POST /api/login, then send the cookie or Authorization: Bearer <token>"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SecurityHeaders:
    """Adds `HEADERS` to each answer, and `Cache-Control: no-store` where the answer does not say how to cache it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                rest = [one for one in message.get("headers", ()) if one[0] not in _RAW]
                cached = any(name == b"cache-control" for name, _ in rest)
                message["headers"] = rest + (_RAW_PAIRS if cached else _RAW_NO_STORE)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] in {"http", "websocket"} else send)


class Guard:
    """Lets in who has a session (cookie or Bearer token) and refuses requests a foreign page made with the cookie.

    `who` resolves a token. `is_public(method, path)` says what needs no login. `origins` are further origins allowed to
    use the cookie (`https://console.example`), for a proxy that changes the Host.
    """

    def __init__(
        self,
        app: ASGIApp,
        who: Callable[[str], Awaitable[Person | None]],
        is_public: Callable[[str, str], bool],
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._who = who
        self._is_public = is_public
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        foreign = self._foreign(scope)
        if foreign:
            await _answer(error_response(Refused(foreign)), scope, receive, send)
            return
        person = await self._who(_bearer(scope) or _cookie(scope) or "")
        if person is None and not self._is_public(scope.get("method", "GET"), scope["path"]):
            await _answer(error_response(Refused(_LOG_IN), 401, {"WWW-Authenticate": "Bearer"}), scope, receive, send)
            return
        if person is not None and not reaches(person, scope.get("method", ""), scope["path"]):
            refused = Refused(f"{person.user} is for {person.scope} alone; log in as a person for anything else")
            await _answer(error_response(refused), scope, receive, send)
            return
        scope[PERSON] = person
        await self._app(scope, receive, send)

    def _foreign(self, scope: Scope) -> str:
        """Why this request looks made by a foreign page; empty when it does not. The other half is SameSite=Strict.

        Clause: OWASP CSRF prevention, "verifying origin with standard headers".
        """
        if scope["type"] == "http" and scope["method"] in _SAFE:
            return ""
        origin = header_of(scope, b"origin")
        if origin is None:
            by_cookie = _bearer(scope) is None and _cookie(scope) is not None
            return "with the session cookie, send Origin; programs use Authorization: Bearer" if by_cookie else ""
        ours = origin in self._origins or urlsplit(origin).netloc.lower() == (header_of(scope, b"host") or "").lower()
        return "" if ours else f"pages of {origin} may not ask this; open the console at its own address"


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the connect event; the answer to it is an HTTP response instead of the upgrade
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    await response(scope, receive, send)


def _bearer(scope: Scope) -> str | None:
    scheme, _, token = (header_of(scope, b"authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _cookie(scope: Scope) -> str | None:
    try:
        found = SimpleCookie(header_of(scope, b"cookie") or "").get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def cookie_of(token: str, *, secure: bool) -> str:
    """Set-Cookie for a session; it lives as long as the browser, the server decides when the session ends."""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")


def no_cookie() -> str:
    """Set-Cookie that removes the session."""
    return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
