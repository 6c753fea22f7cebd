"""Commands on the bus: to MQTT topics, and outcomes to the log once."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from haechi.core.errors import Unavailable
from haechi.core.times import to_us
from haechi.ports import Log
from haechi.services.commands import stop_all, to_log, to_topics
from haechi.testing.clock import StandingClock

NOW = to_us(StandingClock().now())


class Bus:
    """A bus inside the test; `away` makes it unavailable."""

    def __init__(self) -> None:
        self.ears: dict[str, Callable[[str, bytes], Awaitable[None]]] = {}
        self.told: list[tuple[str, Any]] = []
        self.away = False

    async def publish(self, subject: str, payload: bytes) -> None:
        if self.away:
            raise Unavailable("no bus")
        self.told.append((subject, orjson.loads(payload)))

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


def command(**changes: Any) -> bytes:
    body = {"id": "c1", "device": "RTU.1", "channel": "P-1", "field": "target", "value": 2.5, "expires_at": NOW + 1}
    return orjson.dumps({**body, **changes})


async def test_a_command_goes_out_on_its_devices_topic_and_counts_as_sent() -> None:
    bus = Bus()
    stop = await to_topics(bus, StandingClock(), "water", "city/{device}/set/{channel}/{field}")
    await bus.ears["command.water"]("command.water", command())
    (subject, body), (where, outcome) = bus.told
    assert subject == "mqtt.city.RTU%2E1.set.P-1.target", "a dot in a name is no level"
    assert body == {"id": "c1", "field": "target", "channel": "P-1", "value": 2.5}
    assert (where, outcome["id"], outcome["ok"], outcome["at"]) == ("command.done", "c1", True, NOW)
    assert "confirmed" not in outcome, "nobody saw the device acknowledge"
    await stop_all([stop])
    assert bus.ears == {}


async def test_a_command_that_comes_too_late_is_not_sent() -> None:
    bus = Bus()
    await to_topics(bus, StandingClock(), "water", "city/{device}/commands/{field}")
    await bus.ears["command.water"]("command.water", command(expires_at=NOW - 1))
    ((where, outcome),) = bus.told
    assert (where, outcome["ok"]) == ("command.done", False)


async def test_an_outcome_told_twice_is_on_the_log_once() -> None:
    bus, log = Bus(), Kept()
    await to_log(bus, log)
    for word in ({"ok": True}, {"ok": True}, {"ok": False, "unsure": True}):
        await bus.ears["command.done"]("command.done", orjson.dumps({"id": "c1", "at": NOW, "detail": "d", **word}))
    assert [body["ok"] for _, body in log.records.values()] == [True, False]
    subject, body = log.records["c1-ok"]
    assert subject == "ops"
    assert body == {"id": "c1-ok", "kind": "command.outcome", "user": "haechi", "command": "c1", "at": NOW,
                    "ok": True, "detail": "d"}  # fmt: skip


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"id": "c1"}', b'{"id": "c1", "at": "now"}'])
async def test_a_notice_nobody_understands_stops_nobody(payload: bytes) -> None:
    bus, log = Bus(), Kept()
    await to_log(bus, log)
    await to_topics(bus, StandingClock(), "water", "city/{device}/commands/{field}")
    await bus.ears["command.done"]("command.done", payload)
    await bus.ears["command.water"]("command.water", payload)
    assert (log.records, bus.told) == ({}, [])


async def test_a_log_or_a_bus_that_is_away_is_outlived() -> None:
    bus, log = Bus(), Kept()
    await to_log(bus, log)
    await to_topics(bus, StandingClock(), "water", "city/{device}/commands/{field}")
    log.away = bus.away = True
    told = orjson.dumps({"id": "c1", "at": NOW, "ok": True})
    await bus.ears["command.done"]("command.done", told)
    await bus.ears["command.water"]("command.water", command())
    log.away = bus.away = False
    await bus.ears["command.done"]("command.done", told)
    await bus.ears["command.water"]("command.water", command())
    assert list(log.records) == ["c1-ok"]
    assert [subject for subject, _ in bus.told] == ["mqtt.city.RTU%2E1.commands.target", "command.done"]
