"""How long intake lets messages gather: large frames under load, no wait for who comes alone or waits for an answer.

On an event loop whose clock jumps to whatever is due next: a second of a city takes what its Python takes.
"""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from haechi.core.frame import decode
from haechi.core.message import Message
from haechi.plugins.codecs.json import create as json_codec
from haechi.ports import Record
from haechi.services.ingest.gathering import HOLD_S
from haechi.services.ingest.intake import GroupIntake
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan

SENSOR = "urn:ngsi-ld:WaterFlowMeter:gimpo:F-1"
APPEND_S = 0.0015
MESSAGE = Message("water", "GW-01", "F-1", b'{"flow": 1}', 1_795_000_000_000_000)


class Jumping(selectors.DefaultSelector):
    """Waits for nothing: the time it was told to wait has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


def jumping(work: Coroutine[Any, Any, None]) -> None:
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


class Log:
    """Takes `APPEND_S` for an append; remembers how many observations each held."""

    def __init__(self) -> None:
        self.frames: list[int] = []

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        await asyncio.sleep(APPEND_S)
        self.frames.append(decode(payload).observations.num_rows)
        return len(self.frames)

    def read(self, after: int, subjects: frozenset[str]) -> AsyncIterator[Sequence[Record]]:
        raise AssertionError("intake reads nothing")

    async def last_seq(self) -> int:
        return len(self.frames)


class City:
    """An intake, and senders of several kinds before it."""

    def __init__(self) -> None:
        self.log, self.held_s = Log(), list[float]()
        rules, attributes = (FieldRule("flow", "flow"),), {("WaterFlowMeter", "flow"): Attribute(None)}
        types, entities = {SENSOR: "WaterFlowMeter"}, {("GW-01", ""): SENSOR}
        plan = LinkPlan("water", json_codec({}), rules, entities, types, attributes)
        self.intake = GroupIntake(self.log, {"water": Mapper(plan)})
        self.loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, count: int) -> None:
        began = self.loop.time()
        await self.intake.accept([MESSAGE] * count)
        self.held_s.append(self.loop.time() - began)

    async def steadily(self, rate: float, seconds: float, every_s: float) -> None:
        """So many a second, the share of `every_s` at once, whatever becomes of those before."""
        for _ in range(round(seconds / every_s)):
            task = self.loop.create_task(self.send(round(rate * every_s)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(every_s)

    async def asking(self, seconds: float, think_s: float = 0.0) -> int:
        """One message after the other, each when the last is answered; how many."""
        ends_at, sent = self.loop.time() + seconds, 0
        while self.loop.time() < ends_at:
            await self.send(1)
            sent += 1
            await asyncio.sleep(think_s)
        return sent

    def since(self, frames: int) -> float:
        """Observations in a frame, mean of those after so many."""
        return sum(self.log.frames[frames:]) / len(self.log.frames[frames:])


def in_a_city(live: Callable[[City], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        city = City()
        await city.intake.start()
        await live(city)
        await city.intake.stop()

    jumping(run())


@pytest.mark.parametrize(("rate", "every_s"), [(17_000, 0.01), (17_000, 0.001), (20_000, 0.005), (34_000, 0.01)])
def test_a_steady_stream_makes_large_frames_and_nobody_is_held_longer_than_agreed(rate: float, every_s: float) -> None:
    async def live(city: City) -> None:
        await city.steadily(rate, 2.5, every_s)
        warm = len(city.log.frames)
        await city.steadily(rate, 1.0, every_s)
        assert city.since(warm) >= 300
        assert max(city.held_s) < HOLD_S + 4 * APPEND_S

    in_a_city(live)


def test_a_message_that_comes_alone_waits_for_nobody() -> None:
    async def live(city: City) -> None:
        for _ in range(300):
            await city.send(1)
            await asyncio.sleep(0.05)
        assert max(city.held_s) == pytest.approx(APPEND_S)

    in_a_city(live)


def test_a_sender_that_waits_for_each_answer_is_as_fast_as_the_log() -> None:
    async def live(city: City) -> None:
        assert await city.asking(5.0) >= 0.95 * 5.0 / APPEND_S

    in_a_city(live)


def test_many_senders_that_wait_for_their_answers_are_gathered_but_not_held() -> None:
    async def live(city: City) -> None:
        think_s = [0.0002 + 0.00001 * number for number in range(128)]
        sent = sum(await asyncio.gather(*(city.asking(1.5, one) for one in think_s)))
        round_s = max(think_s) + APPEND_S
        assert sent >= 0.8 * 128 * 1.5 / round_s
        assert city.since(0) >= 40, "frames of 20 cost twice"

    in_a_city(live)


def test_who_waits_for_answers_is_soon_not_held_any_more_when_a_stream_ends() -> None:
    async def live(city: City) -> None:
        await city.steadily(17_000, 2.0, 0.01)
        await city.asking(0.2)
        assert await city.asking(1.0) >= 0.9 * 1.0 / APPEND_S

    in_a_city(live)
