"""The modbus adapter against pymodbus' own server, Debian's mbpoll, and the worked examples of the standard."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
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
    for path in sorted((Path(__file__).parents[2] / "src/haechi/plugins/adapters/modbus/cases").glob("*.json"))
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


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


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
    async with polling(intake, bus, settings):
        await until(lambda: intake.polls(case["device"]))
    server.close()
    await asyncio.sleep(0.05)
    assert asked[0][2:] == bytes.fromhex(case["request"])[2:]
    assert intake.messages[-1].payload == payload


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
    async with plc() as (_, port):
        devices = [{"id": "PLC-1", "port": port}, {"id": "DEAD", "port": dead}]
        async with polling(intake, bus, {"device": devices, "timeout_s": 0.2}) as adapter:
            await until(lambda: len(intake.polls()) >= 15)
            await until(lambda: adapter.health()["no_answer"] >= 2)
            assert intake.status("DEAD") == [{"online": False}], "said once"
            assert adapter.health()["online"] == 1
    server.close()
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


# --- commands ---


def command(field: str, value: Any, id: str = "c1", **changes: Any) -> bytes:
    body = {"id": id, "device": "PLC-1", "channel": "", "field": field, "value": value, "expires_at": NOW + 1}
    return json.dumps({**body, **changes}).encode()


async def carried_out(bus: Ears, payload: bytes) -> dict[str, Any]:
    assert bus.heard is not None
    before = len(bus.done)
    await bus.heard("command.plant", payload)
    await until(lambda: len(bus.done) > before)
    return bus.done[-1]


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


# --- an independent program ---


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
