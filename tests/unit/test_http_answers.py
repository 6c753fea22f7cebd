"""What the api's HTTP connection writes: whole answers at once, the same bytes as uvicorn's own connection writes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from haechi.faces.writing import GatheringProtocol

Messages = list[dict[str, Any]]
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LENGTH = (b"content-length", b"2")


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def exchanged(kind: Callable[..., Any], messages: Messages, request: bytes = GET) -> Transport:
    """What a connection of that kind writes for an application that sends these."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    state, transport = ServerState(), Transport()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 05:00:00 GMT")]
    connection = kind(config, state, {}, asyncio.get_running_loop())
    connection.connection_made(transport)
    connection.data_received(request)
    while state.tasks:
        await asyncio.wait(state.tasks)
    await asyncio.sleep(0)  # what was gathered is written in the next turn
    connection.connection_lost(None)
    return transport


@pytest.mark.parametrize("request_", [GET, GET * 3, GET.replace(b"GET", b"HEAD"), GET.replace(b"1.1", b"1.0")])
@pytest.mark.parametrize(
    "messages",
    [
        [start(LENGTH, (b"x-a", b"1")), body(b"ab")],
        [start(LENGTH), body(b"a", more=True), body(b"b")],
        [start((b"x-a", b"1")), body(b"ab")],
        [start(status=204), body(b"")],
        [start((b"etag", b'"1"'), status=304), body(b"")],
        [start((b"content-length", b"0"), status=404), body(b"")],
        [start(LENGTH, (b"Connection", b"close")), body(b"ab")],
        [start(LENGTH, (b"set-cookie", b"haechi_session=secret")), body(b"ab")],
        [start(LENGTH), body(b"abc")],
        [start(LENGTH), body(b"a")],
        [start(LENGTH, (b"x-a", b"1\r\nx-b: 2")), body(b"ab")],
        [start(LENGTH), body(b"ab"), start(LENGTH), body(b"ab")],
        [start(LENGTH)],
    ],
)
async def test_an_answer_is_the_same_bytes_as_uvicorn_writes(messages: Messages, request_: bytes) -> None:
    ours = await exchanged(GatheringProtocol, messages, request_)
    theirs = await exchanged(HttpToolsProtocol, messages, request_)
    assert ours.closed == theirs.closed
    assert b"".join(ours.written) == b"".join(theirs.written)


async def test_a_whole_answer_is_written_at_once() -> None:
    assert len((await exchanged(GatheringProtocol, [start(LENGTH), body(b"ab")])).written) == 1


async def test_the_head_of_what_comes_bit_by_bit_does_not_wait_for_its_body() -> None:
    written = (await exchanged(GatheringProtocol, [start((b"content-type", b"text/event-stream"))])).written
    assert b"".join(written).startswith(b"HTTP/1.1 200 OK")
