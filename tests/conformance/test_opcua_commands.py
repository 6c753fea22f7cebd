"""Setpoints on node-opcua: written in the variable's type, read back, refused with the server's own word."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from haechi.app.supervisor import free_port
from opcua_kit import FIELDS, FIRST, NODES, OPEN, Ears, Kept, Peer, carried_out, command, following, until

pytestmark = pytest.mark.peer
ODD = [
    {"id": "Stuck", "type": "Double", "value": 1.0, "writable": True, "stuck": True},
    {"id": "Locked", "type": "Double", "value": 1.0, "writable": True, "locked": True},
]
ALL_FIELDS = [
    *FIELDS,
    {"field": "stuck", "node": "ns=2;s=Stuck", "writable": True},
    {"field": "locked", "node": "ns=2;s=Locked", "writable": True},
]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with Peer(tmp_path_factory.mktemp("peer"), nodes=[*NODES, *ODD]) as running:
        yield running


@pytest.fixture
async def server(started: Peer) -> AsyncIterator[Peer]:
    await started.asked("reset")
    started.said.clear()
    yield started


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


@pytest.fixture
def settings(started: Peer) -> dict[str, Any]:
    return {**OPEN, "port": started.port, "node": ALL_FIELDS}


async def there(intake: Kept) -> None:
    await until(lambda: intake.newest().keys() == {*FIRST, "stuck", "locked"})


async def test_setpoints_of_every_type_are_written_and_the_value_read_back_is_observed(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    wanted = {"target": 7.25, "count": 65_535, "running": False, "name": "세종 펌프"}
    async with following(intake, bus, tmp_path, {**settings, "publishing_ms": 60_000.0}):
        await there(intake)
        for number, (field, value) in enumerate(wanted.items()):
            done = await carried_out(bus, command(field, value, id=f"c{number}"))
            assert (done["ok"], done["confirmed"]) == (True, True)
            assert str(value) in done["detail"]
            await until(lambda field=field, value=value: intake.newest()[field] == value)
    written = {one[0].lower(): one[1] for one in await server.asked("writes")}
    assert written == wanted


async def test_the_same_value_written_again_is_observed_again(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with following(intake, bus, tmp_path, settings):
        await there(intake)
        seen = len(intake.values("target"))
        assert (await carried_out(bus, command("target", 2.5)))["ok"]
        await until(lambda: len(intake.values("target")) > seen)


async def test_a_server_that_forgets_what_it_acknowledged_shows_the_value_before(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with following(intake, bus, tmp_path, settings):
        await there(intake)
        done = await carried_out(bus, command("stuck", 9.0))
        assert done["ok"] and done["detail"] == "acknowledged; then the server held 1.0"
        assert await server.asked("writes") == [["Stuck", 9]]


async def test_a_command_heard_twice_is_written_once_and_answered_twice(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with following(intake, bus, tmp_path, settings) as adapter:
        await there(intake)
        first = await carried_out(bus, command("target", 5))
        assert await carried_out(bus, command("target", 5)) == first
        assert adapter.health()["writes"] == 1
        assert await server.asked("writes") == [["Target", 5]]


@pytest.mark.parametrize(
    "case",
    [
        (command("pressure", 1), "no writable node"),
        (command("nothing", 1), "no writable node"),
        (command("count", -1), "does not fit into UInt16"),
        (command("count", 1.5), "does not fit into UInt16"),
        (command("target", "much"), "does not fit into Float"),
        (command("running", 2), "does not fit into Boolean"),
        (command("name", 5), "does not fit into String"),
        (command("target", 1, device="S-9"), "no server"),
        (command("target", 1, channel="pump"), "no writable node"),
        (command("target", 1, expires_at=1), "too late"),
    ],
)
async def test_a_command_that_cannot_be_is_refused_and_nothing_is_written(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any], case: tuple[bytes, str]
) -> None:
    payload, said = case
    async with following(intake, bus, tmp_path, settings):
        await there(intake)
        done = await carried_out(bus, payload)
        assert not done["ok"] and said in done["detail"] and not done.get("unsure")
        assert await server.asked("writes") == []


async def test_a_server_that_refuses_a_write_is_quoted_and_one_that_is_away_is_not_written(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with following(intake, bus, tmp_path, settings):
        await there(intake)
        done = await carried_out(bus, command("locked", 5))
        assert not done["ok"] and "BadUserAccessDenied" in done["detail"] and not done.get("unsure")
    async with following(intake, bus, tmp_path, {**settings, "port": free_port()}):
        done = await carried_out(bus, command("target", 5))
        assert not done["ok"] and "not connected" in done["detail"] and not done.get("unsure")


async def test_a_write_without_an_answer_is_called_unsure(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with following(intake, bus, tmp_path, {**settings, "timeout_s": 1.0}):
        await there(intake)
        server.signal(signal.SIGSTOP)
        try:
            done = await carried_out(bus, command("target", 5))
        finally:
            server.signal(signal.SIGCONT)
        assert (done["ok"], done["unsure"]) == (False, True)
        await until(lambda: intake.newest()["target"] == 5)  # it was written all the same, and that is seen
        await asyncio.sleep(0)
