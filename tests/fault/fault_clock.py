"""The wall clock of a platform jumps; its monotonic clock and everybody else's go on. Used by the fault runs.

Debian's libfaketime between our processes and the C library: Python, SQLite, DuckDB and Arrow all see the jump, as
they would see a wrong NTP server. nats-server asks the kernel itself and keeps the true time.
"""

from collections.abc import Mapping
from pathlib import Path

LIBRARY = Path("/usr/lib")


def library() -> Path | None:
    """libfaketime for programs with threads, where it is installed."""
    return next(iter(sorted(LIBRARY.glob("*/faketime/libfaketimeMT.so.1"))), None)


class WallClock:
    """What `environment` is given to shows the true time plus what was `set` last, within a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead_s: float) -> None:
        """Seconds ahead of the truth; negative: behind."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+.1f}\n", "ascii")
        fresh.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """For the processes that live by this clock."""
        found = library()
        assert found is not None, "libfaketime is not installed"
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
