"""From intake through a real log to the account: nothing lost, nothing counted twice, quarantine comes back once
mended."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from haechi.core.errors import NotFound, Unavailable
from haechi.core.frame import Frame, decode, encode
from haechi.core.message import Message
from haechi.plugins.codecs.json import create as json_codec
from haechi.plugins.stores.nats.log import NatsBus, NatsLog
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Change, Notice, Record
from haechi.services.ingest import account
from haechi.services.ingest.account import AccountProjection, Balance, balances
from haechi.services.ingest.intake import GroupIntake
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan
from haechi.services.ingest.replay import chosen, held, replay, replay_all
from haechi.services.stream.progress import Progress
from haechi.services.stream.runner import Runner

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SENSOR = "urn:ngsi-ld:WaterFlowMeter:gimpo:F-1"


def mappers(*fields: str) -> dict[str, Mapper]:
    rules = tuple(FieldRule(one, one) for one in fields)
    attributes = {("WaterFlowMeter", one): Attribute(None) for one in fields}
    plan = LinkPlan("water", json_codec({}), rules, {("GW-01", ""): SENSOR}, {SENSOR: "WaterFlowMeter"}, attributes)
    return {"water": Mapper(plan)}


def message(payload: bytes) -> Message:
    return Message("water", "GW-01", "F-1", payload, 1_795_000_000_000_000)


async def project(log: NatsLog, projection: AccountProjection) -> None:
    last = await log.last_seq()
    if projection.position() >= last:
        return
    async for records in log.read(projection.position(), projection.subjects):
        projection.apply(records, NOW)
        if records[-1].seq >= last:
            return


@pytest.fixture
def store(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "account.db", account.COLLECTIONS)


async def test_what_many_senders_brought_at_once_is_stored_before_they_are_told(
    log: NatsLog, store: SqliteRecords
) -> None:
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    receipts = await asyncio.gather(*(intake.accept([message(b'{"flow": %d}' % i)]) for i in range(500)))
    await intake.stop()
    assert sum(one.stored for one in receipts) == 500
    assert await log.last_seq() < 100, "they were gathered"
    await project(log, AccountProjection(store))
    assert balances(store) == [Balance("water", 500, 500, 0, 0, {}, 0)]


async def test_rejects_are_accounted_even_when_nothing_else_comes(log: NatsLog, store: SqliteRecords) -> None:
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    intake.reject("water", "bad_credentials", 3)
    await intake.stop()
    await project(log, AccountProjection(store))
    assert balances(store) == [Balance("water", 3, 0, 0, 0, {"bad_credentials": 3}, 0)]


async def test_a_stop_waits_for_rejects_on_their_way_to_the_log(
    log: NatsLog, store: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, taken = log.append, asyncio.Event()

    async def slowly(subject: str, payload: bytes, dedupe_id: str) -> int:
        taken.set()
        await asyncio.sleep(0.2)
        return await append(subject, payload, dedupe_id)

    monkeypatch.setattr(log, "append", slowly)
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    intake.reject("water", "bad_credentials", 3)
    await taken.wait()
    await intake.stop()
    await project(log, AccountProjection(store))
    assert [one.rejected for one in balances(store)] == [{"bad_credentials": 3}]


async def test_quarantine_comes_back_once_when_the_mapping_is_mended(log: NatsLog, store: SqliteRecords) -> None:
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    receipt = await intake.accept([message(b'{"flow": 1, "level": 2}'), message(b"{broken")])
    await intake.stop()
    assert (receipt.stored, receipt.quarantined) == (1, 2)
    projection = AccountProjection(store)
    await project(log, projection)
    assert [one.missing for one in balances(store)] == [0]

    entries = held(store)
    again = await replay(log, mappers("flow"), entries)
    assert (again.replayed, again.still_quarantined) == (0, 2), "the mapping is as it was"
    mended = mappers("flow", "level")
    results = await asyncio.gather(replay(log, mended, entries), replay(log, mended, entries))
    assert [one.replayed for one in results] == [1, 1], "two at once"
    await project(log, projection)
    (balance,) = balances(store)
    assert (balance.stored, balance.in_quarantine, balance.replayed, balance.missing) == (2, 1, 1, 0)
    assert [one["reason"] for one in held(store)] == ["malformed"]


async def test_of_samples_that_share_a_field_only_those_in_quarantine_come_back(
    log: NatsLog, store: SqliteRecords
) -> None:
    intake, projection = GroupIntake(log, mappers("flow")), AccountProjection(store)
    await intake.start()
    receipt = await intake.accept([message(b'[{"flow": 1}, {"flow": "?"}, {"flow": 3}]')])
    await intake.stop()
    assert (receipt.stored, receipt.quarantined) == (2, 1)
    await project(log, projection)
    rules = (FieldRule("flow", "flow"),)
    attributes = {("WaterFlowMeter", "flow"): Attribute(None, "json")}
    plan = LinkPlan("water", json_codec({}), rules, {("GW-01", ""): SENSOR}, {SENSOR: "WaterFlowMeter"}, attributes)
    again = await replay_all(log, {"water": Mapper(plan)}, chosen(store, None, "water"))
    assert (again.replayed, again.still_quarantined) == (1, 0)
    await project(log, projection)
    assert balances(store) == balances(store, recount=True) == [Balance("water", 3, 3, 0, 1, {}, 0)]


async def test_what_was_brought_back_gives_its_room_back_and_is_forgotten_after_a_week(
    log: NatsLog, store: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "STEP", 2)
    intake, projection = GroupIntake(log, mappers("flow")), AccountProjection(store)
    await intake.start()
    payloads = [b'{"level": %d}' % number for number in range(5)]
    await intake.accept([message(one) for one in payloads])
    await intake.stop()
    await project(log, projection)
    assert account.held_bytes(store) == sum(map(len, payloads))
    await replay_all(log, mappers("level"), chosen(store, [one["id"] for one in held(store)[:3]], None))
    await project(log, projection)
    assert account.held_bytes(store) == sum(map(len, payloads[3:]))
    kept = store.find("quarantine", order="received_at")
    assert (
        sorted((one["state"], bool(one["payload"])) for one in kept) == [("held", True)] * 2 + [("replayed", False)] * 3
    )
    projection.tick(NOW + timedelta(days=6))
    assert len(store.find("quarantine")) == 5
    for minutes in range(0, 60, 20):
        projection.tick(NOW + timedelta(days=7, minutes=20 + minutes))
    assert [one["state"] for one in store.find("quarantine")] == ["held", "held"]
    assert balances(store) == balances(store, recount=True) == [Balance("water", 5, 3, 2, 3, {}, 2)]


async def test_a_replay_that_is_on_the_log_twice_is_counted_once(log: NatsLog, store: SqliteRecords) -> None:
    intake, projection = GroupIntake(log, mappers("flow")), AccountProjection(store)
    await intake.start()
    await intake.accept([message(b'{"flow": 1, "level": 2}')])
    await intake.stop()
    await project(log, projection)
    await replay_all(log, mappers("flow", "level"), chosen(store, None, None))
    async for records in log.read(1, projection.subjects):
        await log.append("obs", records[0].payload, "asked for again, long after")
        break
    await project(log, projection)
    assert balances(store) == balances(store, recount=True) == [Balance("water", 2, 2, 0, 1, {}, 0)]


async def test_a_replay_of_a_message_that_never_was_is_refused(store: SqliteRecords) -> None:
    with pytest.raises(NotFound, match="q7"):
        next(chosen(store, ["q7"], None))


async def test_the_account_does_not_balance_when_rows_are_missing(store: SqliteRecords, log: NatsLog) -> None:
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    await intake.accept([message(b'{"flow": 1}')])
    await intake.stop()
    async for records in log.read(0, frozenset({"obs"})):
        whole = records[0]
        break
    frame = decode(whole.payload)
    from haechi.core.frame import Frame, encode

    broken = Record(1, "obs", encode(Frame(tallies=frame.tallies)), whole.stored_at)
    AccountProjection(store).apply([broken], NOW)
    assert balances(store)[0].missing == 1


async def test_an_entry_that_vanished_from_quarantine_is_missing_when_the_entries_are_read(
    store: SqliteRecords, log: NatsLog
) -> None:
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    await intake.accept([message(b"{broken"), message(b"{broken too")])
    await intake.stop()
    await project(log, AccountProjection(store))
    assert [one.in_quarantine for one in balances(store)] == [2]
    store.commit([Change("quarantine", held(store)[0]["id"], None)])
    assert [one.missing for one in balances(store, recount=True)] == [1]


async def test_a_dead_log_is_told_to_the_sender(
    log: NatsLog, nats_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haechi.plugins.stores.nats.log.APPEND_S", 0.5)
    intake = GroupIntake(log, mappers("flow"))
    await intake.start()
    await nats_server.stop()  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        await intake.accept([message(b'{"flow": 1}')])
    for task in intake._tasks:
        task.cancel()


class Recorder:
    """A projection that remembers what it was given, and fails when told to."""

    subjects = frozenset({"obs", "ops"})

    def __init__(self, name: str, after: tuple[str, ...] = ()) -> None:
        self.name, self.after = name, after
        self.seqs: list[int] = []
        self.failures = 0

    def position(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        self.seqs += [one.seq for one in records]
        return [
            Notice(f"reply.{one.payload.decode()}", orjson.dumps({"ok": True}))
            for one in records
            if one.subject == "ops"
        ]

    def tick(self, now: datetime) -> Sequence[Notice]:
        return ()

    def close(self) -> None:
        pass


async def test_the_runner_goes_on_after_a_failure_and_keeps_projections_in_order(
    log: NatsLog, bus: NatsBus, clock: object
) -> None:
    first, second = Recorder("first"), Recorder("second", ("first",))
    first.failures, kept = 2, list[Record]()
    running = asyncio.create_task(Runner(log, bus, clock, [first, second], kept.append).run())  # type: ignore[arg-type]
    progress = Progress(bus)
    await progress.start()
    for i in range(20):
        await log.append("obs", b"", f"o{i}")
    answer = await progress.ask("c1", lambda: log.append("ops", b"c1", "c1"))
    assert answer == {}
    await progress.wait(("first", "second"), 21)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert first.seqs == second.seqs == list(range(1, 22))


class Slow(Recorder):
    """Takes its time to apply, while a tick fails."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.ticked = False

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        time.sleep(0.6)
        return super().apply(records, now)

    def tick(self, now: datetime) -> Sequence[Notice]:
        if not self.ticked:
            self.ticked = True
            time.sleep(0.5)  # meanwhile the next records wait for this thread
            raise Unavailable("the disk is full")
        return ()


