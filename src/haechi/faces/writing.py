"""An HTTP connection that writes head and body of an answer at once. Given to uvicorn by the api role.

uvicorn writes them one after the other, each a system call of 20 µs: a fifth of a small answer's cost.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGE = 65_536  # from here on what is written goes out at once, so that a slow client slows its writer


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's own, over a transport that gathers what one turn of the loop writes."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]

    def handle_websocket_upgrade(self) -> None:
        assert isinstance(self.transport, _Gathering)
        self.transport.flush()
        self.transport = self.transport.inner
        super().handle_websocket_upgrade()


class _Gathering:
    """A transport, but for `write` and `close`."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.inner = inner
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, part: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(part)
        self._size += len(part)
        if self._size >= _LARGE:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            whole, self._parts, self._size = b"".join(self._parts), [], 0
            self.inner.write(whole)

    def close(self) -> None:
        self.flush()
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
