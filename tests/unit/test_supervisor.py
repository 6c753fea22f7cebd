"""The supervisor: a nats-server that does not come back at the first try is tried again."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from haechi.app import order, supervisor
from haechi.app.settings import RunSettings
from haechi.app.supervisor import Supervisor
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.server import Address


class Server:
    """Dies once, and refuses to start twice."""

    def __init__(self) -> None:
        self.starts, self.pid = 0, 1
        self.up, self.died = asyncio.Event(), asyncio.Event()
        self.died.set()

    async def ended(self) -> int:
        await self.died.wait()
        return 1

    async def start(self) -> None:
        self.starts += 1
        if self.starts < 3:
            raise Unavailable("nats-server stopped at once")
        self.died.clear()
        self.up.set()


async def test_a_log_that_does_not_come_back_at_once_does_not_end_the_city(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.0, 0.0))
    one = Supervisor(RunSettings("city", str(tmp_path), Address(1, "token")))
    server = Server()
    monkeypatch.setattr(one, "_server", server)
    keeping = asyncio.create_task(one._keep_server())
    await asyncio.wait_for(server.up.wait(), 5)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert server.starts == 3


def test_a_free_port_is_one_that_no_outgoing_connection_gets_by_chance() -> None:
    low, high = supervisor.SERVER_PORTS
    assert all(low <= supervisor.free_port() < high for _ in range(20))


async def test_a_role_is_waited_for_as_long_as_it_comes_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RunSettings("city", str(tmp_path), Address(1, "token"))
    settings.run_folder.mkdir()
    looks = []

    def advanced(where: RunSettings, roles: Sequence[str]) -> Mapping[str, str]:
        looks.append(roles)
        order.advance(where, "pipeline", f"{min(len(looks), 50)} of 50")  # from there on it stands still
        return tell(where, roles)

    tell = order.advanced
    monkeypatch.setattr(order, "advanced", advanced)
    monkeypatch.setattr(supervisor, "START_S", 0.0)
    monkeypatch.setattr(supervisor, "LOOK_S", 0.001)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Supervisor(settings, ("pipeline",))._all_ready(), 30)
    assert len(looks) == 51
