"""The virtual HJ 212 device against a platform written here: published frames, answers, resends, outages, refusals."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from haechi_testbed.devices.hj212 import wire
from haechi_testbed.devices.hj212.device import Hj212Device, Manner

AT_US = 1_795_338_000_000_000  # 2026-11-22T09:00:00Z
ANNEX_A = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"


class FileClock:
    def now_us(self) -> int:
        return AT_US


class Platform:
    """Takes frames and answers as it is told."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.mute = False  # hears, answers nothing
        self.result = ""  # QnRtn instead of 9014
        self.port = 0
        self.connections: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                frame = await reader.readuntil(b"\r\n")
                self.frames.append(frame)
                if not self.mute:
                    writer.write(self.answer(frame))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, frame: bytes) -> bytes:
        qn = re.search(rb"QN=(\d{17})", frame)
        assert qn is not None
        cn = "9013" if b"CN=9015" in frame else "9011" if self.result else "9014"
        body = f"QnRtn={self.result}" if self.result else ""
        return wire.frame(f"QN={qn[1].decode()};ST=91;CN={cn};PW=pw;MN=M1;Flag=4;CP=&&{body}&&")


@asynccontextmanager
async def listening(platform: Platform) -> AsyncIterator[asyncio.Server]:
    server = await asyncio.start_server(platform.talk, "127.0.0.1", platform.port)
    platform.port = server.sockets[0].getsockname()[1]
    yield server
    server.close()
    for writer in platform.connections:
        writer.close()
    await server.wait_closed()


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    platform = Platform()
    async with listening(platform):
        yield platform


def device(platform: Platform, manner: Manner, seed: int = 1) -> Hj212Device:
    made = Hj212Device("M1", "pw", "127.0.0.1", platform.port, FileClock(), random.Random(seed))
    made.manner = manner
    return made


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.002)


def test_its_own_encoder_writes_the_published_frame() -> None:
    assert wire.frame(ANNEX_A) == f"##0101{ANNEX_A}1C80\r\n".encode()


def test_answers_are_found_in_pieces_and_damaged_ones_left_out() -> None:
    good = wire.frame("QN=20160801085857223;ST=91;CN=9014;PW=1;MN=M;Flag=4;CP=&&&&")
    refused = wire.frame("ST=91;CN=9011;PW=1;MN=M;Flag=0;CP=&&QN=20160801085857223;QnRtn=3&&")
    damaged = good.replace(b"9014", b"9013")
    found, rest = wire.answers(good + damaged + refused + good[:20])
    assert found == [
        wire.Answer("9014", "20160801085857223", ""),
        wire.Answer("9011", "20160801085857223", "3"),
    ]
    assert rest == good[:20]


async def test_an_upload_is_written_in_local_time_and_acknowledged(platform: Platform) -> None:
    one = device(platform, Manner(backoff_s=0.01))
    await one.send(AT_US, {"a34004": 12.5, "a01008-Info": "NNW"}, {"a34004": "N"})
    assert await one.close(5) == 0
    assert (one.sent, one.acknowledged, one.refused) == (1, 1, 0)
    assert platform.frames == [
        wire.frame(
            "QN=20261122180000000;ST=22;CN=2011;PW=pw;MN=M1;Flag=5;"
            "CP=&&DataTime=20261122180000;a34004-Rtd=12.5,a34004-Flag=N;a01008-Info=NNW&&"
        )
    ]


async def test_aggregates_say_so(platform: Platform) -> None:
    one = device(platform, Manner())
    one.post(AT_US, {"a34004": 1 / 3}, cn=wire.HOUR)
    one.start()
    await one.close(5)
    assert b"CN=2061" in platform.frames[0]
    assert b"a34004-Avg=0.3333333333333333;" in platform.frames[0].replace(b"&&", b";")


async def test_what_is_not_acknowledged_is_sent_again_byte_for_byte(platform: Platform) -> None:
    platform.mute = True
    one = device(platform, Manner(answer_s=0.1))
    await one.send(AT_US, {"a": 1.0})
    await until(lambda: len(platform.frames) >= 2)
    assert len(set(platform.frames)) == 1
    platform.mute = False
    assert await one.close(5) == 0
    assert one.acknowledged == 1
    assert one.resent >= 1


