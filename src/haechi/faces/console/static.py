"""Serves the console's own files from `ui/`, where the build puts them. Routed last by `routes.py`."""

import asyncio
import mimetypes
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from haechi.core.errors import NotFound

UI = Path(__file__).parent / "ui"
NOT_BUILT = (
    "The console is not built. Run `make run`, or in console/: `npm ci && npm run build`; then load this page again.\n"
)
_FILE = re.compile(r"/(?:(?:assets|fonts|icons)/)?[\w.-]+\.(?:js|mjs|css|svg|png|ico|woff2?|webmanifest|html)")
_HASHED = re.compile(r"/assets/[\w.-]*-[\w-]{8,}\.\w+")
# Windows registries and slim containers say otherwise; a module worker with another type is refused by browsers.
_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".woff2": "font/woff2",
    ".webmanifest": "application/json",
}


def is_public(method: str, path: str) -> bool:
    """What `guard.Guard` lets pass without a session: logging in, health, and the console's own files."""
    if (method, path) == ("POST", "/api/login"):
        return True
    return method in {"GET", "HEAD"} and (path in {"/", "/health"} or _FILE.fullmatch(path) is not None)


class Static:
    """Files under a folder; hashed assets are immutable, everything else is asked for again with its ETag."""

    def __init__(self, folder: Path = UI) -> None:
        self._folder = folder

    async def answer(self, request: Request) -> Response:
        """A file of the console; `NotFound` for what is none, 503 with the next move when it is not built."""
        return await asyncio.to_thread(self._find, request.url.path, request.headers.get("if-none-match", ""))

    def _find(self, path: str, known: str) -> Response:
        if not (self._folder / "index.html").is_file():
            return PlainTextResponse(NOT_BUILT, 503, {"Retry-After": "10"})
        file = self._folder / ("index.html" if path == "/" else path.lstrip("/"))
        if (path != "/" and not _FILE.fullmatch(path)) or not file.is_file():
            raise NotFound(f"no file {path}; the console starts at /")
        cache = "public, max-age=31536000, immutable" if _HASHED.fullmatch(path) else "no-cache"
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        response = FileResponse(file, headers={"Cache-Control": cache}, media_type=kind, stat_result=file.stat())
        if response.headers["etag"] in known:
            return Response(status_code=304, headers={"Cache-Control": cache, "ETag": response.headers["etag"]})
        return response
