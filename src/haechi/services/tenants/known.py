"""Which tenants there are, and what belongs to each of them alone. Made by `app.py`; used by the NGSI-LD face."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from haechi.core.errors import Busy
from haechi.core.frame import Frame
from haechi.core.times import to_us
from haechi.ports import Change, Clock, RecordStore
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.tenants.live import write_as
from haechi.services.tenants.names import DEFAULT
from haechi.services.tenants.records import TenantRecords

COLLECTIONS: Mapping[str, tuple[str, ...]] = {"tenants": ()}
MOST = 10_000


@dataclass(slots=True)
class Tenants:
    """A tenant is there once something of it is stored (clause 5.5.10); the default one always."""

    store: RecordStore
    clock: Clock
    context_store: RecordStore
    make_contexts: Callable[[RecordStore], Contexts]
    started_at: int = 0  # of this process, microseconds
    _names: set[str] = field(default_factory=set)
    _contexts: dict[str, Contexts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started_at = to_us(self.clock.now())
        self._names = {one["id"] for one in self.store.find("tenants", limit=MOST)}

    def any(self) -> bool:
        """Whether there is one besides the default."""
        return bool(self._names)

    def knows(self, tenant: str) -> bool:
        return tenant == DEFAULT or tenant in self._names

    def ensure(self, tenant: str) -> None:
        """It is there from now on; before anything of it is stored."""
        if self.knows(tenant):
            return
        if len(self._names) >= MOST:
            raise Busy(f"there are {MOST} tenants already; use one of them", 60)
        self.store.commit([Change("tenants", tenant, {"created_at": to_us(self.clock.now())})])
        self._names.add(tenant)

    def contexts(self, tenant: str) -> Contexts:
        """The @contexts stored for it."""
        if tenant not in self._contexts:
            self._contexts[tenant] = self.make_contexts(self.records(self.context_store, tenant))
        return self._contexts[tenant]

    def records(self, store: RecordStore, tenant: str) -> RecordStore:
        """Its documents in a store that all tenants share."""
        return TenantRecords(store, tenant, self.ensure)

    def writer(self, tenant: str, write: Callable[[Frame], Awaitable[None]]) -> Callable[[Frame], Awaitable[None]]:
        """What a face of that tenant writes with."""
        marked = write_as(tenant, write)

        async def written(frame: Frame) -> None:
            self.ensure(tenant)
            await marked(frame)

        return written
