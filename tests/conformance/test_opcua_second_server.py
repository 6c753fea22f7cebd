"""asyncua's own server, for what node-opcua does not do: values without SourceTimestamp, clocks that differ."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua

from haechi.app.supervisor import free_port
from haechi.core.times import to_us
from opcua_kit import OPEN, Ears, Kept, carried_out, command, following, until

DEVICE_AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SERVER_AT = DEVICE_AT + timedelta(seconds=3)


class Second:
    """The server with one variable."""

    def __init__(self) -> None:
        self.port, self._server = free_port(), Server()

    async def start(self) -> None:
        await self._server.init()
        self._server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await self._server.register_namespace("urn:second")
        self.level = await self._server.nodes.objects.add_variable("ns=2;s=Level", "Level", 1.0)
        await self.level.set_writable()
        await self._server.start()

    async def set(self, value: float, source: datetime | None, server: datetime | None) -> None:
        wanted = ua.DataValue(ua.Variant(value, ua.VariantType.Double), None, source, server)
        await self._server.write_attribute_value(self.level.nodeid, wanted)

    async def stop(self) -> None:
        await self._server.stop()


@pytest.fixture
async def server() -> AsyncIterator[Second]:
    running = Second()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.mark.parametrize(
    ("time", "source", "wanted"),
    [
        ("source", DEVICE_AT, DEVICE_AT),
        ("source", None, SERVER_AT),
        ("server", DEVICE_AT, SERVER_AT),
        ("arrival", DEVICE_AT, None),
    ],
)
async def test_the_link_says_whose_clock_counts_and_what_is_there_stands_in(
    server: Second, intake: Kept, tmp_path: Path, time: str, source: datetime | None, wanted: datetime | None
) -> None:
    node = [{"field": "level", "node": "ns=2;s=Level"}]
    settings: dict[str, Any] = {**OPEN, "port": server.port, "node": node, "time": time}
    async with following(intake, Ears(), tmp_path, settings):
        await until(lambda: intake.newest() == {"level": 1.0})
        await server.set(2.0, source, SERVER_AT)
        await until(lambda: intake.newest() == {"level": 2.0})
    assert intake.samples[-1].observed_at == (wanted and to_us(wanted))
    assert str(to_us(SERVER_AT)) in intake.messages[-1].payload.decode(), "the server's stamp is kept beside it"


async def test_a_setpoint_reaches_another_makers_server(server: Second, intake: Kept, tmp_path: Path) -> None:
    bus = Ears()
    node = [{"field": "level", "node": "nsu=urn:second;s=Level", "writable": True}]
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": node}):
        await until(lambda: intake.newest() == {"level": 1.0})
        assert (await carried_out(bus, command("level", 4.25)))["ok"]
        await until(lambda: intake.newest() == {"level": 4.25})
    assert await server.level.read_value() == 4.25
