"""A request and its answer, and what a connection wants to know of whoever answers. Used by connection and by doors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from haechi.core.errors import HaechiError, InvalidData

CLOSE, KEEP = b"connection: close\r\n", b"connection: keep-alive\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take. `body_s`: a body must be here within; `body_bytes_max` of it."""

    connections_max: int
    body_bytes_max: int
    body_s: float


@dataclass(slots=True, eq=False)
class Exchange:
    """A request from its head to its answer; whoever answers notes in the first fields what it found."""

    send: Callable[[], None]  # tells its connection that it was answered
    device: str = ""
    channel: str = ""
    size: int = 0  # what its body may take of our memory
    counted: bool = False  # among those in flight
    key: str = ""  # under which its answer is remembered
    method: bytes = b""
    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)  # names in lower case, of a repeated one the first
    chunks: list[bytes] = field(default_factory=list)
    received: int = 0  # bytes of the body so far
    keep: bytes = b""  # how its answer names the connection's future; CLOSE: this request is the last
    answer: bytes | None = None

    def header(self, name: bytes) -> str:
        """The value of a header, "" when there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Desk(Protocol):
    """Who answers the requests of all connections. Its methods do not wait; answers may come at any later time."""

    limits: Limits
    # What a head says that was checked a moment ago: device, channel, bytes of the body. A device sends the same head
    # each time: those of plain requests are put here by connections, and taken out by whoever answers.
    heads: dict[bytes, tuple[str, str, int]]

    def begin(self, exchange: Exchange) -> None:
        """The head is here: lets the body come, or raises a `HaechiError`."""

    def end(self, exchange: Exchange, body: bytes) -> None:
        """The body is whole: answers now or later, or raises."""

    def again(self, exchange: Exchange, body: bytes) -> None:
        """As `begin` and `end`, of a request whose head is known; raises as well."""

    def turn_away(self, exchange: Exchange, error: HaechiError) -> None:
        """Answers with what was raised."""

    def abandon(self, exchange: Exchange) -> None:
        """Its connection ended before the body was whole."""


def response(status: int, body: bytes, date: bytes, more: bytes = b"") -> bytes:
    """An HTTP/1.1 response with a JSON body; `more`: whole header lines."""
    line = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    head = b"%bdate: %b\r\n%bcontent-type: application/json\r\n" % (line, date, more)
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def too_large(most: int) -> InvalidData:
    """What the sender of a larger body is told."""
    return InvalidData(f"at most {most} bytes in one request; send several", "too_large")
