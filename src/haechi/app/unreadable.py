"""Messages of the log that nobody could read, kept as files for people. Written by the pipeline, counted by health."""

from pathlib import Path

import structlog

from haechi.ports import Record

FOLDER = "unreadable"

_events = structlog.get_logger("pipeline")


class Unreadable:
    """`DATA/unreadable/<seq>.<subject>.frame`, one file a message; the log may drop the message, the file stays."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    def keep(self, record: Record) -> None:
        """Writes the bytes once; said again at each call."""
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{record.seq}.{record.subject}.frame"
        fresh = file.with_suffix(".new")
        fresh.write_bytes(record.payload)
        fresh.replace(file)
        _events.error("frame_unreadable", seq=record.seq, kept_in=str(file), hint="keep the file and report it")

    def count(self) -> int:
        """How many are kept."""
        return sum(1 for _ in self._folder.glob("*.frame")) if self._folder.is_dir() else 0
