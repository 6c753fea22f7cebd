"""Runs one role in this process: signals, the ready flag, and exit codes the supervisor understands."""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from haechi.app.settings import RunSettings
from haechi.app.supervisor import INVALID
from haechi.core.errors import HaechiError, InvalidSettings
from haechi.services.stream import cycles

Body = Callable[[RunSettings, asyncio.Event], Awaitable[None]]

ENDS_S = 15.0  # a role that takes longer to stop is ended: shorter than the supervisor waits

_events = structlog.get_logger("role")


def run_role(name: str, body: Body, settings: RunSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    _open_many()
    try:
        uvloop.run(_until_signal(name, body, settings))
    except (HaechiError, ExceptionGroup) as group:
        error = _cause(group)
        if not isinstance(error, HaechiError):
            raise
        invalid = isinstance(error, InvalidSettings)
        _events.error("invalid_settings" if invalid else "role_failed", role=name, error=str(error))
        return INVALID if invalid else 1
    return 0


def _open_many() -> None:
    """As many connections as the system allows this process: most systems say 1,024 unless asked, a door wants more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _cause(error: Exception) -> Exception:
    """The one error a group of tasks ended with; the group itself when there are several."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


async def _until_signal(name: str, body: Body, settings: RunSettings) -> None:
    loop = asyncio.get_running_loop()
    stop, ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working = asyncio.ensure_future(body(settings, ready))
    flagging = asyncio.create_task(_flag(name, settings, ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in (flagging, stopping, working):
        task.cancel()
    _, hanging = await asyncio.wait([working], timeout=ENDS_S)
    if hanging:  # it would keep its ports and locks from its successor; a kill loses nothing
        _events.error("role_stop_hangs", role=name, after_s=ENDS_S)
        os._exit(1)
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _flag(name: str, settings: RunSettings, ready: asyncio.Event) -> None:
    await ready.wait()
    cycles.calm()
    (settings.run_folder / f"{name}.ready").touch()
    _events.info("role_ready", role=name)
