"""Keeps a library from importing what it offers on top and nobody here uses. For modules that import such a library."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside it these packages seem not to be installed, unless they are imported already; afterwards they are there.

    nats looks for aiohttp (web sockets) and structlog for rich (coloured tracebacks): together a third of the start-up
    time of every role and 12 MB of each, and neither is used.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
