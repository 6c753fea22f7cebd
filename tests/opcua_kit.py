"""Shared by the tests of the opcua adapter: an intake and a bus inside the test, node-opcua's server as a process."""

import asyncio
import contextlib
import fcntl
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from haechi import registry
from haechi.app.clock import SystemClock
from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.core.message import Message, Sample
from haechi.plugins.adapters.opcua.adapter import OpcuaAdapter, create
from haechi.ports import AdapterContext, Receipt

FOLDER = Path(__file__).parent / "peers" / "opcua"
ALL = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
SECURE = {"policies": ALL, "modes": ["Sign", "SignAndEncrypt"]}
OPEN = {"security": "None", "anonymous": True}
QUICK = {"publishing_ms": 50.0, "sampling_ms": 10.0, "reconnect_s": 0.05, "reconnect_s_max": 0.3, "period_s": 0.1}
NODES = [
    {"id": "Pressure", "type": "Double", "value": 1.5},
    {"id": "Target", "type": "Float", "value": 2.5, "writable": True},
    {"id": "Count", "type": "UInt16", "value": 7, "writable": True},
    {"id": "Running", "type": "Boolean", "value": True, "writable": True},
    {"id": "Name", "type": "String", "value": "Hongdo 펌프", "writable": True},
]
FIELDS = [
    {"field": "pressure", "node": "ns=2;s=Pressure"},
    {"field": "target", "node": "ns=2;s=Target", "writable": True},
    {"field": "count", "node": "nsu=urn:peer:plant;s=Count", "writable": True},
    {"field": "running", "node": "ns=2;s=Running", "writable": True},
    {"field": "name", "node": "ns=2;s=Name", "writable": True},
]
FIRST = {"pressure": 1.5, "target": 2.5, "count": 7, "running": True, "name": "Hongdo 펌프"}


class Kept:
    """An intake that keeps what it is given, decoded; `away` makes it unavailable."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.samples: list[Sample] = []
        self.away = False
        self.rejected: dict[str, int] = {}
        self._codec = registry.create("codec", "opcua")({})

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        if self.away:
            raise Unavailable("the log is away")
        self.messages += messages
        for one in messages:
            self.samples += [] if one.channel == "$status" else self._codec.decode(one)
        return Receipt(stored=len(messages))

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def values(self, field: str, channel: str = "") -> list[Any]:
        return [one.value for one in self.samples if (one.field, one.channel) == (field, channel)]

    def newest(self) -> dict[str, Any]:
        return {one.field: one.value for one in self.samples}

    def of(self, device: str) -> list[Message]:
        return [one for one in self.messages if one.device == device and one.channel != "$status"]

    def status(self, device: str = "S-1") -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.messages if one.device == device and one.channel == "$status"]


class Ears:
    """A bus inside the test."""

    def __init__(self) -> None:
        self.heard: Callable[[str, bytes], Awaitable[None]] | None = None
        self.done: list[dict[str, Any]] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        assert subject == "command.done"
        self.done.append(json.loads(payload))

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        assert pattern == "command.plant"
        self.heard = heard

        async def stop() -> None:
            self.heard = None

        return stop


class Nobody:
    """A registry that is never asked."""

    def verify(self, device: str, secret: str, link: str) -> bool:
        raise AssertionError("a client has nobody to let in")

    knows = verify


def installed() -> Path:
    """node-opcua as package-lock.json pins it, installed on first use; skips without npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    ready = FOLDER / "node_modules" / ".ready"
    with (Path(tempfile.gettempdir()) / "haechi-peer-opcua.lock").open("w") as lock:  # test workers come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            wanted = [npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(wanted, cwd=FOLDER, check=True, timeout=110)
            ready.touch()
    return FOLDER / "server.cjs"


class Peer:
    """node-opcua's server in a process of its own; keeps its certificate in its folder."""

    def __init__(self, folder: Path, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = int(options.get("port", 0)) or free_port()
        self._options = {"nodes": NODES, **options, "port": self.port, "folder": str(folder)}
        self.certificate = b""
        self.said: list[dict[str, Any]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._listening: threading.Thread | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(installed()), json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.said.clear()
        ready = threading.Event()
        self._listening = threading.Thread(target=self._listen, args=[self._process, ready], daemon=True)
        self._listening.start()
        assert ready.wait(60) and self.said, "node-opcua starts"
        self.certificate = bytes.fromhex(self.said[0]["certificate"])

    def _listen(self, process: "subprocess.Popen[bytes]", ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # node-opcua's own remarks
                self.said.append(json.loads(line))
                ready.set()
        ready.set()

    def tell(self, order: str, **more: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, **more}).encode() + b"\n")
        self._process.stdin.flush()

    def set(self, id: str, value: Any, **more: Any) -> None:
        self.tell("set", id=id, value=value, **more)

    async def asked(self, order: str, **more: Any) -> Any:
        seen = len(self.said)
        self.tell(order, **more)
        found = await until(lambda: next((one for one in self.said[seen:] if order in one), None))
        return found[order]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is None or self._listening is None:
            return
        self._process.kill()
        self._process.wait()
        self._listening.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = None

    def __enter__(self) -> "Peer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.asynccontextmanager
async def following(intake: Kept, bus: Ears, folder: Path, settings: Mapping[str, Any]) -> AsyncIterator[OpcuaAdapter]:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    context = AdapterContext("plant", intake, Nobody(), bus, SystemClock(), str(folder))
    adapter = create({"device": [{"id": "S-1"}], "node": FIELDS, **QUICK, **settings}, context)
    await adapter.start()
    try:
        yield adapter
    finally:
        await adapter.stop()


def trust(folder: Path, certificate: bytes) -> None:
    """What a person does who compared the certificate."""
    (folder / "trusted").mkdir(parents=True, exist_ok=True)
    (folder / "trusted" / "server.der").write_bytes(certificate)


def secret(folder: Path, text: str, mode: int = 0o600) -> None:
    """The password file of a link."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "password").write_text(text + "\n")
    (folder / "password").chmod(mode)


def command(field: str, value: Any, id: str = "c1", **changes: Any) -> bytes:
    """A setpoint as the platform tells it on the bus."""
    body = {"id": id, "device": "S-1", "channel": "", "field": field, "value": value, "expires_at": 1 << 60}
    return json.dumps({**body, **changes}).encode()


async def carried_out(bus: Ears, payload: bytes) -> dict[str, Any]:
    """What the adapter tells of a command."""
    assert bus.heard is not None
    before = len(bus.done)
    await bus.heard("command.plant", payload)
    await until(lambda: len(bus.done) > before)
    return bus.done[-1]


async def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (answer := found()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    return answer
