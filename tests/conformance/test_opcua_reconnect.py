"""Servers, connections and logs that go away and come back: what is kept, what is told; against node-opcua."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from haechi.core.times import parse_iso
from haechi.plugins.wire.opcua import session
from opcua_kit import FIELDS, FIRST, OPEN, Ears, Kept, Peer, following, until

pytestmark = [pytest.mark.peer, pytest.mark.alone]  # the peer samples by timers, which a busy machine lets pass
DEEP = {**OPEN, "queue": 100}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with Peer(tmp_path_factory.mktemp("peer")) as running:
        yield running


@pytest.fixture
async def server(started: Peer) -> AsyncIterator[Peer]:
    await started.asked("forget")
    await started.asked("reset")
    started.said.clear()
    yield started


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


async def test_what_changes_while_the_gateway_is_away_comes_when_it_is_back(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    settings = {**DEEP, "port": server.port}
    async with following(intake, bus, tmp_path, settings):
        await until(lambda: intake.newest() == FIRST)
    server.tell("churn", ids=["Pressure"], count=10, everyMs=120)
    await until(lambda: {"churned": 10} in server.said)
    async with following(intake, bus, tmp_path, settings) as adapter:
        await until(lambda: intake.newest()["pressure"] == 10)
        assert adapter.health()["resumed"] == 1
        server.set("Pressure", 77.0)
        await until(lambda: intake.newest()["pressure"] == 77)
    assert list(dict.fromkeys(intake.values("pressure"))) == [1.5, *range(1, 11), 77], "all, in order; some twice"
    assert not any("gapFrom" in one for one in intake.status()), "nothing is missing, so no gap is told"


async def test_what_was_not_on_the_log_is_asked_for_again(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    settings = {**DEEP, "port": server.port}
    async with following(intake, bus, tmp_path, settings):
        await until(lambda: intake.newest() == FIRST)
        intake.away = True
        server.tell("churn", ids=["Pressure"], count=10, everyMs=120)
        await until(lambda: {"churned": 10} in server.said)
    assert intake.newest()["pressure"] == 1.5, "the log never took them, and the gateway is gone"
    intake.away = False
    async with following(intake, bus, tmp_path, settings) as adapter:
        await until(lambda: intake.newest()["pressure"] == 10)
        assert adapter.health()["republished"] >= 1
        assert adapter.health()["lost"] == 0
    assert list(dict.fromkeys(intake.values("pressure"))) == [1.5, *range(1, 11)], "all, in order; some twice"


async def test_a_log_that_is_away_holds_one_publication_and_loses_nothing(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    async with following(intake, bus, tmp_path, {**DEEP, "port": server.port}) as adapter:
        await until(lambda: intake.newest() == FIRST)
        intake.away = True
        server.tell("churn", ids=["Pressure"], count=10, everyMs=120)
        await until(lambda: {"churned": 10} in server.said)
        assert adapter.health()["pending"] == 1, "no publication without room for it"
        intake.away = False
        await until(lambda: intake.newest()["pressure"] == 10)
    assert intake.values("pressure") == [1.5, *range(1, 11)]


async def test_a_server_that_forgot_us_is_subscribed_to_again_and_the_gap_is_told(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port}):
        await until(lambda: intake.newest() == FIRST)
        await server.asked("forget")
        gap = await until(lambda: next((one for one in intake.status() if "gapFrom" in one), None))
        assert parse_iso(gap["gapFrom"]) < parse_iso(gap["gapTo"])
        server.set("Pressure", 4.5)
        await until(lambda: intake.newest()["pressure"] == 4.5)


async def test_a_link_that_was_changed_leaves_no_old_session_behind(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    for node in (FIELDS, FIELDS[:2], FIELDS[:3]):
        async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": node}) as adapter:
            await until(lambda node=node: adapter.health()["subscribed"] == len(node))
            assert await server.asked("count") == 1


async def test_a_server_that_hangs_or_never_answers_delays_no_other(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "KEEP_ALIVE_MS", 500.0)

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    dead = await asyncio.start_server(never, "127.0.0.1", 0)
    url = f"opc.tcp://127.0.0.1:{dead.sockets[0].getsockname()[1]}"
    async with dead:
        with Peer(tmp_path / "hanging") as hanging:
            devices = [
                {"id": "S-1"},
                {"id": "S-2", "url": f"opc.tcp://127.0.0.1:{hanging.port}"},
                {"id": "S-3", "url": url},
            ]
            settings = {**OPEN, "port": server.port, "device": devices, "timeout_s": 1.0}
            async with following(intake, bus, tmp_path / "link", settings) as adapter:
                await until(lambda: adapter.health()["online"] == 2 and intake.status("S-2") and intake.status("S-3"))
                hanging.signal(signal.SIGSTOP)
                server.tell("churn", ids=["Pressure"], count=20, everyMs=120)
                await until(lambda: intake.status("S-2")[-1] == {"online": False})
                await until(lambda: {"churned": 20} in server.said and intake.newest()["pressure"] == 20)
                assert [one for one in intake.values("pressure") if one == int(one)] == [*range(1, 21)]
                assert intake.status("S-3") == [{"online": False}], "said once"
                hanging.signal(signal.SIGCONT)
                await until(lambda: intake.status("S-2")[-1].get("online"))
                hanging.kill()
                await until(lambda: intake.status("S-2")[-1] == {"online": False})
                hanging.start()
                back = await until(lambda: intake.status("S-2")[-1] if intake.status("S-2")[-1]["online"] else None, 60)
                assert "gapFrom" in back
                hanging.set("Pressure", 0.25)
                await until(lambda: 0.25 in intake.values("pressure"))
    await asyncio.sleep(0.05)


async def test_a_node_that_comes_later_is_found(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from haechi.plugins.adapters.opcua import station

    monkeypatch.setattr(station, "REFUSED_S", 0.2)
    fields = [FIELDS[0], {"field": "late", "node": "ns=2;s=Late"}]
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": fields}) as adapter:
        await until(lambda: adapter.health()["unknown_nodes"] == 1)
        server.tell("add", node={"id": "Late", "type": "Double", "value": 6.5})
        await until(lambda: intake.newest().get("late") == 6.5)
        await until(lambda: intake.status()[-1] == {"online": True, "fault": ""})
