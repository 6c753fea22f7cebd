"""What a face needs to ask other context sources: who they are, how to reach them, who this broker is among them. Made
by `app`, one per tenant."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from haechi.services.registrations.copies import Copies
from haechi.services.registrations.exchange import Exchange, Incoming, Outgoing
from haechi.services.registrations.kept import KeptAnswers
from haechi.services.registrations.model import Registration
from haechi.services.registrations.registry import Registry
from haechi.services.registrations.watch import RegistrationWatch

__all__ = ["AllSources", "Exchange", "Incoming", "Outgoing", "Sources"]


@dataclass(slots=True)
class Sources:
    """Truthy while any source is registered: else an operation asks nobody and pays for one test."""

    registry: Registry
    watch: RegistrationWatch
    copies: Copies
    exchange: Exchange
    alias: str  # contextSourceAlias of this broker and tenant (clause 5.2.40)
    cooling: dict[str, int] = field(
        default_factory=dict
    )  # registration -> until when its source is left alone, microseconds
    kept: KeptAnswers = field(default_factory=KeptAnswers)

    def __post_init__(self) -> None:
        self.registry.told.append(self._registration_moved)

    def _registration_moved(self, was: Registration | None, now: Registration | None) -> None:
        for one in {one.id for one in (was, now) if one is not None}:
            self.kept.forget(one)

    def __bool__(self) -> bool:
        return bool(self.registry)


class AllSources:
    """One `Sources` per tenant, made when it is asked for."""

    def __init__(self, make: Callable[[str], Sources], stored: Callable[[], Sequence[str]]) -> None:
        self._make, self._stored = make, stored
        self._made: dict[str, Sources] = {}
        self._begun = False

    def of(self, tenant: str) -> Sources:
        """The tenant's own; the empty name is the default tenant."""
        if tenant not in self._made:
            self._made[tenant] = self._make(tenant)
            if self._begun:
                self._made[tenant].copies.begin()
        return self._made[tenant]

    def made(self) -> Iterator[tuple[str, Sources]]:
        """Those there are, with their tenants."""
        return iter(list(self._made.items()))

    async def load(self) -> None:
        """Takes up the registration subscriptions of every tenant that has something stored."""
        for tenant in self._stored():
            await self.of(tenant).watch.load()

    def begin(self) -> None:
        """The subscriptions are there: their copies at sources can be looked after."""
        self._begun = True
        for one in self._made.values():
            one.copies.begin()

    def sweep(self, now: int) -> None:
        """What expired goes, counters are stored."""
        for one in self._made.values():
            one.registry.sweep(now)

    async def close(self) -> None:
        """Ends deliveries."""
        for one in self._made.values():
            await one.copies.close()
            await one.watch.close()
