"""What devices send over hj212 is kept before they are told so, and who is not admitted is told why."""

import json
from pathlib import Path

import pytest
from hj212_kit import MemoryIntake, connected, until, upload

from haechi import registry
from haechi.core.message import Message
from haechi.core.times import parse_iso
from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.plugins.codecs.hj212.codec import create as create_codec
from haechi.plugins.codecs.hj212.packet import Packet, encode
from haechi.ports import AdapterContext

CASES = registry.ROOT / "adapters" / "hj212" / "cases"


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
