"""`haechi run`: starts nats-server and the roles as processes, restarts what dies, and leaves nothing behind at the
end."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

import structlog

from haechi.app import order
from haechi.app.forks import Forked
from haechi.app.settings import RunSettings
from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.stores.nats.made import sync_tree
from haechi.plugins.stores.nats.server import NatsServer, ServerSettings, die_with_parent

ROLES = ("pipeline", "api", "gateway")  # they start side by side (`order`) and stop the other way round
START_S = 60.0  # without a role having come any further
LOOK_S, TELL_S = 0.2, 10.0
STOP_S = 20.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
SERVER_PORTS = 20_000, 32_768
INVALID = 78  # exit code of a role that cannot run with these settings (sysexits.h EX_CONFIG): not restarted

_events = structlog.get_logger("supervisor")


class Role:
    """One role's process, kept alive. `ready` is set once it serves; `forked`: the process that runs it already."""

    def __init__(self, name: str, settings: RunSettings, forked: int | None = None) -> None:
        self.name, self._settings = name, settings
        self._flag = settings.run_folder / f"{name}.ready"
        self._forked = forked
        self._process: asyncio.subprocess.Process | Forked | None = None
        self.ready = asyncio.Event()

    async def keep(self) -> None:
        """Runs for ever; raises `InvalidSettings` when the role says that trying again is no use."""
        failures = 0
        while True:
            started = asyncio.get_running_loop().time()
            code = await self._run_once()
            if code == INVALID:
                raise InvalidSettings(f"the {self.name} role cannot run with these settings; see its message above")
            lasted = asyncio.get_running_loop().time() - started
            failures = 0 if lasted > 30 else failures + 1
            wait = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            _events.warning("role_died", role=self.name, code=code, again_in_s=wait)
            await asyncio.sleep(wait)

    async def _run_once(self) -> int:
        self._process = self._adopted() or await self._started()
        watching = asyncio.create_task(self._watch_ready())
        try:
            return await self._process.wait()
        finally:
            watching.cancel()
            self._flag.unlink(missing_ok=True)  # `haechi doctor` reads it

    def _adopted(self) -> Forked | None:
        pid, self._forked = self._forked, None
        return None if pid is None else Forked(pid)

    async def _started(self) -> asyncio.subprocess.Process:
        self._flag.unlink(missing_ok=True)
        command = [sys.executable, "-m", "haechi", "run", "--role", self.name, "--data", self._settings.data]
        return await asyncio.create_subprocess_exec(*command, preexec_fn=die_with_parent(), start_new_session=True)

    async def _watch_ready(self) -> None:
        while not self._flag.exists():  # noqa: ASYNC110 - the flag is a file: another process sets it
            await asyncio.sleep(0.05)
        self.ready.set()

    async def stop(self) -> None:
        """Asks the process to finish, then makes it."""
        process = self._process or self._adopted()
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            _events.error("role_killed", role=self.name, after_s=STOP_S)
            process.kill()
            await process.wait()


