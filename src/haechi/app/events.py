"""Structured logs: one line per event worth a look, on standard error; never a secret."""

import logging
import os
import sys
from typing import TextIO, cast

import structlog


class Tolerant:
    """A stream for log lines: a full disk or a terminal that went away must not end the process that has something to
    say about it. The next line that can be written says that some before it may be missing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._missing = False

    def write(self, text: str) -> int:
        try:
            if self._missing:
                self._stream.write("lines before this one may be missing: they could not be written\n")
                self._missing = False
            return self._stream.write(text)
        except OSError:
            self._missing = True
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._missing = True


def configure() -> None:
    """Sets up structlog for this process; `HAECHI_LOG=debug` shows more, `HAECHI_LOG_FORMAT=json` prints JSON lines."""
    level = getattr(logging, os.environ.get("HAECHI_LOG", "info").upper(), logging.INFO)
    as_json = os.environ.get("HAECHI_LOG_FORMAT") == "json"
    render = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Tolerant(sys.stderr))),
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