async def test_records_under_way_when_a_tick_fails_are_not_passed_again(
    log: NatsLog, bus: NatsBus, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haechi.services.stream.runner.TICK_S", 0.1)
    monkeypatch.setattr("haechi.services.stream.runner.RETRY_S", 0.0)
    slow, progress, kept = Slow(), Progress(bus), list[Record]()
    await progress.start()
    running = asyncio.create_task(Runner(log, bus, clock, [slow], kept.append).run())  # type: ignore[arg-type]
    await asyncio.sleep(0.3)
    for number in range(3):
        await log.append("obs", b"", f"o{number}")
    await progress.wait(("slow",), 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert slow.seqs == [1, 2, 3]


class Frames(Recorder):
    """As a projection of frames: it takes all records of a call, or none."""

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        for one in records:
            decode(one.payload)
        return super().apply(records, now)


async def test_a_frame_nobody_can_read_is_kept_for_people_and_the_log_goes_on_for_every_projection(
    log: NatsLog, bus: NatsBus, clock: object
) -> None:
    first, second, kept = Frames("first"), Frames("second", ("first",)), list[Record]()
    for number, payload in enumerate((encode(Frame()), b"HF9 of a later version", encode(Frame()))):
        await log.append("obs", payload, f"o{number}")
    runner, progress = Runner(log, bus, clock, [first, second], kept.append), Progress(bus)  # type: ignore[arg-type]
    await progress.start()
    running = asyncio.create_task(runner.run())
    await progress.wait(("first", "second"), 3)
    assert await runner.durable() == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert first.seqs == second.seqs == [1, 3]
    assert {(one.seq, one.payload) for one in kept} == {(2, b"HF9 of a later version")}
