"""Shared by the tests of the modbus adapter: an intake and a bus inside the test, pymodbus' own server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.core.message import Message
from haechi.core.times import to_us
from haechi.plugins.adapters.modbus.adapter import ModbusAdapter, create
from haechi.ports import AdapterContext, Receipt
from haechi.testing.clock import StandingClock

CASES = [
    pytest.param(json.loads(path.read_text("utf-8")), path.with_suffix(".txt").read_bytes(), id=path.stem)
    for path in sorted((Path(__file__).parents[1] / "src/haechi/plugins/adapters/modbus/cases").glob("*.json"))
]
NOW = to_us(StandingClock().now())
MAP = [
    {"field": "pressure", "address": 0, "type": "i16", "scale": 0.1},
    {"field": "flow", "address": 2, "type": "f32", "word_order": "little"},
    {"field": "target", "address": 10, "scale": 0.1, "writable": True},
    {"field": "level", "address": 20, "type": "f32", "writable": True},
    {"field": "running", "address": 0, "table": "coil", "type": "bit", "writable": True},
    {"field": "door", "address": 3, "table": "discrete", "type": "bit"},
    {"field": "serial", "address": 100, "table": "input", "type": "string", "words": 3},
]
QUICK = {"period_s": 0.05, "timeout_s": 1.0, "reconnect_s": 0.02, "reconnect_s_max": 0.1}


class Kept:
    """An intake that keeps what it is given; `away` makes it unavailable."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.batches = 0
        self.away = False
        self.rejected: dict[str, int] = {}

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        if self.away:
            raise Unavailable("the log is away")
        self.messages += messages
        self.batches += 1
        return Receipt(stored=len(messages))

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def polls(self, device: str = "PLC-1") -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.messages if one.device == device and one.channel != "$status"]

    def status(self, device: str = "PLC-1") -> list[dict[str, Any]]:
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
        raise AssertionError("a poller has nobody to let in")

    knows = verify


def bits(*values: bool) -> list[SimData]:
    return [SimData(0, values=list(values), datatype=DataType.BITS)]


def device(unit: int = 1, **more: Any) -> SimDevice:
    holding = [
        SimData(0, values=[0xFFF6, 7, 0x0000, 0x4148], datatype=DataType.REGISTERS),  # -1.0, a gap, 12.5
        SimData(10, values=[25], datatype=DataType.REGISTERS),
        SimData(20, values=[0, 0], datatype=DataType.REGISTERS),
    ]
    text = [SimData(100, values="AB-12", datatype=DataType.STRING)]
    return SimDevice(unit, simdata=(bits(*[False] * 8), bits(False, False, False, True), holding, text), **more)


FIRST = {"pressure": -1.0, "flow": 12.5, "target": 2.5, "level": 0.0, "running": False, "door": True, "serial": "AB-12"}


@contextlib.asynccontextmanager
async def plc(
    *devices: SimDevice, port: int = 0, framer: FramerType = FramerType.SOCKET
) -> AsyncIterator[tuple[ModbusTcpServer, int]]:
    port = port or free_port()
    server = ModbusTcpServer(list(devices or [device()]), framer=framer, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield server, port
    finally:
        await server.shutdown()
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def polling(
    intake: Kept, bus: Ears, settings: Mapping[str, Any], clock: StandingClock | None = None
) -> AsyncIterator[ModbusAdapter]:
    context = AdapterContext("plant", intake, Nobody(), bus, clock or StandingClock(), "")
    adapter = create({"device": [{"id": "PLC-1"}], "register": MAP, **QUICK, **settings}, context)
    await adapter.start()
    try:
        yield adapter
    finally:
        await adapter.stop()


async def until(found: Callable[[], Any], seconds: float = 10.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (answer := found()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    return answer


def command(field: str, value: Any, id: str = "c1", **changes: Any) -> bytes:
    body = {"id": id, "device": "PLC-1", "channel": "", "field": field, "value": value, "expires_at": NOW + 1}
    return json.dumps({**body, **changes}).encode()


async def carried_out(bus: Ears, payload: bytes) -> dict[str, Any]:
    assert bus.heard is not None
    before = len(bus.done)
    await bus.heard("command.plant", payload)
    await until(lambda: len(bus.done) > before)
    return bus.done[-1]
