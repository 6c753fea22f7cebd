"""A PLC that is slow, silent or gone delays nobody else and is polled again when it is back."""

import asyncio
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from haechi.app.supervisor import free_port
from modbus_kit import (
    Ears,
    Kept,
    device,
    plc,
    polling,
    until,
)


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


async def test_a_slow_plc_delays_nobody_else(intake: Kept, bus: Ears) -> None:
    async def slow(*_: Any) -> ExcCodes | None:
        await asyncio.sleep(0.4)
        return None

    registers = [{"field": "pressure", "address": 0}]
    async with plc() as (_, quick), plc(device(action=slow)) as (_, slow_port):
        devices = [{"id": "SLOW", "port": slow_port}] + [{"id": f"PLC-{n}", "port": quick} for n in range(1, 6)]
        async with polling(intake, bus, {"device": devices, "register": registers, "timeout_s": 2.0}) as adapter:
            await until(lambda: len(intake.polls("SLOW")) >= 3)
            assert all(len(intake.polls(f"PLC-{n}")) >= 8 for n in range(1, 6)), "0.05 s against 0.4 s"
            assert adapter.health()["skipped"] > 0, "the slow one misses polls, and says so"
    assert intake.status("SLOW") == [{"online": True}]


async def test_a_plc_that_never_answers_delays_nobody_else(intake: Kept, bus: Ears) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    dead = server.sockets[0].getsockname()[1]
    async with server, plc() as (_, port):
        devices = [{"id": "PLC-1", "port": port}, {"id": "DEAD", "port": dead}]
        async with polling(intake, bus, {"device": devices, "timeout_s": 0.2}) as adapter:
            await until(lambda: len(intake.polls()) >= 15)
            await until(lambda: adapter.health()["no_answer"] >= 2)
            assert intake.status("DEAD") == [{"online": False}], "said once"
            assert adapter.health()["online"] == 1
    await asyncio.sleep(0.05)


async def test_a_plc_that_comes_back_is_polled_again_and_presence_says_both(intake: Kept, bus: Ears) -> None:
    port = free_port()
    async with polling(intake, bus, {"port": port}) as adapter:
        await until(lambda: adapter.health()["connects"] >= 3)
        assert intake.polls() == []
        for _ in range(2):
            seen = len(intake.polls())
            async with plc(port=port):
                await until(lambda seen=seen: len(intake.polls()) >= seen + 2)
            await until(lambda: intake.status()[-1] == {"online": False})
    wanted = [{"online": False}, *[{"online": True}, {"online": False}] * 2]
    assert intake.status() == wanted
