"""Asks the file system, after each append that nats-server confirmed, whether it still takes changes: `NatsLog` lets no
acknowledgement out before.

Linux' ext4 lets an fsync succeed that stored nothing while its journal is being aborted (a fault of the medium,
errors=remount-ro): what waits for the journal is given up, and whoever waited is told that all is well. That lasts some
milliseconds, and neither fsync nor statvfs tells of it. A change of a file's size does: it takes a handle on the
journal, which an aborted one refuses. So a change that began after the fsync and went well proves the fsync.
"""

import asyncio
import contextlib
import functools
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


class Witness:
    """One for each process that appends; `folder` is the log's. Appends confirmed at once share one change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "witness")  # a disk that stands still must not stop the event loop
        self._file = -1
        self._size = 0
        self._begun = self._ended = 0
        self._running: asyncio.Future[None] | None = None

    async def confirm(self) -> None:
        """Returns once a change that began after the call was taken; `OSError` when the file system refused it."""
        wanted = self._begun + 1  # the one under way began before
        while self._ended < wanted:
            if self._running is None or self._running.done():
                self._running = self._begin()
            await asyncio.shield(self._running)

    def _begin(self) -> "asyncio.Future[None]":
        self._begun += 1
        change = asyncio.get_running_loop().run_in_executor(self._thread, self._grow)
        change.add_done_callback(functools.partial(self._over, self._begun))  # before anybody who waits for it
        return change

    def _over(self, number: int, change: "asyncio.Future[None]") -> None:
        if change.exception() is None:  # looked at here, too, so that nobody has to be waiting for it
            self._ended = number

    def _grow(self) -> None:
        try:
            if self._file < 0:
                self._file, self._size = _nameless(self._folder), 0
            self._size += 1
            os.ftruncate(self._file, self._size)  # a hole: it takes no block
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Gives the file up; the next `confirm` opens another."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = -1


def _nameless(folder: Path) -> int:
    """Nothing is left of it when the process dies."""
    if hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):  # not every file system has it
            return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    handle, name = tempfile.mkstemp(prefix="witness-", dir=folder)
    Path(name).unlink()
    return handle
