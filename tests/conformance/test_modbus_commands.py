"""Setpoints over Modbus: written, read back, refused; and mbpoll, an independent program, means the same registers."""

import asyncio
import shutil
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from haechi.app.supervisor import free_port
from haechi.testing.clock import StandingClock
from modbus_kit import (
    NOW,
    Ears,
    Kept,
    carried_out,
    command,
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


@pytest.mark.parametrize(("field", "value"), [("target", 7.3), ("level", -2.25), ("running", True)])
async def test_a_setpoint_is_written_acknowledged_and_read_back_at_once(
    intake: Kept, bus: Ears, field: str, value: Any
) -> None:
    async with plc() as (_, port), polling(intake, bus, {"port": port, "period_s": 60.0}):
        await until(lambda: len(intake.polls()) == 1)
        done = await carried_out(bus, command(field, value))
        assert (done["ok"], done["confirmed"], done["id"]) == (True, True, "c1")
        assert str(value) in done["detail"]
        assert (await until(lambda: intake.polls()[1:], 5))[0][field] == value, "the next poll does not wait a minute"


async def test_a_command_heard_twice_is_written_once_and_answered_twice(intake: Kept, bus: Ears) -> None:
    async with plc() as (_, port), polling(intake, bus, {"port": port}) as adapter:
        await until(intake.polls)
        first = await carried_out(bus, command("target", 5))
        assert await carried_out(bus, command("target", 5)) == first
        assert adapter.health()["writes"] == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (command("pressure", 1), "no writable register"),
        (command("nothing", 1), "no writable register"),
        (command("target", -1), "does not fit"),
        (command("target", "much"), "write a number"),
        (command("target", 1, device="PLC-9"), "no device"),
        (command("target", 1, channel="pump"), "no writable register"),
        (command("target", 1, expires_at=NOW - 1), "too late"),
    ],
)
async def test_a_command_that_cannot_be_is_refused_and_nothing_is_written(
    intake: Kept, bus: Ears, payload: bytes, said: str
) -> None:
    async with plc() as (_, port), polling(intake, bus, {"port": port}) as adapter:
        await until(intake.polls)
        done = await carried_out(bus, payload)
        assert not done["ok"] and said in done["detail"] and not done.get("unsure")
        assert adapter.health()["writes"] == 0


async def test_a_plc_that_refuses_a_write_is_quoted_and_one_that_is_away_is_not_written(
    intake: Kept, bus: Ears
) -> None:
    async def locked(function: int, *_: Any) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_VALUE if function == 6 else None

    async with plc(device(action=locked)) as (_, port), polling(intake, bus, {"port": port}) as adapter:
        await until(intake.polls)
        done = await carried_out(bus, command("target", 5))
        assert not done["ok"] and "illegal value" in done["detail"] and not done.get("unsure")
        assert adapter.health()["writes"] == 0
    async with polling(intake, bus, {"port": free_port()}):
        done = await carried_out(bus, command("target", 5))
        assert not done["ok"] and "not connected" in done["detail"] and not done.get("unsure")


async def test_a_command_that_waited_for_a_slow_poll_until_its_time_was_over_is_not_written(
    intake: Kept, bus: Ears
) -> None:
    async def slow(*_: Any) -> ExcCodes | None:
        await asyncio.sleep(0.3)
        return None

    clock = StandingClock()
    async with plc(device(action=slow)) as (_, port), polling(intake, bus, {"port": port}, clock) as adapter:
        await until(intake.polls)
        await asyncio.sleep(0.1)  # in the middle of a poll
        assert bus.heard is not None
        await bus.heard("command.plant", command("target", 5))
        clock.advance(1)
        done = await until(lambda: bus.done and bus.done[0])
        assert "too late" in done["detail"]
        assert adapter.health()["writes"] == 0


async def test_a_write_without_an_answer_is_called_unsure(intake: Kept, bus: Ears) -> None:
    async def mute(function: int, *_: Any) -> ExcCodes | None:
        if function == 6:
            await asyncio.sleep(1)
        return None

    async with plc(device(action=mute)) as (_, port), polling(intake, bus, {"port": port, "timeout_s": 0.2}):
        await until(intake.polls)
        done = await carried_out(bus, command("target", 5))
        assert (done["ok"], done["unsure"]) == (False, True)
        await asyncio.sleep(1)


async def mbpoll(*arguments: str) -> str:
    program = shutil.which("mbpoll")
    if program is None:
        pytest.skip("mbpoll is not installed")
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.peer
async def test_mbpoll_and_the_adapter_mean_the_same_registers(intake: Kept, bus: Ears) -> None:
    registers = [
        {"field": "target", "address": 10, "scale": 0.1, "writable": True},
        {"field": "level", "address": 20, "type": "f32", "writable": True},
        {"field": "running", "address": 0, "table": "coil", "type": "bit", "writable": True},
    ]
    async with plc() as (_, port), polling(intake, bus, {"port": port, "register": registers}):
        at = ("-m", "tcp", "-p", str(port), "-0", "-1", "-q")
        await mbpoll(*at, "-t", "4", "-r", "10", "127.0.0.1", "321")
        await mbpoll(*at, "-t", "4:float", "-B", "-r", "20", "127.0.0.1", "6.25")
        await mbpoll(*at, "-t", "0", "-r", "0", "127.0.0.1", "1")
        await until(lambda: intake.polls() and intake.polls()[-1] == {"target": 32.1, "level": 6.25, "running": True})
        assert (await carried_out(bus, command("target", 4.4)))["ok"]
        assert (await carried_out(bus, command("level", -1.5, id="c2")))["ok"]
        assert "[10]: \t44" in await mbpoll(*at, "-t", "4", "-r", "10", "127.0.0.1")
        assert "[20]: \t-1.5" in await mbpoll(*at, "-t", "4:float", "-B", "-r", "20", "127.0.0.1")
