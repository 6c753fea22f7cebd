"""HTTP push: a listener of its own for senders that POST. Created by the gateway for each `http_push` link."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.adapters.http_push.door import Door
from haechi.plugins.adapters.http_push.settings import HttpSettings, read
from haechi.plugins.wire.http1.connection import Connection
from haechi.ports import AdapterContext

STOP_S = 10.0  # what may pass until requests under way are answered
HANDSHAKE_S = 10.0
COUNTS = ("requests", "in_flight", "in_flight_bytes", "busy", "turned_away")
SWEEP_S = 1.0  # how long a device that was let in is not looked up again


def create(settings: Mapping[str, Any], context: AdapterContext) -> "HttpPushAdapter":
    """The adapter of one link; `InvalidSettings` names the setting."""
    return HttpPushAdapter(read(settings), context)


class HttpPushAdapter:
    """`ports.Adapter`. After `start`, `port` is where it listens (useful with `port = 0`)."""

    def __init__(self, settings: HttpSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._door = Door(settings, context)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.port = settings.port

    async def start(self) -> None:
        if self._server is not None:
            return
        secure, listening = _tls(self._settings), _bind(self._settings.host, self._settings.port)
        self.port = int(listening.getsockname()[1])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._door, self._connections),
            sock=listening,
            ssl=secure,
            ssl_handshake_timeout=HANDSHAKE_S if secure else None,
            backlog=1024,
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Answers what is under way, for at most ten seconds; then closes."""
        if self._server is None or self._sweeper is None:
            return
        server, self._server = self._server, None
        server.close()
        for connection in tuple(self._connections):
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while self._connections:  # noqa: ASYNC110 - once, and it ends
                    await asyncio.sleep(0.01)
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, self._door.cancel(), return_exceptions=True)
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        await server.wait_closed()
        self.port = self._settings.port

    def health(self) -> Mapping[str, float]:
        counts = {name: float(getattr(self._door, name)) for name in COUNTS}
        return {"connections": float(len(self._connections)), **counts}

    async def _sweep(self) -> None:
        """Ends what does not come, and has credentials looked up anew."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_S, self._settings.body_s / 4))
            self._door.forget()
            for connection in tuple(self._connections):
                connection.look(loop.time())


def _tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """The server's TLS context; None when the link names no certificate."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        files = f"{settings.tls_cert} with {settings.tls_key}"
        raise InvalidSettings(f"tls_cert: {files} cannot be used ({error}); both must be PEM files") from error
    return context


def _bind(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EMFILE, errno.ENFILE):
            raise Unavailable(f"{host}:{port}: {error.strerror}; stop what listens there or set `port`") from error
        raise InvalidSettings(
            f"host, port: cannot listen on {host}:{port} ({error}); set an address of ours"
        ) from error
