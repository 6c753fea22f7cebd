"""Relays and RTUs of the grid as an independent Modbus master sees them: Debian's mbpoll reads and writes registers."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haechi_testbed.clock import SECOND, parse_instant
from haechi_testbed.devices.modbus.bank import Bank
from haechi_testbed.part import Pace
from haechi_testbed.twins.power import registers
from haechi_testbed.twins.power.part import PowerPart

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
START = parse_instant("2026-11-23T12:00:00+09:00")


@pytest.fixture
async def part() -> AsyncIterator[PowerPart]:
    one = PowerPart(CITY, {}, ("127.0.0.1", 0), Pace(START, 60.0, 1))
    await one.bank.start()
    assert not one.bank.trouble
    yield one
    await one.finish(0.0)
    await asyncio.sleep(0.05)


async def mbpoll(part: PowerPart, unit: int, *arguments: str) -> tuple[int, str]:
    """Exit status and what it printed."""
    program = shutil.which("mbpoll")
    if program is None:
        pytest.skip("mbpoll is not installed")
    at = ("-m", "tcp", "-p", str(part.bank.port), "-a", str(unit), "-0", "-1", "-q", "-o", "5")
    process = await asyncio.create_subprocess_exec(
        program, *at, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def read(part: PowerPart, unit: int, *how: str) -> list[float]:
    status, said = await mbpoll(part, unit, *how, "127.0.0.1")
    assert status == 0, said
    return [float(one) for one in re.findall(r"\[\d+\]:\s+(-?[\d.e+]+)", said)]


@pytest.mark.peer
async def test_a_relay_shows_its_feeder_in_floats_with_the_high_word_first(part: PowerPart) -> None:
    truth = part.twin.observe()["DL-01"]
    kv, amps = await read(part, 11, "-t", "3:float", "-B", "-r", "0", "-c", "2")
    assert kv == pytest.approx(float(truth["bus"]), abs=0.03)
    assert amps == pytest.approx(float(truth["current"]), rel=0.02)
    tenths = await read(part, 11, "-t", "3:int", "-B", "-r", "4", "-c", "1")
    assert tenths[0] / 10 == pytest.approx(float(truth["power"]), rel=0.02)
    assert await read(part, 11, "-t", "0", "-r", "0") == [1.0]


@pytest.mark.peer
async def test_the_substation_puts_the_low_word_first_and_scales_temperatures(part: PowerPart) -> None:
    truth = part.twin.observe()["MTR-2"]
    (kv,) = await read(part, 1, "-t", "3:float", "-r", "20", "-c", "1")
    assert kv == pytest.approx(float(truth["bus"]), abs=0.03)
    oil, winding = await read(part, 1, "-t", "3", "-r", "29", "-c", "2")
    assert oil / 10 == pytest.approx(float(truth["oil"]), abs=1.0)
    assert winding >= oil


@pytest.mark.peer
async def test_a_district_rtu_answers_for_all_its_transformers_in_one_request(part: PowerPart) -> None:
    count = registers.STATION_SPAN * 11
    words = await read(part, 33, "-t", "3", "-r", "0", "-c", str(count))
    assert len(words) == count
    volts = [words[registers.STATION_SPAN * slot] / 10 for slot in range(11)]
    truth = [part.twin.observe()[f"TR-{number:03d}"]["voltage"] for number in range(23, 34)]
    assert volts == pytest.approx([float(one) for one in truth], abs=2.0)


@pytest.mark.peer
async def test_a_master_opens_a_breaker_and_the_feeder_is_dead(part: PowerPart) -> None:
    status, said = await mbpoll(part, 14, "-t", "0", "-r", "0", "127.0.0.1", "0")
    assert status == 0, said
    part.step(START + 10 * SECOND, 10)
    assert await read(part, 14, "-t", "0", "-r", "0") == [0.0]
    assert await read(part, 14, "-t", "3:float", "-B", "-r", "0", "-c", "2") == [0.0, 0.0]
    assert part.twin.observe()["DL-04"]["current"] == 0.0


@pytest.mark.peer
async def test_a_breaker_that_cannot_be_closed_shows_itself_open(part: PowerPart) -> None:
    part.apply("outage", "DL-02", True, 1.0)
    part.step(START + 10 * SECOND, 10)
    status, _ = await mbpoll(part, 12, "-t", "0", "-r", "0", "127.0.0.1", "1")
    assert status == 0
    assert await read(part, 12, "-t", "0", "-r", "0") == [0.0]


@pytest.mark.peer
async def test_setpoints_of_tap_changer_and_capacitors_act_on_the_grid(part: PowerPart) -> None:
    assert (await mbpoll(part, 1, "-t", "4:float", "-r", "0", "127.0.0.1", "23.4"))[0] == 0
    assert (await mbpoll(part, 1, "-t", "4", "-r", "11", "127.0.0.1", "3"))[0] == 0
    assert part.twin.targets_kv == {"MTR-1": 23.4, "MTR-2": 22.9}
    for tick in range(60):
        part.step(START + (tick + 1) * 10 * SECOND, 10)
    (kv,) = await read(part, 1, "-t", "3:float", "-r", "0", "-c", "1")
    assert kv == pytest.approx(23.4, abs=0.25)
    (kvar,) = await read(part, 1, "-t", "3:int", "-r", "62", "-c", "1")
    assert kvar / 10 == pytest.approx(2700, rel=0.06)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("unit", "what"),
    [
        (1, ("-t", "4:float", "-r", "0", "127.0.0.1", "30")),  # outside what the tap changer holds
        (1, ("-t", "4", "-r", "10", "127.0.0.1", "9")),  # more steps than there are
        (11, ("-t", "0", "-r", "3", "127.0.0.1", "1")),  # no such coil
        (1, ("-t", "4", "-r", "13", "127.0.0.1", "1")),  # nothing to write there
    ],
)
async def test_what_a_device_does_not_take_is_refused_on_the_wire(
    part: PowerPart, unit: int, what: tuple[str, ...]
) -> None:
    status, said = await mbpoll(part, unit, *what)
    assert status != 0
    assert "Illegal data value" in said
    assert part.twin.targets_kv["MTR-1"] == 22.9


@pytest.mark.peer
async def test_for_a_silent_unit_the_gateway_answers_that_it_does_not_respond(part: PowerPart) -> None:
    part.apply("silent", "FRTU-03", True, 1.0)
    status, said = await mbpoll(part, 33, "-t", "3", "-r", "0", "-c", "5", "127.0.0.1")
    assert status != 0
    assert "Target device failed to respond" in said
    assert (await mbpoll(part, 34, "-t", "3", "-r", "0", "-c", "5", "127.0.0.1"))[0] == 0
    part.apply("silent", "FRTU-03", False, 1.0)
    assert (await mbpoll(part, 33, "-t", "3", "-r", "0", "-c", "5", "127.0.0.1"))[0] == 0


async def test_a_port_that_is_taken_is_said_and_had_as_soon_as_it_is_free(
    part: PowerPart, capsys: pytest.CaptureFixture[str]
) -> None:
    late = Bank(list(part.units.values()), "127.0.0.1", part.bank.port)
    await late.start()
    assert f"cannot listen on 127.0.0.1:{part.bank.port}" in capsys.readouterr().err
    assert late.trouble
    await part.bank.stop()
    async with asyncio.timeout(20):
        while late.trouble:  # noqa: ASYNC110 - it looks again every two seconds
            await asyncio.sleep(0.05)
    await late.stop()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("field", [*registers.RELAY[1:], *registers.main_fields(1), *registers.station_fields(3)])
def test_what_a_register_shows_is_what_was_put_in(field: registers.Field) -> None:
    for value in (0.0, 21.3, 229.8):
        assert registers.decode(field, registers.encode(field, value)) == pytest.approx(value, abs=field.scale)


def test_what_does_not_fit_shows_the_nearest_that_does() -> None:
    field = registers.STATION[0]
    assert registers.decode(field, registers.encode(field, 99_999.0)) == pytest.approx(6553.5)
    assert registers.decode(field, registers.encode(field, -5.0)) == 0.0
