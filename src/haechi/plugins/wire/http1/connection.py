"""One HTTP/1.1 connection: requests in, answers out in their order, nobody waited for without end. Made by a door.

No task and no time-out of its own for each request: at thousands of requests a second those cost more than the
requests. Their door calls `look` about once a second instead.
"""

import asyncio
import math
from collections import deque
from typing import cast

import httptools

from haechi.core.errors import HaechiError, InvalidData, Unavailable
from haechi.plugins.wire.http1.exchange import CLOSE, KEEP, Desk, Exchange, too_large

HEAD_S = 10.0  # a head must be here within
IDLE_S = 60.0  # a connection without a request is closed after
LINGER_S = 1.0  # a body nobody wants may go on for so long: a sender cut off while it sends never sees the answer
CLOGGED_S = 30.0  # a sender that does not take its answers is dropped after
HEAD_BYTES = 65_536  # of a head, and one read of the socket more
PIPELINED = 32  # requests that may wait for their answers; then nothing more is read
CROWD = 100  # connections beyond the limit that are told so; those beyond are just closed
KNOWN_BYTES, KNOWN = 2_048, 4_096  # how long a head may be that is remembered, and how many are
SPECIAL = frozenset({b"expect", b"content-encoding", b"idempotency-key", b"transfer-encoding"})
CLOGGED, OWING = 1, 2  # why nothing is read: the sender does not take its answers, or too many are not there yet


