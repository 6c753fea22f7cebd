"""HJ 212 over TCP: listens, gathers, answers once the log has it. Created by the gateway for each `hj212` link."""

import asyncio
import contextlib
import errno
from collections.abc import Mapping
from typing import Any

import structlog

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.adapters.hj212.connection import Connection, Door
from haechi.plugins.adapters.hj212.gather import Gatherer
from haechi.plugins.adapters.hj212.settings import Hj212Settings, read
from haechi.ports import AdapterContext

STOP_S = 10.0  # what may pass until the log has what was received
PART_S = 2.0  # and until devices have taken their last answers
_events = structlog.get_logger("hj212")


def create(settings: Mapping[str, Any], context: AdapterContext) -> "Hj212Adapter":
    """The adapter of one link; `InvalidSettings` names the setting."""
    return Hj212Adapter(read(settings), context)


class Hj212Adapter:
    """`ports.Adapter`. After `start`, `port` is where it listens (useful with `port = 0`)."""

    def __init__(self, settings: Hj212Settings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._door = Door(settings, context, Gatherer(context.link, context.intake, settings))
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port bound; the one asked for while stopped."""
        if self._server is None or not self._server.sockets:
            return self._settings.port
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        if self._server is not None:
            return
        host, port = self._settings.host, self._settings.port
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self._door), host, port, backlog=1024)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EMFILE, errno.ENFILE):
                raise Unavailable(f"{host}:{port}: {error.strerror}; stop what listens there or set `port`") from error
            raise InvalidSettings(
                f"host, port: cannot listen on {host}:{port} ({error}); set an address of ours"
            ) from error
        self._door.gatherer.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for connection in self._door.connections:
            connection.stop_taking()
        await self._door.gatherer.stop(STOP_S)
        await self._part()
        await server.wait_closed()

    async def _part(self) -> None:
        """Lets the last answers leave, then ends what is still open."""
        for connection in tuple(self._door.connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PART_S if self._door.connections else 0):
                await self._door.deserted.wait()
        for connection in tuple(self._door.connections):
            connection.abort()

    def health(self) -> Mapping[str, float]:
        door = self._door
        return {
            "connections": float(len(door.connections)),
            "frames": float(door.frames),
            "bad_frames": float(door.bad_frames),
            "refused": float(door.refused),
            "pending": float(door.gatherer.pending),
            "pending_bytes": float(door.gatherer.pending_bytes),
            "paused": float(sum(one.paused for one in door.connections)),
        }

    async def _sweep(self) -> None:
        """Closes connections whose device has fallen silent, or does not take its answers."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._settings.idle_s / 4, self._settings.clogged_s / 4, 30.0))
            for connection in [one for one in self._door.connections if one.idle(loop.time())]:
                connection.close()
            for connection in [one for one in self._door.connections if one.clogged(loop.time())]:
                _events.warning("answers_not_taken", link=self._context.link, after_s=self._settings.clogged_s)
                connection.abort()
