"""ASGI: what is asked below a path goes straight to one application. Joined by the api role.

What Starlette does around its routes costs a fifth of a small answer, and the first of them costs what the last does.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class Under:
    """HTTP requests below `path` to `app`, which sees `path` as its root; all others to `others`."""

    def __init__(self, path: str, app: ASGIApp, others: ASGIApp) -> None:
        self._path, self._below, self._app, self._others = path, path + "/", app, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._below):
            inner = {**scope, "root_path": scope.get("root_path", "") + self._path}
            await self._app(inner, receive, send)
        else:
            await self._others(scope, receive, send)
