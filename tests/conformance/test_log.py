"""The log port against a real nats-server: order, positions, restarts and repeats."""

import asyncio
from typing import Any

import pytest

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsBus, NatsLog, connect
from haechi.plugins.stores.nats.server import Address, NatsServer
from haechi.ports import Record

ALL = frozenset({"obs", "entity", "ops"})


async def take(log: NatsLog, count: int, after: int = 0, subjects: frozenset[str] = ALL) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(20):
        async for batch in log.read(after, subjects):
            records += batch
            if len(records) >= count:
                break
    return records


async def test_records_come_back_in_order_from_any_position(log: NatsLog) -> None:
    seqs = [await log.append("obs", str(i).encode(), f"id{i}") for i in range(600)]
    assert seqs == list(range(1, 601))
    assert [int(one.payload) for one in await take(log, 600)] == list(range(600))
    assert [one.seq for one in await take(log, 2, after=598)] == [599, 600]


async def test_an_append_repeated_with_the_same_id_is_stored_once(log: NatsLog) -> None:
    assert await log.append("obs", b"x", "same") == await log.append("obs", b"x", "same")
    assert await log.last_seq() == 1


async def test_a_reader_sees_only_its_subjects_and_keeps_the_common_order(log: NatsLog) -> None:
    for i in range(9):
        await log.append(("obs", "entity", "ops")[i % 3], b"", f"id{i}")
    assert [one.seq for one in await take(log, 3, subjects=frozenset({"ops"}))] == [3, 6, 9]


async def test_a_reader_goes_on_after_the_server_was_killed(log: NatsLog, nats_server: NatsServer) -> None:
    await log.append("obs", b"before", "1")
    reading = asyncio.create_task(take(log, 2))
    await asyncio.sleep(0.3)
    assert nats_server._process is not None
    nats_server._process.kill()
    await nats_server.wait()
    await nats_server.start()
    await log.append("obs", b"after", "2")
    assert [one.payload for one in await reading] == [b"before", b"after"]


async def test_notices_reach_those_who_listen(bus: NatsBus) -> None:
    heard: list[tuple[str, bytes]] = []
    arrived = asyncio.Event()

    async def hear(subject: str, payload: bytes) -> None:
        heard.append((subject, payload))
        arrived.set()

    stop = await bus.listen("applied.*", hear)
    await bus.publish("applied.context", b"7")
    await asyncio.wait_for(arrived.wait(), 5)
    await stop()
    assert heard == [("applied.context", b"7")]


async def test_a_record_lost_on_the_way_is_read_again(log: NatsLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(9):
        await log.append("obs", str(i).encode(), f"id{i}")
    subscribe, lost = log._stream.subscribe, [5]

    async def with_a_loss(*given: Any, **named: Any) -> Any:
        subscription = await subscribe(*given, **named)
        next_msg = subscription.next_msg

        async def careless(timeout: float = 1.0) -> Any:  # noqa: ASYNC109 - the client's own name
            message = await next_msg(timeout)
            if lost and message.metadata.sequence.stream == lost[0]:
                lost.pop()
                return await next_msg(timeout)
            return message

        subscription.next_msg = careless
        return subscription

    monkeypatch.setattr(log._stream, "subscribe", with_a_loss)
    assert [one.seq for one in await take(log, 9)] == list(range(1, 10))
    assert not lost


async def test_a_reader_goes_on_behind_records_that_are_not_on_the_log_any_more(log: NatsLog) -> None:
    for i in range(6):
        await log.append("obs", b"", f"id{i}")
    for seq in (1, 2, 4):
        await log._stream.delete_msg("CITY", seq)
    assert [one.seq for one in await take(log, 3)] == [3, 5, 6]


async def test_a_notice_that_breaks_its_listener_is_told_and_does_not_end_it(
    bus: NatsBus, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[bytes] = []
    arrived = asyncio.Event()

    async def hear(subject: str, payload: bytes) -> None:
        if payload == b"bad":
            raise KeyError(payload)
        heard.append(payload)
        arrived.set()

    stop = await bus.listen("applied.*", hear)
    await bus.publish("applied.context", b"bad")
    await bus.publish("applied.context", b"good")
    await asyncio.wait_for(arrived.wait(), 5)
    await stop()
    assert heard == [b"good"]
    assert "notice_not_obeyed" in capsys.readouterr().out


async def test_the_newest_of_some_subjects_is_known_without_reading(log: NatsLog) -> None:
    for subject in ("obs", "entity", "ops", "ops"):
        await log.append(subject, b"", f"{subject}-{await log.last_seq()}")
    assert await log.last_seq_of(frozenset({"obs", "entity"})) == 2
    assert await log.last_seq_of(frozenset({"ops"})) == 4
    assert await log.last_seq_of(frozenset({"filler"})) == 0


async def test_a_server_that_is_not_there_is_named_and_nothing_else_breaks() -> None:
    with pytest.raises(Unavailable, match="is `haechi run` up"):
        await connect(Address(free_port(), "token"), "test")
