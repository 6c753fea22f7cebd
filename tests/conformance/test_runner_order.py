"""Who waits for whom: a command reaches a projection after those it names; an observation waits for nobody but for the
turn of the rules."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from haechi.plugins.stores.nats.log import NatsBus, NatsLog
from haechi.ports import Notice, Record
from haechi.services.stream import runner
from haechi.services.stream.runner import Runner


class Held:
    """A projection that notes what it is given, once it may."""

    subjects = frozenset({"obs", "entity"})

    def __init__(self, name: str, after: tuple[str, ...] = ()) -> None:
        self.name, self.after = name, after
        self.seqs: list[int] = []
        self.calls = 0
        self.may, self.begun = threading.Event(), threading.Event()

    def position(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        self.begun.set()
        self.calls += 1
        assert self.may.wait(20)
        self.seqs += [one.seq for one in records]
        return ()

    def tick(self, now: datetime) -> Sequence[Notice]:
        return ()

    def close(self) -> None:
        pass


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.01)


async def test_rules_see_observations_while_the_live_model_lags_and_commands_only_after_it(
    log: NatsLog, bus: NatsBus, clock: object
) -> None:
    model, rules = Held("context"), Held("watch", ("context",))
    rules.may.set()
    running = asyncio.create_task(Runner(log, bus, clock, [model, rules], lambda record: None).run())  # type: ignore[arg-type]
    try:
        await log.append("obs", b"1", "1")
        await log.append("obs", b"2", "2")
        await until(lambda: rules.seqs == [1, 2])
        assert model.seqs == []
        await log.append("entity", b"3", "3")
        await log.append("obs", b"4", "4")
        await asyncio.sleep(0.3)
        assert 3 not in rules.seqs, "a command is seen after the live model has obeyed it"
        model.may.set()
        await until(lambda: rules.seqs == model.seqs == [1, 2, 3, 4])
    finally:
        model.may.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(("turn_s", "goes_on"), [(60.0, False), (0.05, True)])
async def test_while_the_rules_are_at_work_nobody_else_begins_unless_they_stand(
    log: NatsLog, bus: NatsBus, clock: object, monkeypatch: pytest.MonkeyPatch, turn_s: float, goes_on: bool
) -> None:
    monkeypatch.setattr(runner, "TURN_S", turn_s)
    model, rules = Held("context"), Held("watch", ("context",))
    model.may.set()
    made = Runner(log, bus, clock, [model, rules], lambda record: None, first=("watch",))  # type: ignore[arg-type]
    running = asyncio.create_task(made.run())
    try:
        await log.append("obs", b"1", "1")
        await until(rules.begun.is_set)
        if goes_on:
            await until(lambda: model.seqs == [1])
        else:
            await asyncio.sleep(0.3)
            assert model.seqs == []
        rules.may.set()
        await until(lambda: rules.seqs == model.seqs == [1])
        await log.append("entity", b"2", "2")  # for which the rules wait: nobody waits for them
        await until(lambda: rules.seqs == model.seqs == [1, 2])
    finally:
        rules.may.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_changes_reach_the_live_model_one_by_one_and_the_others_together(
    log: NatsLog, bus: NatsBus, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PACE_S", 1.0)
    monkeypatch.setattr(runner, "TURN_S", 60.0)  # the live model would stand as long if it gave way to who gathers
    model, rules, history = Held("context"), Held("watch", ("context",)), Held("history")
    for one in (model, rules, history):
        one.may.set()
    made = Runner(log, bus, clock, [model, rules, history], lambda record: None, first=("watch",))  # type: ignore[arg-type]
    running = asyncio.create_task(made.run())
    try:
        await log.append("entity", b"1", "1")
        await until(lambda: model.seqs == rules.seqs == history.seqs == [1])
        for seq in range(2, 22):
            await log.append("entity", b"x", str(seq))
            await until(lambda seq=seq: model.seqs[-1] == seq)
        await until(lambda: model.seqs == rules.seqs == history.seqs == list(range(1, 22)))
        assert model.calls > 20
        assert history.calls < model.calls
        assert rules.calls < model.calls
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
