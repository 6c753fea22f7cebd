"""A small HTTP/1.1 client over kept connections, for probes and for load: requests are bytes made beforehand."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One kept connection, one request at a time; `answered(status, body)` is called for each answer."""

    def __init__(self, answered: Callable[["Connection", int, bytes], None]) -> None:
        self._answered = answered
        self._rest = b""
        self.lost: Callable[[], None] = _ignore

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost()

    def ask(self, one: bytes) -> None:
        self.transport.write(one)

    def data_received(self, received: bytes) -> None:
        block = self._rest + received
        end = block.find(b"\r\n\r\n")
        if end < 0:
            self._rest = block
            return
        head = block[:end].lower()
        status = int(head[9:12])
        place = head.find(b"content-length:")
        size = 0 if place < 0 else int(head[place + 15 :].split(b"\r\n", 1)[0])
        assert place >= 0 or status == 204, head
        if len(block) < end + 4 + size:
            self._rest = block
            return
        self._rest = b""
        self._answered(self, status, block[end + 4 :])


def _ignore() -> None:
    """Nobody waits for this connection."""


async def ask(port: int, one: bytes) -> Callable[[], "asyncio.Future[tuple[int, bytes]]"]:
    """Opens a connection; each call sends the request and waits for its answer."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[tuple[int, bytes]]] = []

    def answered(_: Connection, status: int, body: bytes) -> None:
        waiting.pop(0).set_result((status, body))

    connection = Connection(answered)
    await loop.create_connection(lambda: connection, "127.0.0.1", port)

    def again() -> "asyncio.Future[tuple[int, bytes]]":
        waiting.append(loop.create_future())
        connection.ask(one)
        return waiting[-1]

    return again


async def flood(port: int, shares: Sequence[Sequence[bytes]], expected: frozenset[int]) -> float:
    """Sends each share over a connection of its own, the next request when the last is answered; seconds it took."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = len(shares)
    sources: dict[Connection, Iterator[bytes]] = {}

    def answered(connection: Connection, status: int, body: bytes) -> None:
        nonlocal left
        if status not in expected:
            if not done.done():
                done.set_exception(ConnectionError(f"answered {status}: {body[:200]!r}"))
            return
        following = next(sources[connection], None)
        if following is not None:
            connection.ask(following)
            return
        left -= 1
        if not left and not done.done():
            done.set_result(None)

    def lost() -> None:
        if not done.done():
            done.set_exception(ConnectionError("the server closed a connection"))

    for share in shares:
        connection = Connection(answered)
        connection.lost = lost
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", port)  # type: ignore[misc]
        sources[connection] = iter(share)
    started = time.perf_counter()
    for connection, source in sources.items():
        connection.ask(next(source))
    await done
    span = time.perf_counter() - started
    for connection in sources:
        connection.lost = _ignore
        connection.transport.close()
    return span
