"""What Linux says of a process: its state, its processor time, its memory, its children. Used by vitals and doctor.

Where there is no /proc nothing is known and everything is left out.
"""

import ctypes
import os
import sys
from pathlib import Path

PROC = Path("/proc")
PREFIX, PR_SET_NAME = "haechi-", 15
STATES = {"T": "stopped", "t": "stopped", "D": "waiting for the disk", "Z": "dead"}


def run_and_wait_s(pid: int | str = "self") -> tuple[float, float] | None:
    """Seconds the main thread has run, and has been ready to run while others had the processor (schedstat)."""
    text = _read(PROC / str(pid) / "schedstat").split()
    return (int(text[0]) / 1e9, int(text[1]) / 1e9) if len(text) == 3 and text[0] != "0" else None


def cpu_s(pid: int) -> float | None:
    """Processor time of all threads, user and system."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else None


def state(pid: int) -> str:
    """ "stopped", "waiting for the disk", "dead", or empty."""
    fields = _fields(pid)
    return STATES.get(fields[0], "") if fields else ""


def rss_bytes(pid: int | str = "self") -> float | None:
    """Resident memory."""
    text = _read(PROC / str(pid) / "statm").split()
    return float(int(text[1]) * os.sysconf("SC_PAGE_SIZE")) if text else None


def take_name(role: str) -> None:
    """From now on this process is called haechi-ROLE (in `ps`, `top`, and by `role_of`), where Linux has a name."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"{PREFIX}{role}".encode())


def role_of(pid: int) -> str:
    """The role a process runs, else the name of its program; a role that is still loading says so in its arguments."""
    words = _read(PROC / str(pid) / "cmdline").split("\0")
    name = _read(PROC / str(pid) / "comm").strip()
    return words[words.index("--role") + 1] if "--role" in words else name.removeprefix(PREFIX)


def children(pid: int) -> dict[str, int]:
    """Process ids by role, nats-server included, of a supervisor."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        fields = _fields(int(folder.name))
        if fields and int(fields[1]) == pid:
            found[role_of(int(folder.name))] = int(folder.name)
    return found


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, after the name, which may hold anything: state, parent, …"""
    return _read(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except (OSError, ValueError):  # gone meanwhile, or not Linux
        return ""
