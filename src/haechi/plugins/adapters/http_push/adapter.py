"""HTTP push: a listener of its own for senders that POST. Created by the gateway for each `http_push` link."""

import asyncio
import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.adapters.http_push.door import Door
from haechi.plugins.adapters.http_push.settings import HttpSettings, read
from haechi.ports import AdapterContext

STOP_S = 10
_events = structlog.get_logger("http_push")


def create(settings: Mapping[str, Any], context: AdapterContext) -> "HttpPushAdapter":
    """The adapter of one link; `InvalidSettings` names the setting."""
    return HttpPushAdapter(read(settings), context)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: stopping is the runner's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpPushAdapter:
    """`ports.Adapter`. After `start`, `port` is where it listens (useful with `port = 0`)."""

    def __init__(self, settings: HttpSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._door = Door(settings, context)
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port bound; the one asked for while stopped."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else self._settings.port

    async def start(self) -> None:
        if self._task is not None:
            return
        config = self._config()
        self._socket = _bind(self._settings.host, self._settings.port)
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._forget()
                raise Unavailable("the HTTP listener did not start; see the log")
            await asyncio.sleep(0.005)
        _events.info("listening", link=self._context.link, host=self._settings.host, port=self.port)

    async def stop(self) -> None:
        """Answers what is under way, for at most ten seconds; then closes."""
        if self._server is not None:
            self._server.should_exit = True
        await self._forget()

    def health(self) -> Mapping[str, float]:
        door = self._door
        return {
            "requests": float(door.requests),
            "in_flight": float(door.in_flight),
            "in_flight_bytes": float(door.in_flight_bytes),
            "busy": float(door.busy),
            "turned_away": float(door.turned),
        }

    async def _forget(self) -> None:
        task, self._task, self._server = self._task, None, None
        if task is not None:
            await task
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        config = uvicorn.Config(
            self._door,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_S,
            limit_concurrency=settings.connections_max,
            ssl_certfile=settings.tls_cert or None,
            ssl_keyfile=settings.tls_key or None,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise InvalidSettings(
                f"tls_cert: {settings.tls_cert} with {settings.tls_key} cannot be used: {error}"
            ) from error
        return config


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
