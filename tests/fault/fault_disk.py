"""A disk of its own under a platform's folder, to fill, slow, stop, make read-only and unplug. Linux, as root.

An ext4 file system on a loop device over a sparse file, opened with direct-io, so that the file holds what the disk was
given and nothing waits in a second cache. Used by the fault runs.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

SIZE = 3 * 1024**3  # sparse; health calls a disk with less than 2 GiB free a problem
THROTTLE = Path("/sys/fs/cgroup/blkio")
GOING_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h): _IOR('X', 125, __u32)
WITHOUT_LOG = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: stops at once, nothing that was not synced is written any more
TOOLS = ("losetup", "mkfs.ext4", "mount", "umount", "fsfreeze", "fallocate")
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


def missing() -> str:
    """Why there can be no such disk here; empty when there can."""
    if os.geteuid() != 0:
        return "mounting a disk of its own takes root"
    absent = [one for one in TOOLS if not shutil.which(one, path=_PATH)]
    if absent:
        return f"{', '.join(absent)} not installed (util-linux, e2fsprogs)"
    found = subprocess.run(["/bin/sh", "-c", f"PATH={_PATH} losetup -f"], capture_output=True, text=True, check=False)
    return f"no loop device: {found.stderr.strip()}" if found.returncode else ""


class Disk:
    """Mounted at `folder` until the end of the block. Each fault has a verb to begin and one to end it."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder, self._image = folder, image
        self._device = ""
        self._lock = threading.RLock()

    def __enter__(self) -> "Disk":
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-N", "65536", "-J", "size=16", str(self._image))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, shutil.Error):  # for whoever has to understand a failure
            shutil.copytree(
                self.folder, self._image.with_name("left"), ignore=shutil.ignore_patterns("ballast", "lost+found")
            )
        self._unmount()
        self._image.unlink()

    # --- faults ---

    def fill(self) -> None:
        """Not a block is left."""
        with self._lock:
            for step in (2**24, 2**20, 2**16, 2**12):
                while (free := self._free()) >= step:
                    size = self._ballast.stat().st_size if self._ballast.exists() else 0
                    grown = subprocess.run(
                        ["/usr/bin/fallocate", "-o", str(size), "-l", str(free - free % step), str(self._ballast)],
                        capture_output=True, check=False,
                    )  # fmt: skip
                    if grown.returncode:
                        break

    def empty(self) -> None:
        """There is room again."""
        with self._lock, contextlib.suppress(OSError):  # read-only or gone meanwhile: `replug` comes here again
            self._ballast.unlink(missing_ok=True)

    def slow(self, writes_a_second: int, bytes_a_second: int) -> None:
        """Every write of anybody to this device is made to wait (cgroup v1 blkio.throttle on the root group)."""
        with self._lock:
            self._throttle("iops", writes_a_second)
            self._throttle("bps", bytes_a_second)

    def fast(self) -> None:
        """At full speed again."""
        self.slow(0, 0)

    def freeze(self) -> None:
        """Whoever writes waits, unkillably, as on a disk that does not answer. It writes out everything first."""
        with self._lock, contextlib.suppress(subprocess.CalledProcessError):  # it does so already
            _run("fsfreeze", "-f", str(self.folder))

    def thaw(self) -> None:
        """Answers again."""
        with self._lock, contextlib.suppress(subprocess.CalledProcessError):  # unplugged meanwhile
            _run("fsfreeze", "-u", str(self.folder))

    def read_only(self) -> None:
        """As after a fault of the medium (ext4's errors=remount-ro): open files cannot be written any more either."""
        with self._lock:
            self.thaw()  # a frozen one is not remounted
            _run("mount", "-o", "remount,abort,errors=remount-ro", str(self.folder))

    def unplug(self) -> None:
        """Power loss: from this instant nothing reaches the disk, whatever was not synced is forgotten."""
        with self._lock:
            self.thaw()
            here = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.ioctl(here, GOING_DOWN, struct.pack("I", WITHOUT_LOG))
            finally:
                os.close(here)

    def replug(self) -> None:
        """After `unplug` or `read_only`, with every process that had files there dead: mounts what the disk has."""
        with self._lock:
            self._unmount()
            self._mount()
            self.empty()

    def end_users(self) -> None:
        """kill -9 of every process that names the folder, those included that a dying supervisor has just started."""
        for found in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.folder) in found.read_bytes():
                    os.kill(int(found.parent.name), signal.SIGKILL)

    # --- parts ---

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def _free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def _mount(self) -> None:
        self._device = _run("losetup", "--direct-io=on", "-f", "--show", str(self._image)).strip()
        _run("mount", "-t", "ext4", "-o", "errors=remount-ro", self._device, str(self.folder))

    def _unmount(self) -> None:
        self.fast()
        self.thaw()
        self.end_users()
        for left in range(50, -1, -1):
            try:
                _run("umount", str(self.folder))
                break
            except subprocess.CalledProcessError:
                if not left:
                    raise
                time.sleep(0.1)  # a killed process is still on its way out
        _run("losetup", "-d", self._device)

    def _throttle(self, what: str, limit: int) -> None:
        found = Path(self._device).stat().st_rdev
        file = THROTTLE / f"blkio.throttle.write_{what}_device"
        if file.exists():
            file.write_text(f"{os.major(found)}:{os.minor(found)} {limit}\n", "ascii")


def can_slow() -> bool:
    """Whether this kernel throttles a device for everybody."""
    return (THROTTLE / "blkio.throttle.write_bps_device").exists()


def _run(*command: str) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"}
    ).stdout


def unmount_all(below: Path) -> None:
    """Whatever a run that was killed left mounted."""
    libc = ctypes.CDLL(None)
    for line in Path("/proc/mounts").read_text("ascii").splitlines():
        where = line.split(" ")[1]
        if where.startswith(f"{below}/"):
            libc.umount2(where.encode(), 2)  # MNT_DETACH