async def test_after_a_lost_connection_all_that_is_unanswered_is_sent_in_order(platform: Platform) -> None:
    platform.mute = True
    one = device(platform, Manner(backoff_s=0.01))
    for number in range(20):
        await one.send(AT_US + number * 1_000_000, {"a": float(number)})
    await until(lambda: len(platform.frames) == 20)
    first = list(platform.frames)
    platform.mute = False
    platform.connections[0].close()
    assert await one.close(5) == 0
    assert platform.frames[20:] == first
    assert len(platform.connections) == 2


async def test_a_platform_that_is_not_there_yet_is_called_again() -> None:
    platform = Platform()
    async with listening(platform):
        pass
    one = device(platform, Manner(backoff_s=0.02))
    await one.send(AT_US, {"a": 1.0})
    await asyncio.sleep(0.1)
    assert one.waiting == 1
    async with listening(platform):
        assert await one.close(5) == 0


async def test_a_refusal_settles_the_upload_and_is_remembered(platform: Platform) -> None:
    platform.result = "3"
    one = device(platform, Manner())
    await one.send(AT_US, {"a": 1.0})
    assert await one.close(5) == 0
    assert (one.acknowledged, one.refused, one.refusal) == (0, 1, "3")


async def test_no_more_than_the_window_is_on_the_line(platform: Platform) -> None:
    platform.mute = True
    one = device(platform, Manner(window=10))
    for number in range(50):
        await one.send(AT_US + number, {"a": 1.0})
    await until(lambda: len(platform.frames) == 10)
    await asyncio.sleep(0.05)
    assert len(platform.frames) == 10
    await one.close()


async def test_a_full_memory_makes_send_wait_and_post_give_the_oldest_up(platform: Platform) -> None:
    platform.mute = True
    one = device(platform, Manner(kept=3))
    for number in range(5):
        one.post(AT_US, {"a": float(number)})
    assert (one.waiting, one.given_up) == (3, 2)
    waiting = asyncio.create_task(one.send(AT_US, {"a": 9.0}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    platform.mute = False
    platform.connections[0].close()
    await waiting
    assert await one.close(5) == 0
    assert one.sent == one.acknowledged + one.given_up == 6


async def test_an_outage_keeps_and_then_sends_everything(platform: Platform) -> None:
    one = device(platform, Manner(backoff_s=0.01))
    one.start()
    await until(lambda: len(platform.connections) == 1)
    one.go_offline()
    await asyncio.sleep(0.05)
    one.post(AT_US, {"a": 1.0})
    await asyncio.sleep(0.05)
    assert platform.frames == []
    one.come_back()
    assert await one.close(5) == 0
    assert one.acknowledged == 1


async def test_outages_come_by_themselves_and_lose_nothing(platform: Platform) -> None:
    one = device(platform, Manner(backoff_s=0.01, outages_per_h=72_000.0, outage_s=0.01))
    for number in range(40):
        await one.send(AT_US + number * 1_000_000, {"a": float(number)})
        await asyncio.sleep(0.01)
    assert await one.close(10) == 0
    assert one.acknowledged == 40
    assert len(platform.connections) > 2


async def test_a_silent_device_shows_that_it_lives(platform: Platform) -> None:
    one = device(platform, Manner(heartbeat_s=0.05))
    one.start()
    await until(lambda: len(platform.frames) >= 2)
    assert all(b"CN=9015" in frame for frame in platform.frames)
    assert (one.sent, one.waiting) == (0, 0)
    await one.close()


async def test_a_clock_that_is_off_is_off_by_the_same_for_the_same_seed(platform: Platform) -> None:
    skews = [device(platform, Manner(skew_s=2.0), seed).skew_us for seed in (1, 1, 2)]
    assert skews[0] == skews[1] != skews[2]
    one = device(platform, Manner(skew_s=2.0), 1)
    await one.send(AT_US, {"a": 1.0})
    await one.close(5)
    written = wire.data_time(AT_US + skews[0], 9.0)
    assert f"DataTime={written};".encode() in platform.frames[0]