class Connection(asyncio.Protocol):
    """`asyncio.Protocol`, and what httptools calls while it parses (`on_…`)."""

    def __init__(self, desk: Desk, connections: "set[Connection]") -> None:
        self._desk, self._connections = desk, connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()  # not answered yet, in order
        self._open: Exchange | None = None  # the request that is just coming
        self._headed = False  # its head is here
        self._head_bytes = 0  # what came of a head that is not
        self._begun = 0  # requests that began in the bytes just read
        self._whole: Exchange | None = None  # the last one that ended in them
        self._deaf = False  # no more requests are taken
        self._crowd = len(connections) >= desk.limits.connections_max
        self._pauses = 0
        self._due = self._loop.time() + HEAD_S  # when `look` does something about it
        self._clogged_at = math.inf

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._connections.add(self)
        if len(self._connections) > self._desk.limits.connections_max + CROWD:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or (self._deaf and not (self._open and self._headed)):
            return
        if self._crowd:
            self._break_off(Unavailable("too many connections at once; connect again later"))
            return
        if self._open is None:
            data = self._met_before(data)
        if data:
            self._read(data)
        if len(self._exchanges) > PIPELINED:
            self._pause(OWING)

    def eof_received(self) -> bool:
        """The sender sends no more. What it asked in full it is still told (RFC 9112, 9.6), except over TLS."""
        transport, unfinished = self._transport, self._open
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return False
        if unfinished is not None:
            self._open, self._deaf = None, True
            if unfinished.answer is None:
                self._exchanges.remove(unfinished)
                self._desk.abandon(unfinished)
        if not self._exchanges:
            return False
        self._exchanges[-1].keep, self._deaf = CLOSE, True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        if self._open is not None:
            self._desk.abandon(self._open)
        del self._parser  # it knows us: a circle

    def pause_writing(self) -> None:
        self._clogged_at = self._loop.time()
        self._pause(CLOGGED)

    def resume_writing(self) -> None:
        self._clogged_at = math.inf
        self._resume(CLOGGED)

    # --- for the door ---

    def look(self, now: float) -> None:
        """Does what is due: answers 408 where a head or body does not come, closes a connection that is idle."""
        if self._transport is None:
            return
        if min(self._clogged_at, self._due if self._transport.is_closing() else math.inf) + CLOGGED_S < now:
            self._transport.abort()
        elif now < self._due or self._pauses & OWING:
            return
        elif self._open is not None and self._open.answer is None:
            late = f"the body did not come within {self._desk.limits.body_s:g} s", "too_slow"
            self._break_off(InvalidData(*(late if self._headed else (f"no head within {HEAD_S:g} s", "slow_head"))))
        elif not self._exchanges:
            self._transport.close()

    def leave(self) -> None:
        """Takes no more requests; ends the connection once it was answered what it asked."""
        last = self._open or (self._exchanges[-1] if self._exchanges else None)
        if self._open is not None and not self._headed:
            self._break_off(Unavailable("the door closes; connect again later"))
        elif last is not None and last.answer is None:
            last.keep, self._deaf = CLOSE, True
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()

    def send(self) -> None:
        """Writes the answers that are there, in the order of their requests."""
        transport, exchanges = self._transport, self._exchanges
        if transport is None or transport.is_closing():
            return
        while exchanges and (answer := exchanges[0].answer) is not None:
            last = exchanges.popleft()
            transport.write(answer)
            if last.keep == CLOSE:
                self._end(transport)
                return
        if not exchanges and self._open is None:
            self._due = self._loop.time() + IDLE_S
        if self._pauses & OWING and len(exchanges) <= PIPELINED // 2:
            self._loop.call_soon(self._resume, OWING)

    def _end(self, transport: asyncio.Transport) -> None:
        """The last answer is written: closes, after what is still coming of a body nobody wants."""
        self._deaf = True
        self._exchanges.clear()
        self._due = self._loop.time() + LINGER_S
        if self._open is None:
            transport.close()

    def _pause(self, why: int) -> None:
        if self._transport is not None and not self._pauses and not self._transport.is_closing():
            self._transport.pause_reading()
        self._pauses |= why

    def _resume(self, why: int) -> None:
        if self._pauses == why and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._open is not None:  # the time in which we did not listen is not its
                self._due = self._loop.time() + self._desk.limits.body_s
        self._pauses &= ~why

    # --- requests ---

    def _met_before(self, data: bytes) -> bytes:
        """Takes the requests whose head is known to the byte, without parsing it; returns what is left."""
        known = self._desk.heads
        while data and known:
            start = data.find(b"\r\n\r\n") + 4
            head = known.get(data[:start])
            if head is None or len(data) - start < head[2]:
                break
            self._due, end = math.inf, start + head[2]
            exchange = Exchange(self.send, *head)
            self._exchanges.append(exchange)
            try:
                self._desk.again(exchange, data[start:end])
            except HaechiError as error:
                self._desk.turn_away(exchange, error)
            data = data[end:]
        return data

    def _read(self, data: bytes) -> None:
        between, self._begun, self._whole = self._open is None, 0, None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self.abort()
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._deaf:
                self._break_off(InvalidData(f"no HTTP/1.1 request: {error}", "bad_request"))
            return
        if self._open is not None and not self._headed and not self._begun:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._break_off(InvalidData(f"a head of more than {HEAD_BYTES} bytes; shorten it", "large_head"))
        elif between and self._begun == 1 and self._open is None and self._whole is not None:
            self._remember(data[: len(data) - self._whole.received], self._whole)

    def _remember(self, head: bytes, exchange: Exchange) -> None:
        """That head again may take the short way, if nothing about it needs a second look."""
        heads = self._desk.heads
        plain = exchange.device and not exchange.keep and not exchange.headers.keys() & SPECIAL
        if plain and exchange.received == exchange.size and len(head) <= KNOWN_BYTES and len(heads) < KNOWN:
            heads[head] = (exchange.device, exchange.channel, exchange.received)

    def _break_off(self, error: HaechiError) -> None:
        """Nothing more can be made of what this sender sends: tells it so, and closes."""
        exchange = self._open
        if exchange is None:
            exchange = Exchange(self.send)
            self._exchanges.append(exchange)
        if exchange.answer is None:
            exchange.keep, self._deaf = CLOSE, True
            self._desk.turn_away(exchange, error)
        else:
            self.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun += 1
        if self._deaf:
            return
        self._open, self._headed, self._head_bytes = Exchange(self.send), False, 0
        self._exchanges.append(self._open)
        self._due = self._loop.time() + HEAD_S

    def on_url(self, part: bytes) -> None:
        """More of its target."""
        if self._open is not None:
            self._open.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header."""
        if self._open is not None and not self._headed:  # else a trailer
            self._open.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """The head is whole: the door says whether the body is wanted."""
        exchange = self._open
        if exchange is None:
            return
        self._headed, self._due = True, self._loop.time() + self._desk.limits.body_s
        exchange.method = self._parser.get_method()
        if not self._parser.should_keep_alive():
            exchange.keep = CLOSE
        elif not exchange.keep and self._parser.get_http_version() == "1.0":
            exchange.keep = KEEP
        try:
            if self._parser.should_upgrade():
                raise InvalidData("HTTP/1.1 is spoken here and nothing else; send no Upgrade", "bad_request")
            self._desk.begin(exchange)
        except HaechiError as error:
            self._desk.turn_away(exchange, error)
            return
        if exchange.headers.get(b"expect", b"").lower() == b"100-continue" and self._exchanges[0] is exchange:
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        """More of the body, without chunk heads."""
        exchange = self._open
        if exchange is None or exchange.answer is not None:
            return
        exchange.received += len(chunk)
        exchange.chunks.append(chunk)
        if exchange.received > self._desk.limits.body_bytes_max:
            self._desk.turn_away(exchange, too_large(self._desk.limits.body_bytes_max))

    def on_message_complete(self) -> None:
        """The body is whole."""
        exchange, self._open = self._open, None
        if exchange is None:
            return
        self._whole, self._due = exchange, math.inf
        if exchange.answer is None:
            body = exchange.chunks[0] if len(exchange.chunks) == 1 else b"".join(exchange.chunks)
            exchange.chunks.clear()
            try:
                self._desk.end(exchange, body)
            except HaechiError as error:
                self._desk.turn_away(exchange, error)
        if exchange.keep == CLOSE:
            self._deaf = True
        if self._transport is not None and not self._exchanges:  # it was answered before it was whole
            self._due = self._loop.time() + IDLE_S
            if self._deaf:
                self._transport.close()
