"""Fixtures shared by all tests: a real nats-server, and a clock that stands where it is put."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from haechi.app.supervisor import free_port
from haechi.plugins.stores.nats.log import NatsBus, NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, NatsServer, ServerSettings
from haechi.testing.clock import StandingClock

settings.register_profile("haechi", deadline=None)  # no test asserts time: a busy machine is no defect
settings.load_profile("haechi")


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    settings = ServerSettings(tmp_path / "log", Address(free_port(), "token-of-this-test"))
    server = NatsServer(settings)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def nats_address(nats_server: NatsServer) -> Address:
    return nats_server._settings.address


@pytest.fixture
async def log(nats_address: Address) -> AsyncIterator[NatsLog]:
    client = await connect(nats_address, "test")
    log = NatsLog(client)
    await log.open()
    yield log
    await close(client)


@pytest.fixture
async def bus(nats_address: Address) -> AsyncIterator[NatsBus]:
    client = await connect(nats_address, "test-bus")
    yield NatsBus(client)
    await close(client)
