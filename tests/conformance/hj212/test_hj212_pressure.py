"""A busy or absent log slows hj212 devices, within bounds, and loses nothing."""

import asyncio

import pytest
from hj212_kit import MemoryIntake, connected, until, upload

from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.plugins.codecs.hj212.packet import encode
from haechi.ports import AdapterContext


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
