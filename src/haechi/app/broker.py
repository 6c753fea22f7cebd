"""What the api role joins for the NGSI-LD face: @contexts, subscriptions and their delivery. Used by `api`."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from haechi.app import parts
from haechi.app.download import Downloader
from haechi.app.forwarding import Forwarder
from haechi.app.sending import Sender
from haechi.app.settings import RunSettings
from haechi.app.snapshots import SnapshotFiles
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame
from haechi.core.times import to_us
from haechi.faces.ngsi_ld.expiry import Expiry
from haechi.faces.ngsi_ld.routes import NgsiServices
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Bus, Clock, EvolutionReader, RecordStore
from haechi.services.context.outbox import SEEN
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.ngsi_ld.snapshots import Shelf
from haechi.services.registrations.copies import Copies
from haechi.services.registrations.registry import Registry, alias_in
from haechi.services.registrations.sources import AllSources
from haechi.services.registrations.sources import Sources as ContextSources
from haechi.services.registrations.watch import RegistrationWatch
from haechi.services.stream.progress import Commands
from haechi.services.subscriptions.book import Book
from haechi.services.subscriptions.notifier import Notifier, Sources
from haechi.services.tenants.known import Tenants
from haechi.services.tenants.names import DEFAULT, split
from haechi.services.tenants.records import TenantRecords
from haechi.services.tenants.told import TenantNotifier

RETRY_S = 1.0
SWEEP_S = 1.0
MOST = 1_000_000

_events = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class BrokerNeeds:
    """What the role has already."""

    settings: RunSettings
    documents: Mapping[str, Any]  # the city's @contexts
    clock: Clock
    bus: Bus
    entities: SqliteEntities
    write: Callable[[Frame], Awaitable[None]]
    command: Commands
    history: EvolutionReader
    instances_most: int


class Broker:
    """`services` for the face; everything else lives inside `running`."""

    def __init__(self, needs: BrokerNeeds) -> None:
        self._needs = needs
        self._download, self._send, self._forward = Downloader(), Sender(), Forwarder()
        store = parts.context_store(needs.settings)

        def contexts(own: RecordStore) -> Contexts:
            return Contexts(own, self._download, needs.clock, lambda: uuid.uuid4().hex, needs.documents)

        tenants = Tenants(parts.tenant_store(needs.settings), needs.clock, store, contexts)
        self._expiry = Expiry(needs.entities, needs.write, parts.ends_store(needs.settings), needs.clock)
        book = Book(parts.subscription_store(needs.settings))
        self._notifier = Notifier(
            Sources(book, needs.entities, needs.entities, tenants.contexts, self._send, needs.clock, self._tell_seen)
        )
        self._sources = self._all_sources(tenants)
        self.services = NgsiServices(
            needs.entities,
            needs.write,
            needs.clock,
            tenants.contexts(DEFAULT),
            self._notifier,
            self._watched_anew,
            tenants,
            self._expiry,
            Shelf(
                parts.snapshot_store(needs.settings), SnapshotFiles(needs.settings.folder / "snapshots", needs.clock)
            ),
            needs.history,
            needs.instances_most,
            sources=self._sources.of(DEFAULT),
            every_source=self._sources,
        )

    def _all_sources(self, tenants: Tenants) -> AllSources:
        """Other context sources, tenant by tenant, in one file."""
        store, clock = parts.registration_store(self._needs.settings), self._needs.clock
        alias = alias_in(store, lambda: f"haechi-{uuid.uuid4().hex}")

        def make(tenant: str) -> ContextSources:
            registry = Registry(TenantRecords(store, tenant, tenants.ensure))
            name = f"{alias}-{tenant}" if tenant else alias
            own, ways = tenants.contexts(tenant), (tenants.contexts(tenant), self._forward, clock)
            told = TenantNotifier(self._notifier, tenant, tenants.ensure)
            watch = RegistrationWatch(registry, own, self._send, clock)
            copies = Copies(registry, told.all, ways, (name, lambda: uuid.uuid4().hex))
            return ContextSources(registry, watch, copies, self._forward, name)

        def stored() -> Sequence[str]:
            ids = [one["id"] for name in ("registrations", "watches", "copies") for one in store.find(name, limit=MOST)]
            return sorted({split(id)[0] for id in ids})

        return AllSources(make, stored)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Delivers notifications meanwhile."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._download.close)
            stack.push_async_callback(self._send.close)
            stack.push_async_callback(await self._needs.bus.listen("applied.context", self._wake))
            stack.push_async_callback(self._forward.close)
            for work in (self._deliver(), self._expiry.run()):
                stack.push_async_callback(_ended, asyncio.create_task(work))
            await self._sources.load()
            stack.push_async_callback(self._sources.close)
            sweeping = asyncio.create_task(self._sweep())
            stack.push_async_callback(_ended, sweeping)
            yield

    async def _deliver(self) -> None:
        while True:
            try:
                await self._notifier.load()
                break
            except Unavailable as error:
                _events.warning("subscriptions_not_loaded", error=str(error))
                await asyncio.sleep(RETRY_S)
        self._sources.begin()
        await self._notifier.run()

    async def _sweep(self) -> None:
        """Registrations that have expired go; what sources did is counted durably."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self._sources.sweep(to_us(self._needs.clock.now()))
            except Unavailable as error:
                _events.warning("registrations_not_stored", error=str(error))

    async def _wake(self, subject: str, payload: bytes) -> None:
        self._notifier.wake()

    async def _tell_seen(self, number: int) -> None:
        try:
            await self._needs.bus.publish(SEEN, orjson.dumps({"number": number}))
        except Unavailable as error:
            _events.debug("seen_not_told", error=str(error))  # the next one says more

    async def _watched_anew(self) -> None:
        await self._needs.command({"kind": "subscriptions.changed"})


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
