"""Damaged, half and divided hj212 frames cost nothing but themselves."""

import asyncio

import pytest
from hj212_kit import MemoryIntake, connected, until, upload

from haechi.core.errors import InvalidData
from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.plugins.codecs.hj212.packet import Packet, encode
from haechi.ports import AdapterContext


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
