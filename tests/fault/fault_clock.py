"""The wall clock of a platform jumps; its monotonic clock and everybody else's go on. Used by the fault runs.

A few lines of C between our processes and the C library: Python, SQLite, DuckDB and Arrow all see the jump at once, as
they would see a wrong time server. nats-server asks the kernel itself and keeps the true time.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def no_clock() -> str:
    """Why clocks cannot jump here; empty when they can."""
    if sys.platform != "linux":
        return "clocks jump by LD_PRELOAD, which takes Linux"
    return "" if shutil.which("cc") else "no C compiler (cc) for the clock that jumps"


class WallClock:
    """What `environment` is given to shows the true time plus what was `set` last. `folder` holds its two files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._ahead, self._library = folder / "ahead", folder / "clock.so"
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        self._ahead.write_bytes(struct.pack("=q", 0))

    def set(self, ahead_s: float) -> None:
        """Seconds ahead of the truth; negative: behind. Whoever runs sees it with the next look at the clock."""
        file = os.open(self._ahead, os.O_WRONLY)
        try:
            os.pwrite(file, struct.pack("=q", int(ahead_s * 1_000_000)), 0)
        finally:
            os.close(file)

    @property
    def environment(self) -> Mapping[str, str]:
        """For the processes that live by this clock."""
        return {"LD_PRELOAD": str(self._library), "FAULT_CLOCK": str(self._ahead)}
