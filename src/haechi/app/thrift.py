"""What a process says to the C libraries before they are loaded, so that it takes less memory and starts no thread it
does not need. Called first by `haechi run`, whatever it becomes."""

import ctypes
import os

# numpy and pyarrow start a thread each when they are imported; a process that has threads cannot be forked soundly.
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
# Arrow's own pool keeps what each thread once freed until that thread allocates again; most of them wait.
POOL = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
M_ARENA_MAX = -8
ARENAS = 2


def spare() -> None:
    """Threads share glibc's heaps: one each kept 40 MB of an idle city that nobody used any more."""
    for name, value in (SINGLE | POOL).items():
        os.environ.setdefault(name, value)
    if "MALLOC_ARENA_MAX" not in os.environ and (ask := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        ask(M_ARENA_MAX, ARENAS)
