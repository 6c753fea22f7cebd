"""The modbus adapter against PLCs whose answers are wrong: what is no answer to the question is never a value."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from modbus_kit import QUICK, Ears, Kept, carried_out, command, polling, until

Answer = Callable[[bytes], bytes]  # request PDU -> response PDU
TARGET = {"register": [{"field": "target", "address": 10, "writable": True}], "timeout_s": 0.3}


@contextlib.asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """A Modbus TCP server that answers as the test says; its port."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                number, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                said = answer(await reader.readexactly(length - 1))
                writer.write(struct.pack(">HHHB", number, 0, len(said) + 1, unit) + said)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


def registers(function: int, *words: int) -> bytes:
    return struct.pack(f">BB{len(words)}H", function, 2 * len(words), *words)


@pytest.mark.parametrize(
    "wrong", [registers(4, 666), registers(3, 666, 667), registers(3)], ids=["function", "too many", "too few"]
)
async def test_an_answer_to_another_question_is_no_value_and_ends_the_connection(
    intake: Kept, bus: Ears, wrong: bytes
) -> None:
    async with answering(lambda asked: wrong) as port, polling(intake, bus, {**QUICK, **TARGET, "port": port}) as plc:
        await until(lambda: plc.health()["connects"] >= 3)
    assert intake.polls() == []
    assert intake.status() == [{"online": False}]


@pytest.mark.parametrize("code", [4, 5, 11])
async def test_a_write_that_may_have_been_done_is_called_unsure(intake: Kept, bus: Ears, code: int) -> None:
    def answer(asked: bytes) -> bytes:
        return bytes([0x86, code]) if asked[0] == 6 else registers(3, 25)

    async with answering(answer) as port, polling(intake, bus, {**QUICK, **TARGET, "port": port}):
        await until(intake.polls)
        outcome = await carried_out(bus, command("target", 30))
    assert (outcome["ok"], outcome["unsure"]) == (False, True)
    assert "whether it was done is unknown" in outcome["detail"]


@pytest.mark.parametrize("code", [1, 2, 3, 6, 7, 8, 10])
async def test_a_write_that_was_not_done_has_failed(intake: Kept, bus: Ears, code: int) -> None:
    def answer(asked: bytes) -> bytes:
        return bytes([0x86, code]) if asked[0] == 6 else registers(3, 25)

    async with answering(answer) as port, polling(intake, bus, {**QUICK, **TARGET, "port": port}):
        await until(intake.polls)
        outcome = await carried_out(bus, command("target", 30))
    assert outcome["ok"] is False and "unsure" not in outcome
    assert "unaviable" not in outcome["detail"]


@pytest.mark.parametrize("after", [b"\x83\x02", b"\x83\x0b", registers(3), registers(4, 30)])
async def test_an_acknowledged_write_stays_confirmed_when_it_cannot_be_read_back(
    intake: Kept, bus: Ears, after: bytes
) -> None:
    written = []

    def answer(asked: bytes) -> bytes:
        if asked[0] == 6:
            written.append(asked)
            return asked
        return after if written else registers(3, 25)

    async with answering(answer) as port, polling(intake, bus, {**QUICK, **TARGET, "port": port}):
        await until(intake.polls)
        outcome = await carried_out(bus, command("target", 30))
    assert (outcome["ok"], outcome["confirmed"]) == (True, True)
    assert "acknowledged; reading it back failed" in outcome["detail"]
