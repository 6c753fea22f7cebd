"""What this face needs from the rest: the live model, a way to the log, the clock. Made by `app.py`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from haechi.core.frame import Frame
from haechi.faces.ngsi_ld.expiry import Expiry
from haechi.ports import Clock, EntityCensus, EntityStore, EntityVersion, EvolutionReader
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.ngsi_ld.snapshots import Shelf
from haechi.services.registrations.sources import AllSources, Sources
from haechi.services.tenants.known import Tenants
from haechi.services.tenants.told import Subscriptions


class LiveModel(EntityStore, EntityCensus, EntityVersion, Protocol):
    """Entities, what kinds of them there are, and whether anything changed."""


@dataclass(frozen=True, slots=True)
class NgsiServices:
    """`write` appends a frame on subject `entity` to the log and returns when reads of `store` see it; `watched_anew`
    returns when changes are kept for the subscriptions there are now. `tenancy.py` says of each whose it is.
    """

    store: LiveModel
    write: Callable[[Frame], Awaitable[None]]
    clock: Clock
    contexts: Contexts
    notifier: Subscriptions
    watched_anew: Callable[[], Awaitable[None]]
    tenants: Tenants
    expiry: Expiry
    shelf: Shelf
    history: EvolutionReader | None = None  # None: this process has none; the temporal API says so
    instances_most: int = 10_000  # of attributes in one answer of the temporal API
    sources: Sources = field(kw_only=True)  # other context sources; of all tenants: `every_source`
    every_source: AllSources = field(kw_only=True)
