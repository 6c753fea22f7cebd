"""`GET /api/live` over real sockets: the door, the messages, and a client that does not read."""

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from console_city import AT, PASSWORD, SENSOR, STATION, Console, assemble, build, served
from haechi.core.observation import Observation, to_batch
from haechi.core.times import format_iso
from haechi.faces.console.feed import Feed
from haechi.plugins.stores.nats.log import NatsBus

LIMIT_S = 5.0


@pytest.fixture
async def console(tmp_path: Path, clock: Any) -> Console:
    return await build(tmp_path, clock)


@pytest.fixture
async def address(console: Console) -> AsyncIterator[str]:
    async with served(console.app) as where:
        yield where


def joined(address: str, **headers: str) -> Any:
    return connect(f"ws://{address}/api/live", additional_headers=headers, proxy=None)


async def message(live: ClientConnection) -> Any:
    async with asyncio.timeout(LIMIT_S):
        return orjson.loads(await live.recv())


async def until(live: ClientConnection, kind: str) -> Any:
    while (found := await message(live))["type"] != kind:
        pass
    return found


def observed(value: float, entity: str = SENSOR) -> Any:
    return to_batch([Observation(entity, "pressure", AT, AT, value, unit="KPA")])


async def bearer(console: Console) -> dict[str, str]:
    return {"Authorization": f"Bearer {await console.token('viewer')}"}


