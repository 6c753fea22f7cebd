"""How many may be inside at once: requests of all faces (`Bounded`, around everything) and writes (`Gate`). For `app`.

Whoever comes on top is told to come back, at once: what waits inside costs memory and is late for everybody.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from haechi.core.errors import Busy
from haechi.faces.http import error_response

REQUESTS = 256  # under way at once, over all faces
RETRY_AFTER_S = 2
P = ParamSpec("P")
T = TypeVar("T")


class Gate(Generic[P, T]):
    """A call that at most `most` make at once; `Busy` to the others, and to all while `closed` says why."""

    def __init__(self, call: Callable[P, Awaitable[T]], most: int, closed: Callable[[], str] = str) -> None:
        self._call, self._most, self._closed = call, most, closed
        self.inside = 0

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._entered():
            return await self._call(*args, **kwargs)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        if why := self._closed():
            raise Busy(why, RETRY_AFTER_S)
        if self.inside >= self._most:
            raise Busy(f"{self._most} writes wait for the log; nothing was stored, send it again later", RETRY_AFTER_S)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


class Bounded:
    """ASGI: 429 with Retry-After beyond so many HTTP requests under way. Web sockets have a bound of their own."""

    def __init__(self, app: ASGIApp, most: int = REQUESTS) -> None:
        self._app, self._most = app, most
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self.inside >= self._most:
            busy = Busy("too many requests at once; ask again in a moment", RETRY_AFTER_S)
            await error_response(busy)(scope, receive, send)
            return
        self.inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.inside -= 1
