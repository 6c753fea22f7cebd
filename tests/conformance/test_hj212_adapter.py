"""The hj212 adapter over sockets: what devices send, what they are told, and that nothing is told before it is kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from haechi import registry
from haechi.core.errors import InvalidData, InvalidSettings, Unavailable
from haechi.core.message import Message
from haechi.core.times import parse_iso
from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.plugins.codecs.hj212.codec import create as create_codec
from haechi.plugins.codecs.hj212.framing import unwrap
from haechi.plugins.codecs.hj212.packet import Packet, decode, encode
from haechi.ports import AdapterContext, Receipt

CASES = registry.ROOT / "adapters" / "hj212" / "cases"


class MemoryIntake:
    """Keeps what it is given; can be held up, made to fail, and made to refuse."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.batches: list[int] = []
        self.rejected: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.away = 0  # how many accepts fail
        self.refuse: Callable[[Message], str | None] = lambda message: None
        self.codec = create_codec({})

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise Unavailable("the log is away; wait")
        self.batches.append(len(messages))
        self.messages += messages
        refused = {index: why for index, one in enumerate(messages) if (why := self.refuse(one))}
        return Receipt(len(messages) - len(refused), 0, refused)

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        assert link == "air"
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def values(self) -> list[Any]:
        return [sample.value for message in self.messages for sample in self.codec.decode(message)]


class Registered:
    """MN "M1", "M2", …: secret "pw"."""

    def verify(self, device: str, secret: str, link: str) -> bool:
        return self.knows(device, link) and secret == "pw"

    def knows(self, device: str, link: str) -> bool:
        return device.startswith("M") and link == "air"


