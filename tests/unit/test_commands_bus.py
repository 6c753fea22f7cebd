"""Outcomes of commands from the bus to the log, each once."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from haechi.core.errors import Unavailable
from haechi.core.times import to_us
from haechi.ports import Log
from haechi.services.commands import to_log
from haechi.testing.clock import StandingClock

NOW = to_us(StandingClock().now())


class Bus:
    """A bus inside the test."""

    def __init__(self) -> None:
        self.ears: dict[str, Callable[[str, bytes], Awaitable[None]]] = {}

    async def publish(self, subject: str, payload: bytes) -> None:
        raise AssertionError("nobody is told anything here")

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        self.ears[pattern] = heard

        async def stop() -> None:
            del self.ears[pattern]

        return stop


class Kept(Log):
    """A log that stores each dedupe id once."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, Any]] = {}
        self.away = False

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        if self.away:
            raise Unavailable("no log")
        self.records.setdefault(dedupe_id, (subject, orjson.loads(payload)))
        return len(self.records)


async def test_an_outcome_told_twice_is_on_the_log_once() -> None:
    bus, log = Bus(), Kept()
    await to_log(bus, log)
    delivered, waiting = {"ok": True, "delivered": True}, {"ok": False, "waiting": True}
    words = [{"ok": True}, {"ok": True}, delivered, {**delivered, "confirmed": True}, {"ok": False, "unsure": True}]
    for word in [*words, waiting, waiting, {"ok": False}]:
        await bus.ears["command.done"]("command.done", orjson.dumps({"id": "c1", "at": NOW, "detail": "d", **word}))
    assert [id.split("-")[1] for id in log.records] == ["ok", "delivered", "confirmed", "unsure", "waiting", "failed"]
    subject, body = log.records["c1-ok"]
    assert subject == "ops"
    assert body == {"id": "c1-ok", "kind": "command.outcome", "user": "haechi", "command": "c1", "at": NOW,
                    "ok": True, "detail": "d"}  # fmt: skip


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"id": "c1"}', b'{"id": "c1", "at": "now"}'])
async def test_a_notice_nobody_understands_stops_nobody(payload: bytes) -> None:
    bus, log = Bus(), Kept()
    await to_log(bus, log)
    await bus.ears["command.done"]("command.done", payload)
    assert log.records == {}


async def test_a_log_that_is_away_is_outlived() -> None:
    bus, log = Bus(), Kept()
    stop = await to_log(bus, log)
    log.away = True
    told = orjson.dumps({"id": "c1", "at": NOW, "ok": True})
    await bus.ears["command.done"]("command.done", told)
    log.away = False
    await bus.ears["command.done"]("command.done", told)
    assert list(log.records) == ["c1-ok"]
    await stop()
    assert bus.ears == {}
