"""Requests to context sources as their sender sees them, and which headers a registration may add (clauses 4.3.6.5,
4.3.6.6). Made real by `app/forwarding.py`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, str]]
FROM_REQUEST = "urn:ngsi-ld:request"  # the value is that of the client's header (clause 4.3.6.5)
STEERING = frozenset({"contenttype", "jsonldcontext", "accept"})  # what the broker does, not what it sends (4.3.6.6)
OURS = frozenset(
    """
    ngsild-tenant ngsild-warning via host connection keep-alive content-length content-type transfer-encoding te trailer
    upgrade link expect
    """.split()  # noqa: SIM905 - a list of words is read as one
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request to a context source."""

    method: str
    url: str
    headers: Headers
    body: bytes | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Incoming:
    """What it answered; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


# `Unavailable`: no answer in time; `InvalidData`: one that is larger than this broker takes.
Exchange = Callable[[Outgoing], Awaitable[Incoming]]