async def test_without_a_session_the_socket_is_refused_with_401(address: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with joined(address):
            pass
    assert refused.value.response.status_code == 401
    assert orjson.loads(refused.value.response.body or b"")["error"] == "Refused"


async def test_a_page_of_another_site_cannot_open_the_socket_with_the_cookie(console: Console, address: str) -> None:
    cookie = f"haechi_session={await console.token('viewer')}"
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with joined(address, Cookie=cookie, Origin="http://evil.test"):
            pass
    assert refused.value.response.status_code == 403
    async with joined(address, Cookie=cookie, Origin=f"http://{address}") as live:
        assert (await message(live))["type"] == "hello"


async def test_values_alarms_and_ticks_arrive_as_the_reference_says(console: Console, address: str) -> None:
    hub = console.services.hub
    async with joined(address, **await bearer(console)) as live:
        assert (await message(live))["now"] == format_iso(AT)
        hub.feed(observed(80.0))
        hub.beat()
        assert await message(live) == {
            "type": "latest", "entity": [SENSOR], "attribute": ["pressure"], "value": [80.0], "unit": ["KPA"],
            "observed_at": ["2026-11-22T09:00:00.000Z"], "quality": [0],
        }  # fmt: skip
        hub.tell("alarm", "a1", {"id": "a1", "level": "serious"})
        assert await message(live) == {"type": "alarm", "alarm": {"id": "a1", "level": "serious"}}
        hub.beat()
        hub.beat()
        assert (await until(live, "tick"))["now"] == format_iso(AT)


async def test_watch_narrows_and_null_widens_again(console: Console, address: str) -> None:
    hub = console.services.hub
    async with joined(address, **await bearer(console)) as live:
        await message(live)
        await live.send('{"type": "watch", "domains": ["air"]}')
        client = next(iter(hub._clients))
        await _until(lambda: client.domains == frozenset({"air"}))
        hub.feed(observed(1.0))
        hub.feed(observed(2.0, STATION))
        hub.beat()
        assert (await until(live, "latest"))["entity"] == [STATION]
        await live.send('{"type": "watch"}')
        await _until(lambda: client.domains is None)
        hub.feed(observed(3.0))
        hub.beat()
        assert set((await until(live, "latest"))["entity"]) == {SENSOR, STATION}
        await live.send(f'{{"type": "watch", "entities": ["{STATION}"]}}')
        await _until(lambda: client.entities == frozenset({STATION}))
        hub.feed(observed(4.0))
        hub.feed(observed(5.0, STATION))
        hub.beat()
        assert (await until(live, "latest"))["entity"] == [STATION]


async def _until(holds: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110 - watches another task from outside
            await asyncio.sleep(0.01)


async def test_a_message_that_is_none_closes_with_what_to_send(console: Console, address: str) -> None:
    async with joined(address, **await bearer(console)) as live:
        await live.send("hello?")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            while True:
                await message(live)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008 and '"watch"' in closed.value.rcvd.reason
    await _until(lambda: console.services.hub.watching == 0)


async def test_a_screen_beyond_the_bound_is_told_to_come_back_and_the_others_stay(
    console: Console, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haechi.faces.console.live.CLIENTS_MAX", 1)
    headers = await bearer(console)
    async with joined(address, **headers) as first:
        assert (await message(first))["type"] == "hello"
        async with joined(address, **headers) as second:
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await message(second)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013 and "1 screens" in closed.value.rcvd.reason
        console.services.hub.beat()
        assert console.services.hub.watching == 1
    await _until(lambda: console.services.hub.watching == 0)
    async with joined(address, **headers) as third:
        assert (await message(third))["type"] == "hello"


async def test_a_session_that_ends_closes_the_open_socket(console: Console) -> None:
    services = replace(console.services, ask_session_s=0.05)
    async with served(assemble(services)) as address:
        person, token = await services.accounts.login("viewer", PASSWORD, "test")
        async with joined(address, Authorization=f"Bearer {token}") as live:
            await message(live)
            await services.accounts.logout(person.session)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await message(live)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401


async def test_a_client_that_does_not_read_costs_no_memory_and_is_dropped_while_others_go_on(console: Console) -> None:
    """Fed 200 windows of 2,000 series (32 MB in all); what the server holds for the client stays below two messages."""
    services = replace(console.services, not_reading_s=1.0)
    hub = services.hub
    rows = [Observation(f"urn:ngsi-ld:WaterMeter:gimpo:{n}", "flow", AT, AT, 0.0) for n in range(2000)]
    batch = to_batch(rows)
    async with served(assemble(services)) as address:
        token = await console.token("viewer")
        deaf = await _handshake(address, token)
        async with joined(address, Authorization=f"Bearer {token}") as live:
            await message(live)
            await _until(lambda: hub.watching == 2)
            size = 0
            for _ in range(200):
                hub.feed(batch)
                hub.beat()
                size = max(size, len(orjson.dumps(await until(live, "latest"))))
                await asyncio.sleep(0.01)
            assert size > 150_000  # what 200 of these would have cost
            await _until(lambda: hub.watching == 1)
            hub.feed(observed(80.0))
            hub.beat()
            assert (await until(live, "latest"))["value"] == [80.0]
        assert await _drained(deaf) < 8_000_000  # what was on its way: socket buffers and at most two messages


async def _handshake(address: str, token: str) -> socket.socket:
    """A WebSocket client that asks and then never reads."""
    host, port = address.split(":")
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /api/live HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    deaf = socket.create_connection((host, int(port)))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    deaf.sendall(request.encode())
    deaf.setblocking(False)
    return deaf


async def _drained(deaf: socket.socket) -> int:
    """Bytes that still come, until the server's end of the connection."""
    loop, total = asyncio.get_running_loop(), 0
    with contextlib.closing(deaf), contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(LIMIT_S):
            while part := await loop.sock_recv(deaf, 1 << 20):
                total += len(part)
    return total


async def test_notices_of_the_bus_reach_the_screen_with_the_counts(console: Console, bus: NatsBus) -> None:
    class Quick:
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0.01)

    feed = Feed(console.services.hub, bus, Quick(), console.records.counts)  # type: ignore[arg-type]
    async with served(console.app) as address, feed.running(), joined(address, **await bearer(console)) as live:
        await message(live)
        assert (await until(live, "counts"))["counts"]["serious"] == 0
        await bus.publish("live.alarm", orjson.dumps({"id": "a1", "raised_at": AT}))
        assert (await until(live, "alarm"))["alarm"]["raised_at"] == "2026-11-22T09:00:00Z"
        console.records.put("alarms", {"id": "a1", "state": "unacknowledged", "changed_at": AT})
        assert (await until(live, "counts"))["counts"]["serious"] == 1
        await bus.publish("live.incident", orjson.dumps({"id": "I-1", "opened_at": AT}))
        assert (await until(live, "incident"))["incident"]["id"] == "I-1"
