"""What pymodbus' server holds comes in: types, channels, the standard's frames, refused addresses, a log away."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pymodbus.framer import FramerType
from pymodbus.simulator import DataType, SimData, SimDevice

from haechi.core.message import Message
from haechi.ports import Receipt
from modbus_kit import (
    CASES,
    FIRST,
    MAP,
    NOW,
    Ears,
    Kept,
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


@pytest.mark.parametrize(("framing", "framer"), [("tcp", FramerType.SOCKET), ("rtu", FramerType.RTU)])
async def test_every_type_of_register_comes_in_as_one_message_per_poll(
    intake: Kept, bus: Ears, framing: str, framer: FramerType
) -> None:
    async with plc(framer=framer) as (_, port), polling(intake, bus, {"port": port, "framing": framing}) as adapter:
        await until(lambda: len(intake.polls()) >= 2)
        assert intake.polls()[0] == FIRST
        assert intake.status() == [{"online": True}]
        assert adapter.health()["online"] == 1
    assert intake.messages[0].received_at == NOW
    assert not intake.status()[1:], "stopping reports nobody offline"


async def test_channels_of_one_plc_are_messages_of_their_own(intake: Kept, bus: Ears) -> None:
    registers = [{**one, "channel": "pump" if one["field"] == "running" else "station"} for one in MAP[:5]]
    async with plc() as (_, port), polling(intake, bus, {"port": port, "register": registers}):
        await until(lambda: len(intake.polls()) >= 2)
    found = {one.channel: json.loads(one.payload) for one in intake.messages}
    assert found["pump"] == {"running": False}
    assert set(found["station"]) == {"pressure", "flow", "target", "level"}


@pytest.mark.parametrize(("case", "payload"), CASES)
async def test_the_standards_own_frames_are_asked_and_understood(
    case: dict[str, Any], payload: bytes, intake: Kept, bus: Ears
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                asked.append(request)
                writer.write(request[:2] + bytes.fromhex(case["answer"])[2:])  # the transaction is the asker's
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    settings = {"port": server.sockets[0].getsockname()[1], **case["settings"]}
    async with server, polling(intake, bus, settings):
        await until(lambda: intake.polls(case["device"]))
    await asyncio.sleep(0.05)
    assert asked[0][2:] == bytes.fromhex(case["request"])[2:]
    assert intake.messages[-1].payload == payload


async def test_an_address_the_plc_does_not_have_costs_only_that_register(intake: Kept, bus: Ears) -> None:
    registers = [{"field": f"r{at}", "address": at} for at in range(6)]  # 4 and 5 do not exist
    async with plc() as (_, port), polling(intake, bus, {"port": port, "register": registers}) as adapter:
        await until(lambda: intake.polls() and set(intake.polls()[-1]) == {"r0", "r1", "r2", "r3"})
        assert adapter.health()["exceptions"] >= 2
        faults = [one["fault"] for one in intake.status()]
        assert faults[0] == "holding 0-5: illegal address"
        wanted = "holding 4-4: illegal address; holding 5-5: illegal address"
        await until(lambda: intake.status()[-1]["fault"] == wanted)
        count = len(intake.status())
        seen = len(intake.polls())
        await until(lambda: len(intake.polls()) > seen + 3)
        assert len(intake.status()) == count, "the same fault is told once"


async def test_a_log_that_is_away_holds_one_poll_and_loses_none_of_what_was_read(intake: Kept, bus: Ears) -> None:
    async with plc() as (_, port), polling(intake, bus, {"port": port}) as adapter:
        await until(lambda: len(intake.polls()) >= 2)
        intake.away = True
        await until(lambda: adapter.health()["pending"] == 1)
        polls = adapter.health()["polls"]
        await asyncio.sleep(0.4)
        assert (adapter.health()["pending"], adapter.health()["polls"]) == (1, polls), "no poll without room for it"
        intake.away = False
        await until(lambda: len(intake.polls()) >= polls + 2)


async def test_a_bug_met_while_storing_costs_that_poll_and_is_counted(intake: Kept, bus: Ears) -> None:
    async with plc() as (_, port), polling(intake, bus, {"port": port}) as adapter:
        await until(lambda: len(intake.polls()) >= 2)
        accept = intake.accept

        async def broken(messages: Sequence[Message]) -> Receipt:
            intake.accept = accept  # type: ignore[method-assign]
            raise ZeroDivisionError

        intake.accept = broken  # type: ignore[method-assign]
        seen = len(intake.polls())
        await until(lambda: len(intake.polls()) >= seen + 2)
        assert intake.rejected == {"not_stored": 1}
        assert adapter.health()["bugs"] == 1


async def test_what_all_devices_answer_within_a_moment_is_one_batch(intake: Kept, bus: Ears) -> None:
    devices = [{"id": f"PLC-{n}"} for n in range(1, 21)]
    settings = {"device": devices, "register": MAP[:1], "period_s": 0.3, "gather_ms": 50.0, "presence": False}
    async with plc() as (_, port), polling(intake, bus, {"port": port, **settings}):
        await until(lambda: len(intake.messages) >= 60)
    assert len(intake.messages) / intake.batches >= 5


async def test_a_float_that_is_no_number_is_counted_as_rejected(intake: Kept, bus: Ears) -> None:
    broken = SimDevice(1, simdata=[SimData(0, values=[0x7FC0, 0, 7], datatype=DataType.REGISTERS)])
    registers = [{"field": "level", "address": 0, "type": "f32"}, {"field": "count", "address": 2}]
    async with plc(broken) as (_, port), polling(intake, bus, {"port": port, "register": registers}):
        await until(lambda: len(intake.polls()) >= 2)
    assert intake.polls()[0] == {"count": 7}
    assert intake.rejected["not_a_number"] >= 2
