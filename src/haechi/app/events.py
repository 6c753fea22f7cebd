"""Structured logs: one line per event worth a look, on standard error; never a secret."""

import logging
import os
import sys

import structlog


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
