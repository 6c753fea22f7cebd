"""The queue in front of the log: bounded, in order, and exact when the log refuses half-way or a caller goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from haechi.app.quarantine import LOOKS, QuarantineRoom
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, Tally, decode
from haechi.core.message import Message
from haechi.plugins.codecs.json import create as json_codec
from haechi.ports import Record
from haechi.services.ingest import intake as ingest
from haechi.services.ingest.batch import BYTES
from haechi.services.ingest.intake import GroupIntake
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.pace import Pace
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan

SENSOR = "urn:ngsi-ld:WaterFlowMeter:gimpo:F-1"


class Log:
    """Appends while its gate is open; refuses the calls whose numbers are in `refuses`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.names: list[str] = []
        self.calls = 0
        self.refuses: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        number, self.calls = self.calls, self.calls + 1
        self.names.append(dedupe_id)
        await self.gate.wait()
        if number in self.refuses:
            raise Unavailable("the disk is full")
        self.frames.append(decode(payload))
        return len(self.frames)

    def read(self, after: int, subjects: frozenset[str]) -> AsyncIterator[Sequence[Record]]:
        raise AssertionError("intake reads nothing")

    async def last_seq(self) -> int:
        return len(self.frames)


def message(payload: bytes = b'{"flow": 1}') -> Message:
    return Message("water", "GW-01", "F-1", payload, 1_795_000_000_000_000)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def intake(log: Log, monkeypatch: pytest.MonkeyPatch) -> GroupIntake:
    monkeypatch.setattr(ingest, "RETRY_S", 0.0)
    attributes = {("WaterFlowMeter", "flow"): Attribute(None)}
    rules = (FieldRule("flow", "flow"),)
    plan = LinkPlan("water", json_codec({}), rules, {("GW-01", ""): SENSOR}, {SENSOR: "WaterFlowMeter"}, attributes)
    made = GroupIntake(log, {"water": Mapper(plan)})
    await made.start()
    return made


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - of a queue, which has no event
            await asyncio.sleep(0)


def received(log: Log) -> int:
    return sum(tally.received for frame in log.frames for tally in frame.tallies.values())


async def test_what_is_begun_is_finished_so_that_nobody_sends_again_what_is_stored(
    intake: GroupIntake, log: Log
) -> None:
    log.refuses = {1, 2}
    large = message(b"{" + b" " * BYTES)
    receipt = await intake.accept([large, large, message()])
    assert (receipt.stored, receipt.quarantined) == (1, 2)
    assert len(set(log.names)) == len(log.frames), "tried again under the same name"
    assert log.calls == len(log.frames) + 2
    assert received(log) == 3
    await intake.stop()


async def test_when_nothing_is_stored_the_sender_is_told_so_and_its_rejects_are_kept(
    intake: GroupIntake, log: Log
) -> None:
    log.refuses = {0}
    intake.reject("water", "busy", 2)
    with pytest.raises(Unavailable):
        await intake.accept([message()])
    await intake.accept([message()])
    await intake.stop()
    assert sum(one.observations.num_rows for one in log.frames) == 1
    assert [one.tallies["water"].rejected for one in log.frames if one.tallies["water"].rejected] == [{"busy": 2}]


async def test_no_more_waits_for_the_log_than_the_bound_and_the_rest_waits_in_order(
    intake: GroupIntake, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "WAITING", 3)
    log.gate.clear()
    order: list[int] = []

    async def call(number: int) -> None:
        await intake.accept([message()])
        order.append(number)

    calls = [asyncio.create_task(call(number)) for number in range(9)]
    await until(lambda: log.calls > 0 and intake.health()["callers"] == 6)
    assert intake.health()["waiting"] == 3
    assert intake.health()["room"] == 0
    assert intake.health()["append_s_now"] >= 0
    log.gate.set()
    await asyncio.gather(*calls)
    assert order == list(range(9))
    found = intake.health()
    assert (found["waiting"], found["waiting_bytes"], found["callers"], found["room"]) == (0, 0, 0, 1)
    assert found["messages_total"] == 9
    await intake.stop()


