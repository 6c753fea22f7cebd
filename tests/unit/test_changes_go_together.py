"""Changes that are asked for at the same time: one frame, and each is told what became of its own."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from haechi.core.errors import Conflict, HaechiError, NotFound, Unavailable
from haechi.core.frame import EntityCommand, Frame
from haechi.core.observation import Observation
from haechi.faces.ngsi_ld.together import ENOUGH, FLIGHTS, MOST, Together
from haechi.services.stream.progress import REMEMBERED, Progress, Refusals


class Log:
    """Takes frames; each waits until `go`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.go = asyncio.Event()
        self.errors: dict[str, HaechiError] = {}
        self.away: HaechiError | None = None

    async def __call__(self, frame: Frame) -> None:
        self.frames.append(frame)
        await self.go.wait()
        if self.away:
            raise self.away
        if refused := {one.id: self.errors[one.id] for one in frame.commands if one.id in self.errors}:
            raise Refusals(refused)

    def sizes(self) -> list[int]:
        return [len(one.commands) for one in self.frames]


def command(id: str) -> EntityCommand:
    return EntityCommand(id, "delete", f"urn:ngsi-ld:Pump:{id}")


async def asked(together: Together, *ids: str) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(together.send([command(id)], [])) for id in ids]
    await asyncio.sleep(0.01)
    return tasks


async def test_those_of_one_turn_share_a_frame_and_those_meanwhile_the_next_ones() -> None:
    log = Log()
    together = Together(log)
    tasks = await asked(together, "a", "b", "c")
    for id in "de":
        tasks += await asked(together, id)
    assert log.sizes() == [3], "a second frame is worth it when it is as large"
    for id in "fghij":
        tasks += await asked(together, id)
    assert log.sizes() == [3] * FLIGHTS
    log.go.set()
    await asyncio.gather(*tasks)
    assert log.sizes() == [3, 3, 4]
    assert [one.id for frame in log.frames for one in frame.commands] == list("abcdefghij")


async def test_two_clients_do_not_wait_for_each_other_nor_anybody_for_a_batch_of_thousands() -> None:
    log = Log()
    together = Together(log)
    tasks = await asked(together, "a")
    tasks += await asked(together, "b")
    assert log.sizes() == [1, 1]
    log.go.set()
    await asyncio.gather(*tasks)
    log.go.clear()
    batch = asyncio.create_task(together.send([command(str(number)) for number in range(MOST)], []))
    await asyncio.sleep(0)
    tasks = await asked(together, *[str(number) for number in range(ENOUGH)])
    assert log.sizes()[2:] == [MOST, ENOUGH]
    log.go.set()
    await asyncio.gather(batch, *tasks)


async def test_a_request_is_never_divided_and_frames_stay_bounded() -> None:
    log = Log()
    together = Together(log)
    log.go.set()
    many = [command(str(number)) for number in range(MOST + 1)]
    await asyncio.gather(together.send(many, []), together.send(many[:1], []))
    assert sorted(log.sizes()) == [1, MOST + 1]


async def test_rows_of_all_are_counted_once() -> None:
    log = Log()
    log.go.set()
    together = Together(log)
    row = Observation("urn:ngsi-ld:Pump:1", "flow", 1, 1, value=2.0, link="api")
    await asyncio.gather(*[together.send([command(id)], [row]) for id in "ab"])
    (frame,) = log.frames
    assert (frame.tallies["api"].received, frame.observations.num_rows) == (2, 2)


async def test_only_whose_command_was_refused_is_told_so() -> None:
    log = Log()
    log.errors["b"] = NotFound("it went away meanwhile")
    log.go.set()
    told = await asyncio.gather(*await asked(Together(log), "a", "b", "c"), return_exceptions=True)
    assert [type(one).__name__ for one in told] == ["NoneType", "NotFound", "NoneType"]


async def test_a_log_that_is_away_is_told_to_all_and_the_next_go_on() -> None:
    log = Log()
    log.away = Unavailable("the log is away")
    log.go.set()
    together = Together(log)
    told = await asyncio.gather(*await asked(together, "a", "b"), return_exceptions=True)
    assert [type(one).__name__ for one in told] == ["Unavailable"] * 2
    log.away = None
    await together.send([command("c")], [])


async def test_a_request_that_its_client_gave_up_holds_nobody_up() -> None:
    log = Log()
    together = Together(log)
    gone, stays = await asked(together, "a", "b")
    gone.cancel()
    await asyncio.sleep(0)
    log.go.set()
    await stays
    assert gone.cancelled()


class Bus:
    """Only what `Progress` asks of it."""

    def __init__(self) -> None:
        self.heard: dict[str, Any] = {}

    async def listen(self, subject: str, handle: Any) -> Any:
        self.heard[subject] = handle

    async def publish(self, subject: str, payload: bytes) -> None:
        raise NotImplementedError

    async def reply(self, id: str, answer: Mapping[str, Any]) -> None:
        await self.heard["reply.*"](f"reply.{id}", orjson.dumps(answer))


async def test_a_refusal_is_kept_until_it_is_asked_for_and_told_once() -> None:
    bus = Bus()
    progress = Progress(bus)
    await progress.start()
    await bus.reply("a", {"ok": True, "result": {}})
    await bus.reply("b", {"ok": False, "error": "Conflict", "detail": "another was quicker"})
    progress.check(["a"])
    with pytest.raises(Refusals, match="another was quicker") as caught:
        progress.check(["a", "b"])
    assert {id: type(error) for id, error in caught.value.errors.items()} == {"b": Conflict}
    progress.check(["b"])
    for number in range(REMEMBERED + 1):
        await bus.reply(str(number), {"ok": False, "error": "NotFound", "detail": "gone"})
    progress.check(["0"])  # the oldest went; nobody had asked
    with pytest.raises(Refusals):
        progress.check([str(REMEMBERED)])