class Supervisor:
    """Runs a whole city on this machine until `stop` is set."""

    def __init__(self, settings: RunSettings, roles: Sequence[str] = ROLES) -> None:
        self._settings = settings
        self._server = NatsServer(
            ServerSettings(settings.folder / "log", settings.log, settings.durability, settings.log_limits.max_bytes)
        )
        self._roles = [Role(name, settings) for name in roles]
        self._claimed = False

    def claim(self) -> None:
        """Makes the data folder this supervisor's own and forgets what a former run said; before any role runs."""
        self._write_pid()
        self._claimed = True
        order.forget(self._settings, ROLES)

    def adopt(self, forked: Mapping[str, int]) -> None:
        """Roles that run already, as children of this process, by name."""
        self._roles = [Role(role.name, self._settings, forked.get(role.name)) for role in self._roles]

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Starts everything, calls `started` when all roles serve, and returns after a clean stop."""
        if not self._claimed:
            self.claim()
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._server.start()
            self._write_server_pid()
            order.log_answers(self._settings)
            keepers.append(asyncio.create_task(self._keep_server()))
            keepers += [asyncio.create_task(role.keep()) for role in self._roles]
            await self._first(self._all_ready(), keepers, stop)
            await asyncio.to_thread(sync_tree, self._settings.folder / "log")
            if not stop.is_set():
                started()
            await self._first(stop.wait(), keepers, stop)
        finally:
            await self._stop(keepers)

    async def _all_ready(self) -> None:
        """Returns once every role serves; `TimeoutError` when none has come any further for `START_S`."""
        now = asyncio.get_running_loop().time
        came, came_at, told_at = None, now(), now()
        while missing := [one.name for one in self._roles if not one.ready.is_set()]:
            await asyncio.sleep(LOOK_S)
            advanced = order.advanced(self._settings, missing)
            if (missing, advanced) != came:
                came, came_at = (missing, advanced), now()
            elif now() - came_at > START_S:
                raise TimeoutError
            if now() - told_at > TELL_S:
                told_at = now()
                _events.info("still_starting", **{role: advanced.get(role, "loading") for role in missing})

    async def _first(self, awaited: Awaitable[object], keepers: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        """Waits for `awaited`, a stop, or a keeper that gave up (whose error it raises)."""
        waiting = asyncio.ensure_future(awaited)
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([waiting, stopping, *keepers], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if waiting not in done:
            waiting.cancel()
        for task in done:
            if task is waiting and task.exception() is not None:
                raise Unavailable(f"no role came any further for {START_S:.0f} s; see the messages above")
            if task in keepers:
                task.result()

    async def _keep_server(self) -> None:
        while True:
            code = await self._server.ended()
            _events.warning("nats_server_died", code=code)
            await self._start_server_again()

    async def _start_server_again(self) -> None:
        """Until it answers: a disk that was full at the first try must not end the city."""
        for wait in chain(BACKOFF_S, repeat(BACKOFF_S[-1])):
            await asyncio.sleep(wait)
            try:
                await self._server.start()
            except Unavailable as error:
                _events.error("nats_server_does_not_start", error=str(error))
            else:
                self._write_server_pid()
                return

    async def _stop(self, keepers: list[asyncio.Task[None]]) -> None:
        for task in keepers:
            task.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for role in reversed(self._roles):
            await role.stop()
        await self._server.stop()
        for name in (order.SUPERVISOR, "nats-server.pid"):
            (self._settings.run_folder / name).unlink(missing_ok=True)

    def _write_server_pid(self) -> None:
        """For the platform's own figures; without it, on a disk that is full, one is missing."""
        with contextlib.suppress(OSError):
            (self._settings.run_folder / "nats-server.pid").write_text(str(self._server.pid), "ascii")

    def _write_pid(self) -> None:
        file = self._settings.run_folder / order.SUPERVISOR
        other = running_supervisor(self._settings.folder)
        if other is not None:
            raise InvalidSettings(
                f"process {other} already runs a city in {self._settings.data}; stop it or use another --data"
            )
        file.write_text(str(os.getpid()), "ascii")


def running_supervisor(data: Path) -> int | None:
    """Process id of the supervisor that runs in this data folder, None when there is none."""
    try:
        pid = int((data / "run" / order.SUPERVISOR).read_text("ascii"))
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        # After a reboot the number may be somebody else's.
        ours = b"haechi" in command.read_bytes() if command.exists() else not Path("/proc/self").exists()
    except (OSError, ValueError):
        return None
    return pid if ours and pid != os.getpid() else None


def free_port() -> int:
    """A port of 127.0.0.1 that is free now and that no outgoing connection gets by chance while a server restarts.

    Systems take those from 32768 up; whoever dials a dead server's port there may even be connected to itself.
    """
    for port in [*random.sample(range(*SERVER_PORTS), 100), 0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Unavailable("no port of 127.0.0.1 is free")


def bound(host: str, port: int) -> socket.socket:
    """A socket that has this address and does not listen yet; `OSError` where somebody else has it."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def require_free(host: str, port: int, option: str) -> None:
    """`InvalidSettings` when something listens there already."""
    try:
        bound(host, port).close()
    except OSError as error:
        raise InvalidSettings(
            f"{host}:{port} cannot be opened ({error.strerror}); stop what uses it or change {option}"
        ) from error