class Device:
    """The other side, written against the standard's text with plain sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def hear(self) -> Packet:
        async with asyncio.timeout(5):
            return decode(await self.reader.readuntil(b"\r\n"))

    async def hears_nothing(self, seconds: float = 0.1) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return True


@pytest.fixture
async def intake() -> MemoryIntake:
    return MemoryIntake()


@pytest.fixture
def context(intake: MemoryIntake, clock: Any, tmp_path: Path) -> AdapterContext:
    return AdapterContext("air", intake, Registered(), None, clock, str(tmp_path))  # type: ignore[arg-type]


@pytest.fixture
async def adapter(context: AdapterContext) -> AsyncIterator[Hj212Adapter]:
    adapter = create({"port": 0, "gather_ms": 2, "window": 50, "pending_max": 100}, context)
    await adapter.start()
    yield adapter
    await adapter.stop()


@asynccontextmanager
async def connected(adapter: Hj212Adapter) -> AsyncIterator[Device]:
    reader, writer = await asyncio.open_connection("127.0.0.1", adapter.port)
    yield Device(reader, writer)
    writer.close()


def upload(number: int = 1, flag: int | None = 5, **fields: Any) -> Packet:
    body = fields.pop("body", f"DataTime=20261122180000;a34004-Rtd={number},a34004-Flag=N")
    return Packet(cn="2011", mn="M1", qn=f"{number:017d}", st="22", pw="pw", flag=flag, body=body, **fields)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("case", sorted(CASES.glob("*.txt")), ids=lambda path: path.stem)
def test_a_recorded_frame_gives_the_samples_its_case_names(case: Path) -> None:
    expected = json.loads(case.with_suffix(".json").read_text())
    codec = create_codec(expected["codec_settings"])
    samples = codec.decode(Message("air", "", "", case.read_bytes(), 0))
    assert [
        {
            "field": one.field,
            "value": one.value,
            "observed_at": one.observed_at,
            "doubt": one.doubt,
            "device": one.device,
        }
        for one in samples
    ] == [{**one, "observed_at": parse_iso(one["observed_at"])} for one in expected["samples"]]


async def test_an_upload_reaches_intake_whole_and_is_answered(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    async with connected(adapter) as device:
        await device.send(encode(upload(7)))
        answer = await device.hear()
    assert (answer.cn, answer.st, answer.qn, answer.flag) == ("9014", "91", f"{7:017d}", 4)
    [message] = intake.messages
    assert (message.link, message.device, message.channel) == ("air", "M1", "2011")
    assert message.payload == encode(upload(7))


async def test_nothing_is_answered_before_it_is_stored(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    intake.open.clear()
    async with connected(adapter) as device:
        await device.send(encode(upload()))
        assert await device.hears_nothing()
        intake.open.set()
        assert (await device.hear()).cn == "9014"


async def test_an_upload_that_asks_for_no_answer_gets_none(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    async with connected(adapter) as device:
        await device.send(encode(upload(flag=4)) + encode(upload(flag=None)))
        await until(lambda: len(intake.messages) == 2)
        assert await device.hears_nothing()


async def test_an_answer_of_2005_names_the_request_inside(adapter: Hj212Adapter) -> None:
    async with connected(adapter) as device:
        await device.send(encode(upload(3, flag=1)))
        answer = await device.hear()
    assert (answer.qn, answer.flag, answer.body) == (None, 0, f"QN={3:017d};CN=2011")


async def test_a_heartbeat_is_answered_and_stores_nothing(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    async with connected(adapter) as device:
        await device.send(encode(Packet(cn="9015", mn="M1", qn="Q", st="22", pw="pw", flag=5)))
        assert (await device.hear()).cn == "9013"
    assert intake.messages == []


@pytest.mark.parametrize(
    ("packet", "result", "reason"),
    [
        (Packet(cn="2011", mn="M1", qn="Q", pw="wrong", flag=5, body="a-Rtd=1"), 3, "bad_credentials"),
        (Packet(cn="2011", mn="X9", qn="Q", pw="pw", flag=5, body="a-Rtd=1"), 4, "unknown_device"),
        (Packet(cn="2011", qn="Q", pw="pw", flag=5, body="a-Rtd=1"), 4, "unknown_device"),
        (Packet(cn="1062", mn="M1", qn="Q", pw="pw", flag=5, body="RtdInterval=30"), 8, "not_an_upload"),
    ],
)
async def test_who_is_not_admitted_is_told_why_and_counted(
    adapter: Hj212Adapter, intake: MemoryIntake, packet: Packet, result: int, reason: str
) -> None:
    async with connected(adapter) as device:
        await device.send(encode(packet))
        answer = await device.hear()
        assert (answer.cn, answer.body) == ("9011", f"QnRtn={result}")
        await device.send(encode(upload()))
        assert (await device.hear()).cn == "9014"  # the connection goes on
    assert intake.rejected == {reason: 1}
    assert len(intake.messages) == 1


async def test_without_authentication_the_number_alone_must_be_registered(context: AdapterContext) -> None:
    adapter = create({"port": 0, "authenticate": False}, context)
    await adapter.start()
    async with connected(adapter) as device:
        await device.send(encode(Packet(cn="2011", mn="M1", qn="Q", flag=5, body="a-Rtd=1")))
        assert (await device.hear()).cn == "9014"
        await device.send(encode(Packet(cn="2011", mn="X1", qn="Q", flag=5, body="a-Rtd=1")))
        assert (await device.hear()).body == "QnRtn=4"
    await adapter.stop()


async def test_damaged_frames_are_handed_over_with_their_bytes_and_the_connection_goes_on(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    good = encode(upload(1))
    wrong_sum = good.replace(b"a34004-Rtd=1", b"a34004-Rtd=9")
    wrong_length = b"##9999" + good[6:]
    no_command = encode(Packet(cn="2011", mn="M1")).replace(b"CN=2011", b"CN=20X1")
    async with connected(adapter) as device:
        await device.send(wrong_sum + wrong_length + b"noise" + no_command + encode(upload(2)))
        assert (await device.hear()).qn == f"{2:017d}"
    assert [one.payload for one in intake.messages] == [
        wrong_sum,
        wrong_length,
        b"noise",
        no_command,
        encode(upload(2)),
    ]
    for message in intake.messages[:-1]:
        with pytest.raises(InvalidData):
            intake.codec.decode(message)


async def test_half_a_frame_left_by_a_dead_device_is_handed_over(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    half = encode(upload())[:40]
    async with connected(adapter) as device:
        await device.send(half)
    await until(lambda: [one.payload for one in intake.messages] == [half])


async def test_a_caller_that_speaks_no_hj212_is_cut_off(context: AdapterContext, intake: MemoryIntake) -> None:
    adapter = create({"port": 0, "bad_frames_max": 3}, context)
    await adapter.start()
    async with connected(adapter) as device:
        for _ in range(6):
            await device.send(b"##GET / HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            assert await device.reader.read() == b""
    await adapter.stop()
    assert len(intake.messages) == 3
    assert set(intake.rejected) == {"garbage"}


async def test_a_divided_upload_is_stored_and_answered_once_when_it_is_whole(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    first = upload(1, flag=7, pnum=2, pno=1, body="DataTime=20261122180000;a-Rtd=1")
    second = upload(1, flag=7, pnum=2, pno=2, body="b-Rtd=2")
    async with connected(adapter) as device:
        await device.send(encode(second))
        assert await device.hears_nothing(0.05)
        await device.send(encode(first))
        assert (await device.hear()).cn == "9014"
        assert await device.hears_nothing(0.05)
    assert intake.values() == [1.0, 2.0]


async def test_a_divided_upload_that_never_becomes_whole_is_handed_over(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    async with connected(adapter) as device:
        await device.send(encode(upload(1, flag=7, pnum=3, pno=1)))
        await until(lambda: adapter.health()["frames"] == 1)
    await until(lambda: len(intake.messages) == 1)


async def test_what_many_devices_send_at_once_is_one_batch(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    intake.open.clear()
    async with connected(adapter) as one, connected(adapter) as two:
        await one.send(encode(upload(0)))
        await until(lambda: adapter.health()["pending"] == 1)
        for number in range(1, 21):
            await (one, two)[number % 2].send(encode(upload(number)))
        await until(lambda: adapter.health()["pending"] == 21)
        intake.open.set()
        answers = [await one.hear() for _ in range(11)] + [await two.hear() for _ in range(10)]
    assert {answer.qn for answer in answers} == {f"{number:017d}" for number in range(21)}
    assert len(intake.batches) <= 3


async def test_a_busy_platform_stops_the_device_and_takes_the_rest_later(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    intake.open.clear()
    count, frame = 30_000, encode(upload())
    async with connected(adapter) as device:
        sending = asyncio.create_task(device.send(frame * count))
        await until(lambda: adapter.health()["pending"] >= 50)
        await asyncio.sleep(0.1)
        held = adapter.health()["pending"]
        assert held < count / 10  # a window and one chunk of the socket at most
        assert adapter.health()["pending"] == held
        intake.open.set()
        for _ in range(count):
            await device.hear()
        await sending
    assert len(intake.messages) == count


async def test_bytes_that_wait_for_the_log_stop_the_device_before_their_number_does(
    context: AdapterContext, intake: MemoryIntake
) -> None:
    adapter = create({"port": 0, "pending_bytes_max": 5_000, "pending_max": 100_000, "window": 100_000}, context)
    await adapter.start()
    intake.open.clear()
    count, frame = 30_000, encode(upload())
    async with connected(adapter) as device:
        sending = asyncio.create_task(device.send(frame * count))
        await until(lambda: adapter.health()["paused"] == 1)
        await asyncio.sleep(0.1)
        assert 5_000 <= adapter.health()["pending_bytes"] < len(frame) * count / 10
        intake.open.set()
        for _ in range(count):
            await device.hear()
        await sending
    assert (len(intake.messages), adapter.health()["pending_bytes"]) == (count, 0)
    await adapter.stop()


async def test_a_device_that_never_takes_its_answers_is_cut_off(context: AdapterContext, intake: MemoryIntake) -> None:
    adapter = create({"port": 0, "clogged_s": 1}, context)
    await adapter.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", adapter.port, limit=1024)
    frames = encode(upload()) * 1000

    async def send_for_ever() -> None:
        while True:
            writer.write(frames)
            await writer.drain()

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(60):
            await send_for_ever()
    await until(lambda: adapter.health()["connections"] == 0)
    writer.close()
    del reader
    await adapter.stop()


async def test_divided_uploads_that_never_become_whole_take_no_more_than_a_bound(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    body = "DataTime=20261122180000;a34004-Rtd=1" + ";a34005-Rtd=1" * 500
    async with connected(adapter) as device:
        for number in range(10):
            for part in range(1, 20):
                await device.send(encode(upload(number, body=body, pnum=20, pno=part)))
        await until(lambda: len(intake.messages) >= 1)  # the oldest give way while the device is still there
    await until(lambda: len(intake.messages) == 10)


async def test_while_the_log_is_away_nothing_is_answered_and_nothing_lost(
    adapter: Hj212Adapter, intake: MemoryIntake
) -> None:
    intake.away = 2
    async with connected(adapter) as device:
        await device.send(encode(upload()))
        assert await device.hears_nothing()
        assert (await device.hear()).cn == "9014"
    assert len(intake.messages) == 1


async def test_a_refused_message_is_told_to_its_sender(adapter: Hj212Adapter, intake: MemoryIntake) -> None:
    intake.refuse = lambda message: "too_old" if b"Rtd=2" in message.payload else None
    async with connected(adapter) as device:
        await device.send(encode(upload(1)) + encode(upload(2)))
        assert [(await device.hear()).cn for _ in range(2)] == ["9014", "9011"]


async def test_a_silent_device_is_cut_off(context: AdapterContext) -> None:
    adapter = create({"port": 0, "idle_s": 1}, context)
    await adapter.start()
    async with connected(adapter) as device:
        async with asyncio.timeout(5):
            assert await device.reader.read() == b""
    await adapter.stop()


async def test_start_and_stop_twice_are_once_and_leave_no_port(context: AdapterContext, intake: MemoryIntake) -> None:
    adapter = create({"port": 0}, context)
    await adapter.start()
    port = adapter.port
    await adapter.start()
    assert adapter.port == port
    async with connected(adapter) as device:
        await device.send(encode(upload()))
        await until(lambda: adapter.health()["frames"] == 1)
        await adapter.stop()
        await adapter.stop()
        assert (await device.hear()).cn == "9014"  # stored before the stop, so answered
        assert await device.reader.read() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert len(intake.messages) == 1


async def test_a_port_in_use_is_unavailable_and_says_so(adapter: Hj212Adapter, context: AdapterContext) -> None:
    with pytest.raises(Unavailable, match="port"):
        await create({"port": adapter.port}, context).start()


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 70_000},
        {"port": "8212"},
        {"prot": 1},
        {"authenticate": 1},
        {"host": ""},
        {"idle_s": 0},
        {"window": True},
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        create(settings, context)


async def test_an_address_that_is_not_ours_is_a_wrong_setting(context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match="host"):
        await create({"host": "203.0.113.1", "port": 0}, context).start()


def test_the_manifest_names_codecs_that_exist() -> None:
    manifest = registry.manifest("adapter", "hj212")
    assert set(manifest["codecs"]) <= set(registry.names("codec"))
    assert unwrap((CASES / "annex_a_2017.txt").read_bytes())
