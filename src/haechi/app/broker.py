"""What the api role joins for the NGSI-LD face: @contexts, subscriptions and their delivery. Used by `api`."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from haechi.app import parts
from haechi.app.download import Downloader
from haechi.app.sending import Sender
from haechi.app.settings import RunSettings
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame
from haechi.faces.ngsi_ld.routes import NgsiServices
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Bus, Clock, RecordStore
from haechi.services.context.outbox import SEEN
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.stream.progress import Commands
from haechi.services.subscriptions.book import Book
from haechi.services.subscriptions.notifier import Notifier, Sources
from haechi.services.tenants.known import Tenants
from haechi.services.tenants.names import DEFAULT

RETRY_S = 1.0

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


class Broker:
    """`services` for the face; everything else lives inside `running`."""

    def __init__(self, needs: BrokerNeeds) -> None:
        self._needs = needs
        self._download, self._send = Downloader(), Sender()
        store = parts.context_store(needs.settings)

        def contexts(own: RecordStore) -> Contexts:
            return Contexts(own, self._download, needs.clock, lambda: uuid.uuid4().hex, needs.documents)

        tenants = Tenants(parts.tenant_store(needs.settings), needs.clock, store, contexts)
        book = Book(parts.subscription_store(needs.settings))
        self._notifier = Notifier(
            Sources(book, needs.entities, needs.entities, tenants.contexts, self._send, needs.clock, self._tell_seen)
        )
        self.services = NgsiServices(
            needs.entities,
            needs.write,
            needs.clock,
            tenants.contexts(DEFAULT),
            self._notifier,
            self._watched_anew,
            tenants,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Delivers notifications meanwhile."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._download.close)
            stack.push_async_callback(self._send.close)
            stack.push_async_callback(await self._needs.bus.listen("applied.context", self._wake))
            delivering = asyncio.create_task(self._deliver())
            stack.push_async_callback(_ended, delivering)
            yield

    async def _deliver(self) -> None:
        while True:
            try:
                await self._notifier.load()
                break
            except Unavailable as error:
                _events.warning("subscriptions_not_loaded", error=str(error))
                await asyncio.sleep(RETRY_S)
        await self._notifier.run()

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
