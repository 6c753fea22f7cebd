"""Files of the table that are on the disk before the catalogue names them. Loaded by pyiceberg through `py-io-impl`.

pyiceberg closes a file and trusts the page cache; after a power cut the catalogue (SQLite, synchronous) could name
files that never arrived, while the log's position says they did. So every file and its folder are synced when closed.
"""

import io
import os
from pathlib import Path
from typing import Any

from pyiceberg.io import InputFile, OutputFile, OutputStream
from pyiceberg.io.pyarrow import PyArrowFileIO

SCHEME = "file://"


def local_path(location: str) -> str:
    """The path of a file of the table as the operating system knows it."""
    return location.removeprefix(SCHEME)


class _Synced(io.BufferedWriter):
    """A file that is durable once closed."""

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(io.FileIO(path, mode), 1 << 20)
        self._folder = path.parent

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        finally:
            super().close()
        sync_folder(self._folder)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    """The folder and those above it; each new name is durable in the one that holds it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


class _Output(OutputFile):
    def __init__(self, location: str, plain: OutputFile) -> None:
        super().__init__(location)
        self._plain = plain

    def __len__(self) -> int:
        return len(self._plain)

    def exists(self) -> bool:
        return self._plain.exists()

    def to_input_file(self) -> InputFile:
        return self._plain.to_input_file()

    def create(self, overwrite: bool = False) -> OutputStream:
        path = Path(local_path(self.location))
        _make(path.parent)
        stream: Any = _Synced(path, "w" if overwrite else "x")
        return stream  # type: ignore[no-any-return] # a BufferedWriter does what the protocol asks


class SyncedFiles(PyArrowFileIO):
    """pyiceberg's local files, with writes that survive power loss."""

    def new_output(self, location: str) -> OutputFile:  # type: ignore[override] # pyiceberg only asks for the protocol
        return _Output(location, super().new_output(location))


class LazyFiles(PyArrowFileIO):
    """The same without syncing, for tests; a type of its own so that settings can name it."""