async def test_large_payloads_fill_the_queue_before_their_number_does(
    intake: GroupIntake, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "WAITING_BYTES", 1000)
    log.gate.clear()
    calls = [asyncio.create_task(intake.accept([message(b" " * 600)])) for _ in range(5)]
    await until(lambda: intake.health()["callers"] == 3)
    assert intake.health()["waiting_bytes"] == 1200
    log.gate.set()
    await asyncio.gather(*calls)
    await intake.stop()


async def test_a_caller_that_goes_away_takes_what_waits_with_it_but_not_what_is_on_its_way(
    intake: GroupIntake, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "WAITING", 4)
    log.gate.clear()
    on_its_way = []
    while log.calls < 2:  # one in each commit
        calls = log.calls
        on_its_way.append(asyncio.create_task(intake.accept([message()])))
        await until(lambda calls=calls: log.calls > calls)  # type: ignore[misc]
    queued = [asyncio.create_task(intake.accept([message()])) for _ in range(2)]
    outside = [asyncio.create_task(intake.accept([message()])) for _ in range(2)]
    await until(lambda: intake.health()["callers"] == 2)
    gone = (on_its_way[0], queued[0], outside[0])
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    assert intake.health()["waiting"] == 4, "what is on its way counts; one from outside took the place of one gone"
    assert intake.health()["callers"] == 0
    log.gate.set()
    await asyncio.gather(on_its_way[1], queued[1], outside[1])
    await until(lambda: intake.health()["waiting"] == 0)
    assert received(log) == 4, "the one gone that was on its way is stored: its sender was not told"
    await intake.stop()


async def test_while_quarantine_is_full_what_would_go_there_is_refused_whole_and_the_rest_stored(log: Log) -> None:
    attributes = {("WaterFlowMeter", "flow"): Attribute(None)}
    rules = (FieldRule("flow", "flow"),)
    plan = LinkPlan("water", json_codec({}), rules, {("GW-01", ""): SENSOR}, {SENSOR: "WaterFlowMeter"}, attributes)
    accounts = Accounts()
    room = QuarantineRoom(accounts, most=1_000)  # type: ignore[arg-type]
    intake = GroupIntake(log, {"water": Mapper(plan)}, room)
    await intake.start()
    brought = [message(), message(b'{"flow": 1, "level": 2}'), message(b"{"), message()]
    assert (await intake.accept(brought)).quarantined == 2
    accounts.held = 1_000
    for _ in range(LOOKS + 1):
        room.look()
    receipt = await intake.accept(brought)
    assert (receipt.stored, receipt.quarantined, set(receipt.refused)) == (2, 0, {1, 2})
    assert log.frames[-1].tallies["water"] == Tally(5, 2, 0, {"quarantine_full": 3})
    assert log.frames[-1].quarantined == ()
    accounts.held = 0
    for _ in range(LOOKS):
        room.look()
    assert (await intake.accept(brought)).refused == {}
    await intake.stop()


class Accounts:
    """The account of two links, as the gateway reads it."""

    held = 10

    def find(self, collection: str, limit: int = 1) -> list[dict[str, int]]:
        assert collection == "accounts"
        return [{"held_bytes": self.held}, {}]


def test_the_pace_says_how_long_callers_waited_and_how_long_appends_took() -> None:
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    pace.slows()
    with pace.appending():
        clock[0] = 2.0
        assert pace.measured()["append_s_now"] == 2.0
        pace.slows()
    pace.flows()
    clock[0] = 9.0
    pace.stored(5)
    found = pace.measured()
    assert (found["slowed_s"], found["append_s_p50"], found["append_s_p99"], found["append_s_now"]) == (2, 2, 2, 0)
    assert (found["messages_total"], found["appends_total"], found["append_s_total"]) == (5, 1, 2)
