"""Replay: rows as the file has them, sent through real sockets, counted to the end; wrong input is named."""

import argparse
import asyncio
import gzip
import json
import os
import re
import signal
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haechi_testbed.devices.hj212 import wire
from haechi_testbed.replay import add_parser, run
from haechi_testbed.replay.rows import BEIJING_AIR, Layout, Row, Rows

HEADER = "time,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station\n"
LINES = [
    "2013-03-01 00:00,4.0,4.0,4.0,7.0,300.0,77.0,-0.7,1023.0,-18.8,0.0,NNW,4.4,Aotizhongxin\n",
    "2013-03-01 01:00,8.25,,,,,,,,,,,4.7,Aotizhongxin\n",
    "2013-03-01 00:00,1.0,,,,,,,,,,E,0.1,Dongsi\n",
]
BEIJING = Path("/work/shared/data/beijing_air/prsa_2013_2016.csv.gz")
MIDNIGHT_US = 1_362_067_200_000_000  # 2013-02-28T16:00Z


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "air.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "".join(LINES)).encode()))
    return path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.json"
    secrets = {"hj212": "pw", "mqtt": "pw"}
    path.write_text(json.dumps({"Aotizhongxin": secrets, "Dongsi": secrets}))
    return path


class HjPlatform:
    """Answers every upload; `refuse` instead, or `mute`."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.refuse = self.mute = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = (await reader.readuntil(b"\r\n")).decode()
                self.frames.append(frame)
                qn = re.search(r"QN=(\d+)", frame)
                assert qn is not None
                cn, body = ("9011", "QnRtn=3") if self.refuse else ("9014", "")
                if not self.mute:
                    writer.write(wire.frame(f"QN={qn[1]};ST=91;CN={cn};PW=pw;MN=M1;Flag=4;CP=&&{body}&&"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Broker:
    """Just enough of MQTT 3.1.1 to take QoS 1; closes the first connection after `break_after` messages."""

    def __init__(self, code: int = 0, break_after: int = 0) -> None:
        self.code, self.break_after = code, break_after
        self.messages: list[tuple[str, bytes]] = []
        self.duplicates = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, body = await _read(reader)
                if kind == 0x10:
                    writer.write(bytes([0x20, 2, 0, self.code]))
                elif kind & 0xF0 == 0x30:
                    length = struct.unpack(">H", body[:2])[0]
                    self.messages.append((body[2 : 2 + length].decode(), body[4 + length :]))
                    self.duplicates += bool(kind & 8)
                    if self.break_after and len(self.messages) == self.break_after:
                        raise ConnectionError("the network is gone")
                    writer.write(b"\x40\x02" + body[2 + length : 4 + length])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    [kind] = await reader.readexactly(1)
    length = shift = 0
    while True:
        [byte] = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return kind, await reader.readexactly(length)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None] | object"]


@asynccontextmanager
async def listening(peer: HjPlatform | Broker) -> AsyncIterator[int]:
    server = await asyncio.start_server(peer.talk, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


def options(*arguments: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["replay", *map(str, arguments)])


def rows(path: Path, layout: Layout = BEIJING_AIR, names: bool = True) -> list[Row]:
    return list(Rows(path, layout, names))


def test_rows_keep_the_text_of_the_file_and_leave_empty_cells_out(table: Path) -> None:
    one, two, three = rows(table)
    assert (one.device, one.at_us, len(one.cells)) == ("Aotizhongxin", MIDNIGHT_US, 12)
    assert one.cells[:2] == (("a34004-Avg", "4.0"), ("a34002-Avg", "4.0"))
    assert ("a01008-Info", "NNW") in one.cells
    assert two.cells == (("a34004-Avg", "8.25"), ("a01007-Avg", "4.7"))
    assert three.device == "Dongsi"
    assert rows(table, names=False)[1].cells == (("PM2.5", "8.25"), ("WSPM", "4.7"))


def test_without_a_mapping_every_column_keeps_its_name(table: Path) -> None:
    assert rows(table, Layout("time", "station"))[1].cells == (("PM2.5", "8.25"), ("WSPM", "4.7"))


def test_a_time_with_an_offset_needs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("time,device,a\n2013-03-01T00:00+08:00,D,1\n")
    assert rows(path, Layout("time", "device"))[0].at_us == MIDNIGHT_US


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time,a\n", "no column 'device'"),
        ("time,device,a\nyesterday,D,1\n", "x.csv:2"),
        ("time,device,a\n2013-03-01 00:00,D\n", "x.csv:2: 2 cells"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(expected)):
        rows(path, Layout("time", "device"))


async def test_every_row_goes_through_hj212_with_the_digits_of_the_file(table: Path, credentials: Path) -> None:
    said: list[str] = []
    platform = HjPlatform()
    async with listening(platform) as port:
        chosen = options(
            table, "--as", "hj212", "--profile", "beijing_air", "--port", port, "--credentials", credentials
        )
        chosen.link = "hj212"
        assert await run(chosen, said.append) == 0
    by_device = {re.search(r"MN=(\w+)", one)[1]: one for one in platform.frames[::-1]}  # type: ignore[index]
    assert "DataTime=20130301000000;a34004-Avg=4.0;a34002-Avg=4.0;" in by_device["Aotizhongxin"]
    assert "a01008-Info=NNW;a01007-Avg=4.4&&" in by_device["Aotizhongxin"]
    assert "CN=2061;PW=pw;MN=Dongsi" in by_device["Dongsi"]
    assert said[-1].startswith("3 rows with 17 values sent, 3 rows acknowledged, 0 refused, 0 unanswered")


async def test_every_row_goes_through_mqtt_as_json(table: Path, credentials: Path) -> None:
    broker = Broker()
    async with listening(broker) as port:
        chosen = options(
            table, "--as", "mqtt", "--profile", "beijing_air", "--port", port, "--credentials", credentials
        )
        chosen.link = "mqtt"
        assert await run(chosen, lambda text: None) == 0
    topics = [topic for topic, _ in broker.messages]
    assert sorted(topics) == ["city/Aotizhongxin/replay"] * 2 + ["city/Dongsi/replay"]
    [east] = [json.loads(payload) for topic, payload in broker.messages if "Dongsi" in topic]
    assert east == {"ts": "2013-02-28T16:00:00Z", "PM2.5": 1.0, "wd": "E", "WSPM": 0.1}


async def test_a_broken_connection_loses_no_mqtt_message(tmp_path: Path, credentials: Path) -> None:
    table = tmp_path / "many.csv"
    lines = [f"2013-03-{1 + hour // 24:02d} {hour % 24:02d}:00,{hour}.5,Dongsi\n" for hour in range(200)]
    table.write_text("time,PM2.5,station\n" + "".join(lines))
    broker = Broker(break_after=60)
    async with listening(broker) as port:
        arguments = (table, "--as", "mqtt", "--device-column", "station", "--port", port, "--credentials", credentials)
        chosen = options(*arguments, "--link", "mqtt", "--window", "50", "--offset-h", "8")
        assert await run(chosen, lambda text: None) == 0
    assert {json.loads(payload)["PM2.5"] for _, payload in broker.messages} == {hour + 0.5 for hour in range(200)}
    assert broker.duplicates > 0


async def test_rows_that_are_refused_make_the_exit_code_1(table: Path, credentials: Path) -> None:
    said: list[str] = []
    platform = HjPlatform()
    platform.refuse = True
    async with listening(platform) as port:
        chosen = options(
            table, "--as", "hj212", "--profile", "beijing_air", "--port", port, "--credentials", credentials
        )
        chosen.link = "hj212"
        assert await run(chosen, said.append) == 1
    assert "3 refused" in said[-3]
    assert "device issue" in said[-1]


async def test_a_broker_that_refuses_the_secret_ends_it_soon(table: Path, credentials: Path) -> None:
    said: list[str] = []
    broker = Broker(code=5)
    async with listening(broker) as port:
        chosen = options(
            table, "--as", "mqtt", "--profile", "beijing_air", "--port", port, "--credentials", credentials
        )
        chosen.link = "mqtt"
        assert await run(chosen, said.append) == 1
    assert "not authorized" in said[-1]


async def test_without_an_answer_it_gives_up_after_its_patience(table: Path, credentials: Path) -> None:
    said: list[str] = []
    platform = HjPlatform()
    platform.mute = True
    async with listening(platform) as port:
        arguments = (table, "--as", "hj212", "--profile", "beijing_air", "--port", port, "--credentials", credentials)
        assert await run(options(*arguments, "--link", "hj212", "--patience", "0.3"), said.append) == 1
    assert "3 unanswered" in said[-1]


async def test_ctrl_c_sends_no_more_waits_for_answers_and_says_the_counts(tmp_path: Path, credentials: Path) -> None:
    table = tmp_path / "slow.csv"
    table.write_text("time,PM2.5,station\n" + "".join(f"2013-03-01 00:{m:02d},1.0,Dongsi\n" for m in range(60)))
    said: list[str] = []
    platform = HjPlatform()
    async with listening(platform) as port:
        arguments = (table, "--as", "hj212", "--device-column", "station", "--port", port, "--credentials", credentials)
        chosen = options(*arguments, "--link", "hj212", "--map", "PM2.5=a34004-Avg", "--speed", "600")
        running = asyncio.create_task(run(chosen, said.append))
        async with asyncio.timeout(5):
            while len(platform.frames) < 3:  # noqa: ASYNC110 (what is waited for sets no event)
                await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        assert await running == 130
    counts = re.match(r"interrupted: (\d+) rows .* (\d+) rows acknowledged, 0 refused, 0 unanswered", said[-1])
    assert counts is not None
    assert counts[1] == counts[2] == str(len(platform.frames))
    assert len(platform.frames) < 60


async def test_at_a_speed_rows_come_in_the_order_of_time(tmp_path: Path, credentials: Path) -> None:
    table = tmp_path / "sorted.csv"
    table.write_text(HEADER + "".join(LINES))
    platform = HjPlatform()
    async with listening(platform) as port:
        arguments = (table, "--as", "hj212", "--profile", "beijing_air", "--port", port, "--credentials", credentials)
        began = asyncio.get_running_loop().time()
        assert await run(options(*arguments, "--link", "hj212", "--speed", "7200"), lambda text: None) == 0
        assert asyncio.get_running_loop().time() - began >= 0.5  # one hour, 7,200 times as fast
    assert "DataTime=20130301010000" in platform.frames[-1]


async def test_a_text_that_hj212_cannot_carry_is_named(tmp_path: Path, credentials: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text('time,note,station\n2013-03-01 00:00,"a;b",Dongsi\n')
    async with listening(HjPlatform()) as port:
        arguments = (table, "--as", "hj212", "--device-column", "station", "--port", port, "--credentials", credentials)
        with pytest.raises(ValueError, match="line 2: note='a;b'"):
            await run(options(*arguments, "--link", "hj212"), lambda text: None)


async def test_missing_secrets_and_an_unclear_link_are_named(table: Path, credentials: Path, tmp_path: Path) -> None:
    arguments = (table, "--as", "hj212", "--profile", "beijing_air", "--port", "1")
    with pytest.raises(ValueError, match="--link"):
        await run(options(*arguments, "--credentials", credentials), lambda text: None)
    empty = tmp_path / "none.json"
    empty.write_text("{}")
    with pytest.raises(ValueError, match="no secret for 'Aotizhongxin'"):
        await run(options(*arguments, "--credentials", empty), lambda text: None)


@pytest.mark.skipif(not BEIJING.exists(), reason="the shared Beijing data set is not on this machine")
def test_the_beijing_file_has_the_rows_it_promises() -> None:
    reader = Rows(BEIJING, BEIJING_AIR, names=True)
    count = 0
    for row in reader:
        count += 1
        assert "#" not in row.device
        if count == 20_000:
            break
    assert count == 20_000
    assert 0 < reader.share < 0.2
