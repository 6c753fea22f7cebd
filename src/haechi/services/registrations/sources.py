"""What a face needs to ask other context sources: who they are, how to reach them, who this broker is among them. Made
by `app`, one per tenant."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from haechi.services.registrations.registry import Registry
from haechi.services.registrations.watch import RegistrationWatch

Headers = Sequence[tuple[str, str]]


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


@dataclass(slots=True)
class Sources:
    """Truthy while any source is registered: else an operation asks nobody and pays for one test."""

    registry: Registry
    watch: RegistrationWatch
    exchange: Exchange
    alias: str  # contextSourceAlias of this broker and tenant (clause 5.2.40)
    cooling: dict[str, int] = field(
        default_factory=dict
    )  # registration -> until when its source is left alone, microseconds

    def __bool__(self) -> bool:
        return bool(self.registry)


class AllSources:
    """One `Sources` per tenant, made when it is asked for."""

    def __init__(self, make: Callable[[str], Sources], stored: Callable[[], Sequence[str]]) -> None:
        self._make, self._stored = make, stored
        self._made: dict[str, Sources] = {}

    def of(self, tenant: str) -> Sources:
        """The tenant's own; the empty name is the default tenant."""
        if tenant not in self._made:
            self._made[tenant] = self._make(tenant)
        return self._made[tenant]

    async def load(self) -> None:
        """Takes up the registration subscriptions of every tenant that has something stored."""
        for tenant in self._stored():
            await self.of(tenant).watch.load()

    def sweep(self, now: int) -> None:
        """What expired goes, counters are stored."""
        for one in self._made.values():
            one.registry.sweep(now)

    async def close(self) -> None:
        """Ends deliveries."""
        for one in self._made.values():
            await one.watch.close()
