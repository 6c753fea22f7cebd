"""More at once than there is room for is told to come back, at once; who is inside goes on."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from haechi.app import following
from haechi.core.errors import Busy
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.faces.console import live
from haechi.faces.console.live import LiveHub
from haechi.faces.gate import Bounded, Gate
from haechi.faces.ngsi_ld.errors import error_response
from haechi.ports import HistorySnapshot, Record
from haechi.services.history.reader import HistoryTail
from haechi.services.stream import tape

AT = 1_795_338_000_000_000


async def test_a_full_gate_says_when_to_come_back_and_lets_in_again_when_one_has_left() -> None:
    leave = asyncio.Event()

    async def write(number: int) -> int:
        await leave.wait()
        return number

    gate = Gate(write, 2)
    inside = [asyncio.create_task(gate(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="2 writes wait") as busy:
        await gate(3)
    assert busy.value.retry_after_s > 0
    leave.set()
    assert await asyncio.gather(*inside) == [1, 2]
    assert await gate(3) == 3


async def test_a_gate_that_is_closed_says_why_and_calls_nobody() -> None:
    async def write() -> None:
        raise AssertionError

    with pytest.raises(Busy, match="behind"):
        await Gate(write, 2, lambda: "context is 9,000 messages behind")()


async def test_requests_beyond_the_bound_get_429_with_retry_after_and_the_others_their_answer() -> None:
    leave = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await leave.wait()
        await Response(Request(scope).url.path)(scope, receive, send)

    bounded = Bounded(app, 2)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(bounded), base_url="http://city") as client:
        inside = [asyncio.create_task(client.get(f"/{number}")) for number in range(2)]
        while bounded.inside < 2:  # noqa: ASYNC110 - of a counter, which has no event
            await asyncio.sleep(0)
        answer = await client.get("/more")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"] == "Busy"
        leave.set()
        assert [one.text for one in await asyncio.gather(*inside)] == ["/0", "/1"]
        assert (await client.get("/again")).status_code == 200


def test_ngsi_ld_says_in_its_own_words_that_it_is_busy() -> None:
    answer = error_response(Busy("64 writes wait", 7))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert orjson.loads(bytes(answer.body))["type"].endswith("/TooManyRequests")


def test_no_more_screens_connect_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CLIENTS_MAX", 2)
    hub = LiveHub(str, lambda: AT)
    first, _ = hub.join()
    hub.join()
    with pytest.raises(Busy, match="2 screens"):
        hub.join()
    hub.leave(first)
    hub.join()


class Files:
    """Committed files that say no more than how far they are complete."""

    def __init__(self) -> None:
        self.position = 0

    def newest(self) -> HistorySnapshot:
        return Snapshot(self.position)  # type: ignore[return-value]

    def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is asked of it here."""

    position: int


class Log:
    """Ten frames of two rows each, a frame at a time; then nothing."""

    async def last_seq(self) -> int:
        return 4

    async def read(self, after: int, subjects: frozenset[str]) -> Any:
        rows = to_batch([Observation("urn:ngsi-ld:X:1", name, AT, AT, 1.0) for name in ("flow", "head")])
        for seq in range(after + 1, 11):
            yield [Record(seq, "obs", encode(Frame(observations=rows)), AT)]
        await asyncio.Event().wait()


class Told:
    """The part of `Progress` that is told of the tail."""

    seq = 0

    async def advance(self, name: str, seq: int) -> None:
        assert name == "tail"
        self.seq = seq


async def until(told: Told, seq: int) -> None:
    async with asyncio.timeout(10):
        while told.seq < seq:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)


async def test_a_full_tail_waits_for_the_writer_while_screens_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "ROOM_S", 0.001)
    files, hub, told, log = Files(), LiveHub(str, lambda: AT), Told(), Log()
    monkeypatch.setattr(tape, "TOGETHER", 1)
    history, shared = HistoryTail(files, rows_max=6), tape.Tape(log, following.OBSERVED)  # type: ignore[arg-type]
    feeding = [
        asyncio.create_task(shared.run()),
        asyncio.create_task(following.feed_tail(shared, history, told)),  # type: ignore[arg-type]
        asyncio.create_task(following.feed_hub(log, shared, hub)),  # type: ignore[arg-type]
    ]
    await until(told, 3)
    await asyncio.sleep(0.05)
    assert (told.seq, history.position(), history.tail_rows(), history.full) == (3, 3, 6, True)
    assert orjson.loads(hub.join()[1])["seq"] == 10, "the screens are at the end of the log"
    files.position = 2
    history.refresh()
    await until(told, 5)
    await asyncio.sleep(0.05)
    assert (told.seq, history.tail_rows()) == (5, 6)
    files.position = 9
    history.refresh()
    await until(told, 10)
    assert (history.position(), history.tail_rows(), history.full) == (10, 2, False)
    for task in feeding:
        task.cancel()
    await asyncio.gather(*feeding, return_exceptions=True)
