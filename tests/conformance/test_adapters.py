"""What every adapter gets for free: its papers, its recorded cases, starting and stopping, garbage, and peers that
vanish."""

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from haechi import registry
from haechi.app.supervisor import free_port
from haechi.core.errors import InvalidSettings
from haechi.core.message import Message
from haechi.core.times import format_iso
from haechi.ports import Adapter, AdapterContext, Receipt
from haechi.testing.clock import StandingClock

NAMES = registry.names("adapter")
WORDS = json.loads((Path(__file__).parents[2] / "console/src/locales/en.json").read_text("utf-8"))
ROLES = {name: registry.manifest("adapter", name).get("role", "listener") for name in NAMES}
LISTENERS = [name for name, role in ROLES.items() if role == "listener"]
CASES = [
    pytest.param(name, path, id=f"{name}-{path.stem}")
    for name in NAMES
    for path in sorted((registry.folder("adapter", name) / "cases").glob("*.json"))
    # those of a dialogue are replayed by the adapter's own test
    if "conversation" not in json.loads(path.read_text("utf-8"))
]


class Kept:
    """An intake that keeps what it is given, and rejects nothing."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.rejected: dict[str, int] = {}

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        self.messages += messages
        return Receipt(stored=len(messages))

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + count


class Nobody:
    """A device registry in which nobody is registered."""

    def verify(self, device: str, secret: str, link: str) -> bool:
        return False

    def knows(self, device: str, link: str) -> bool:
        return False


class Silent:
    """A bus nobody is on."""

    async def publish(self, subject: str, payload: bytes) -> None:
        pass

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        async def stop() -> None:
            pass

        return stop


def sample(name: str) -> dict[str, Any]:
    return tomllib.loads((registry.folder("adapter", name) / "sample.toml").read_text("utf-8"))


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def make(tmp_path: Path, intake: Kept) -> Callable[[str, Mapping[str, Any]], Adapter]:
    def made(name: str, changes: Mapping[str, Any]) -> Adapter:
        context = AdapterContext("link", intake, Nobody(), Silent(), StandingClock(), str(tmp_path))
        adapter: Adapter = registry.create("adapter", name)({**sample(name)["settings"], **changes}, context)
        return adapter

    return made


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_has_its_papers(name: str) -> None:
    folder = registry.folder("adapter", name)
    manifest = registry.manifest("adapter", name)
    assert manifest["id"] == name
    assert manifest["standard"]
    assert ROLES[name] in {"listener", "poller"}, "a poller connects to devices, a listener takes their connections"
    for gap in manifest.get("gap", []):
        assert gap["gap"] in {"ours", "upstream", "never"}
        assert gap["what"]
        assert gap["why"]
    assert len((folder / "README.md").read_text("utf-8")) > 200
    assert sample(name)["adapter"] == name
    assert sample(name)["codec"] in registry.names("codec")
    assert list((folder / "cases").glob("*.json")), "recorded cases prove the adapter"


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_stays_small(name: str) -> None:
    files = list(registry.folder("adapter", name).glob("*.py"))
    assert sum(len(path.read_text("utf-8").splitlines()) for path in files) <= 800
    assert len([path for path in files if path.stem != "__init__"]) <= 5


@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_recorded_case_decodes_to_its_samples(name: str, path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    assert case["source"], "where the frame comes from"
    codec = registry.create("codec", case["codec"])(case.get("codec_settings", {}))
    payload = path.with_suffix(".txt").read_bytes()
    message = Message("link", case.get("device", ""), case.get("channel", ""), payload, 1_795_000_000_000_000)
    found = []
    for one in codec.decode(message):
        shown = {"field": one.field, "value": one.value, "unit": one.unit, "doubt": one.doubt, "device": one.device}
        shown |= {"channel": one.channel, "observed_at": one.observed_at and format_iso(one.observed_at)}
        found.append(shown)
    wanted = case["samples"]
    assert [{key: one[key] for key in want} for one, want in zip(found, wanted, strict=True)] == wanted


@pytest.mark.parametrize("name", NAMES)
async def test_an_adapter_starts_twice_and_stops_twice(name: str, make: Callable[..., Adapter]) -> None:
    adapter = make(name, {"port": free_port()})
    for _ in range(2):
        await adapter.start()
        await adapter.start()
        figures = adapter.health()
        assert all(isinstance(value, (int, float)) for value in figures.values())
        assert [one for one in figures if f"figure.{one}" not in WORDS] == [], "the console tells figures in its words"
        await adapter.stop()
        await adapter.stop()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{"port": "x"}, {"port": 70_000}, {"host": 5}, {"no_such_setting": 1}])
def test_a_bad_setting_is_named(name: str, changes: dict[str, Any], make: Callable[..., Adapter]) -> None:
    (key,) = changes
    with pytest.raises(InvalidSettings, match=key):
        make(name, changes)


QUICK = {"timeout_s": 0.1, "reconnect_s": 0.02, "reconnect_s_max": 0.05}  # settings every poller has
GARBAGE = [b"\x00" * 300, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"##9999" + b"A" * 5000, bytes(range(256)) * 40]


@pytest.mark.parametrize("name", LISTENERS)
async def test_garbage_and_vanishing_peers_leave_the_door_open(
    name: str, make: Callable[..., Adapter], intake: Kept
) -> None:
    port = free_port()
    adapter = make(name, {"port": port})
    await adapter.start()
    try:
        for noise in GARBAGE:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(noise)
            await writer.drain()
            await asyncio.sleep(0.02)
            transport = writer.transport
            transport.abort()  # no goodbye: the cable was pulled
            del reader
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
    finally:
        await adapter.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LISTENERS])
async def test_a_poller_outlives_a_peer_that_sends_garbage_and_one_that_hangs_up(
    name: str, make: Callable[..., Adapter], intake: Kept
) -> None:
    served = asyncio.Event()
    noises = iter([*GARBAGE, b""])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # it asked something
        noise = next(noises, None)
        if noise is None:
            served.set()
        writer.write(noise or b"")
        await asyncio.sleep(0.02)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    adapter = make(name, {"port": server.sockets[0].getsockname()[1], **QUICK})
    await adapter.start()
    try:
        async with asyncio.timeout(20):
            await served.wait()
    finally:
        await adapter.stop()
        server.close()
        await asyncio.sleep(0.1)  # the last connection is taken leave of
    assert all(one.channel == "$status" for one in intake.messages), "garbage is no value"
    assert adapter.health()["online"] == 0


async def test_listeners_are_listeners() -> None:
    """The canary of the role: an adapter that says it polls gets out of the checks of a door."""
    assert {"mqtt", "hj212", "http_push"} <= set(LISTENERS)
