"""Roles as copies of the process that checked the city: what they share is loaded once and lies in memory once.

Used by `haechi run`, before it has a thread or a loop. A role that dies later is started by itself, as a process of its
own.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from haechi.plugins.stores.nats.server import die_with_parent

STOPPING = frozenset({signal.SIGINT, signal.SIGTERM})


class Forked:
    """A forked child as asyncio shows a subprocess. Made inside a running loop."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = asyncio.ensure_future(asyncio.to_thread(os.waitpid, pid, 0))
        self.returncode: int | None = None

    async def wait(self) -> int:
        _, status = await asyncio.shield(self._ended)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def hold_signals() -> None:
    """From before the first fork until a loop listens: neither Ctrl-C nor SIGTERM may leave half of a city behind."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def release_signals() -> None:
    """Those that came meanwhile arrive now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def fork(role: Callable[[], int]) -> int:
    """The process id of a copy of this process that runs `role` and ends with its exit code."""
    assert threading.active_count() == 1, threading.enumerate()
    sys.stdout.flush()
    sys.stderr.flush()
    tie, parent = die_with_parent(), os.getpid()
    gc.freeze()  # or the first look for cycles would copy every page
    pid = os.fork()
    if pid == 0:
        _become(role, tie, parent)
    return pid


def _become(role: Callable[[], int], tie: Callable[[], None] | None, parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        if tie is not None:
            tie()
        if os.getppid() == parent:  # it may have died before we were tied to it
            release_signals()
            gc.enable()
            code = role()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # nothing may return into the supervisor's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
