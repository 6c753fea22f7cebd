"""Reads the changes of the live model and hands each to the subscriptions that ask for it. Runs in the api role.

How far it is lies in the book with the counters, committed together a few times a second: after a kill the last
fraction of a second is told again, with the same notification ids, and nothing is left out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import structlog

from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, NotFound, Unavailable
from haechi.core.times import to_us
from haechi.ports import Clock, EntityChanges, EntityQuery, EntityStore
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.subscriptions.book import Book, Kept
from haechi.services.subscriptions.content import joined
from haechi.services.subscriptions.delivery import Delivery, Send, Tools
from haechi.services.subscriptions.matching import changed, fired, why_not
from haechi.services.subscriptions.model import Subscription, compile_subscription
from haechi.services.subscriptions.relay import Relay
from haechi.services.tenants.live import store_of
from haechi.services.tenants.names import document_outside, prefix, split

READ = 500  # changes looked at in one go
FLUSH_S = 0.25
LOOK_S = 1.0
SLICE_S = 0.005  # the longest that looking at changes holds up requests
RETRY_S = 1.0
PERIODIC_MOST = 1000  # entities in a periodic notification

_events = structlog.get_logger("subscriptions")


@dataclass(frozen=True, slots=True)
class Sources:
    """What the notifier reads and how it sends. `contexts` gives those of a tenant, `store` holds all entities; `seen`
    tells the writer of changes how far it needs none any more."""

    book: Book
    changes: EntityChanges
    store: EntityStore
    contexts: Callable[[str], Contexts]
    send: Send
    clock: Clock
    seen: Callable[[int], Awaitable[None]]


class Notifier:
    """Call `load` once, then `run`; `wake` when the live model has moved."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._deliveries: dict[str, Delivery] = {}
        self._relays: dict[str, Relay] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._starts: dict[str, int] = {}  # the last change a subscription must not be told of
        self._moved: dict[str, Kept] = {}
        self._read = sources.book.position()
        self._flushed = self._read
        self._work = asyncio.Event()
        self._turns, self._rested_at = asyncio.Lock(), 0.0

    async def load(self) -> None:
        """Takes up all that are stored. One whose context is gone is told as failing and stays."""
        position = self._sources.book.position()
        for kept in await asyncio.to_thread(self._sources.book.all):
            start = position if kept.state.cursor is None else kept.state.cursor
            try:
                await self._take(kept, start)
            except HaechiError as error:
                kept.state.failing, kept.state.reason = True, str(error)
                self._note_moved(kept)
                _events.error("subscription_not_taken_up", subscription=kept.id, error=str(error))
        self._read = min([position, *self._starts.values()])

    def wake(self) -> None:
        """There may be changes."""
        self._work.set()

    # --- for the face ---

    def all(self) -> list[Kept]:
        """In order of creation."""
        return [one.kept for one in self._deliveries.values()]

    def get(self, id: str) -> Kept:
        """`NotFound` when there is none."""
        return self._delivery(id).kept

    def explained(self, id: str) -> dict[str, Any]:
        """What became of the last changes it might have been told of, and what was given up."""
        delivery = self._delivery(id)
        return {
            "id": id,
            "changes": list(reversed(delivery.explained)),
            "lastFailureReason": delivery.kept.state.reason or None,
            "givenUp": self._sources.book.failures(id),
        }

    async def put(self, kept: Kept) -> None:
        """A new or changed subscription, compiled before it is stored: `InvalidData` changes nothing."""
        subscription, tenant = await self._compiled(kept), split(kept.id)[0]
        types = {name for one in subscription.selectors for name in one.types}
        everything = not subscription.selectors or "*" in types
        kept.types = None if everything else sorted(prefix(tenant) + name for name in types)
        start = await asyncio.to_thread(self._sources.changes.last_change)
        await asyncio.to_thread(self._sources.book.put, [kept])
        await self._drop(kept.id)
        self._begin(kept, subscription, start)

    async def remove(self, id: str) -> None:
        """`NotFound` when there is none."""
        self._delivery(id)
        await self._drop(id)
        await asyncio.to_thread(self._sources.book.remove, id)

    def compiled(self, id: str) -> Subscription:
        """What it asks for; `NotFound` when there is none."""
        return self._delivery(id).subscription

    async def relay(self, id: str, key: str, documents: Sequence[dict[str, Any]]) -> None:
        """Takes over what another source told for it: kept when this returns."""
        self._delivery(id)
        if id not in self._relays:
            raise NotFound(f"the subscription {id} is to what is here alone; take yours back")
        await self._relays[id].take(key, to_us(self._sources.clock.now()), documents)

    def _delivery(self, id: str) -> Delivery:
        if id not in self._deliveries:
            raise NotFound(f"no subscription {id}; GET /ngsi-ld/v1/subscriptions lists those there are")
        return self._deliveries[id]

    # --- inside ---

    async def _compiled(self, kept: Kept) -> Subscription:
        contexts = self._sources.contexts(split(kept.id)[0])
        context = await contexts.resolve(kept.context)
        own = kept.body.get("jsonldContext")
        told = context if own is None else await contexts.resolve(own, counted=False)
        return compile_subscription(kept.body, context, told, self._lookup(split(kept.id)[0]))

    async def _take(self, kept: Kept, start: int) -> None:
        self._begin(kept, await self._compiled(kept), start)

    def _begin(self, kept: Kept, subscription: Subscription, start: int) -> None:
        sources, load = self._sources, partial(self._entities, split(kept.id)[0])
        tools = Tools(sources.send, sources.clock, load, sources.book.give_up, self._note_moved, self._turn)
        delivery = Delivery(kept, subscription, tools)
        self._deliveries[kept.id], self._starts[kept.id] = delivery, start
        tasks = [asyncio.create_task(delivery.run(), name=kept.id)]
        if subscription.interval_s is not None:
            tasks.append(asyncio.create_task(self._periodic(delivery, subscription.interval_s)))
        if kept.reach is not None:
            relay = self._relays[kept.id] = Relay(delivery, sources.book)
            tasks.append(asyncio.create_task(relay.run(), name=f"{kept.id} from elsewhere"))
        self._tasks[kept.id] = tasks

    async def _drop(self, id: str) -> None:
        tasks = self._tasks.pop(id, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._deliveries.pop(id, None)
        self._relays.pop(id, None)
        self._starts.pop(id, None)
        self._moved.pop(id, None)

    async def _entities(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        found = await asyncio.to_thread(store_of(self._sources.store, tenant).load, ids)
        return {id: orjson.loads(body) for id, body in found.items()}

    def _lookup(self, tenant: str) -> Callable[[str], Entity | None]:
        """Entities that q reaches by relationships, as they are now: a look-up by key, on the spot."""
        store = store_of(self._sources.store, tenant)

        def load(id: str) -> Entity | None:
            body = store.load([id]).get(id)
            return None if body is None else orjson.loads(body)

        return load

    def _note_moved(self, kept: Kept) -> None:
        self._moved[kept.id] = kept

    async def run(self) -> None:
        """Until cancelled; what is not delivered by then is delivered after the next start."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_changes())
                group.create_task(self._flush_for_ever())
        finally:
            for id in list(self._tasks):
                for task in self._tasks[id]:
                    task.cancel()

    async def _read_changes(self) -> None:
        while True:
            try:
                rows = await asyncio.to_thread(self._sources.changes.changes, self._read, READ)
                self._rested_at = asyncio.get_running_loop().time()
                for number, body in rows:
                    self._look(number, orjson.loads(body))
                    self._read = number
                    await self._rest()
            except Unavailable as error:
                _events.warning("changes_not_read", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if not rows:
                self._work.clear()
                try:
                    async with asyncio.timeout(LOOK_S):  # `wait_for` of Python 3.11 may swallow a cancellation
                        await self._work.wait()
                except TimeoutError:
                    continue

    async def _rest(self) -> None:
        """A change that a thousand subscriptions ask for takes long: requests have three quarters of the time."""
        now = asyncio.get_running_loop().time()
        if (spent_s := now - self._rested_at) >= SLICE_S:
            await asyncio.sleep(3 * min(spent_s, RETRY_S))
            self._rested_at = asyncio.get_running_loop().time()

    async def _turn(self) -> None:
        """One delivery begins in each round of the event loop, however many wait."""
        async with self._turns:
            await asyncio.sleep(0)

    def _look(self, number: int, body: Mapping[str, Any]) -> None:
        tenant, id = split(body["entity"])
        before, after = body["before"], body["after"]
        if tenant:
            before, after = (None if one is None else document_outside(one) for one in (before, after))
        change = changed(id, before, after)
        types, now = change.now["type"], to_us(self._sources.clock.now())
        for kept, delivery in self._deliveries.items():
            subscription = delivery.subscription
            if subscription.interval_s is not None or number <= self._starts[kept] or delivery.tenant != tenant:
                continue
            if not subscription.asks(change.entity, types):
                continue
            if not subscription.lives(now):
                delivery.note(number, change.entity, "not sent: the subscription is paused or expired")
            elif fired(subscription, change) and not (reason := why_not(subscription, change)):
                delivery.offer(number, change)
            else:
                delivery.note(number, change.entity, why_not(subscription, change) or reason)

    async def _periodic(self, delivery: Delivery, interval_s: float) -> None:
        while True:
            await self._sources.clock.sleep(interval_s)
            if delivery.subscription.lives(to_us(self._sources.clock.now())):
                try:
                    entities = await asyncio.to_thread(self._matching, delivery)
                    documents = await joined(delivery.subscription, entities, partial(self._entities, delivery.tenant))
                except HaechiError as error:
                    _events.warning("periodic_not_told", subscription=delivery.kept.id, error=str(error))
                    continue
                if documents:
                    await delivery.tell(documents)

    def _matching(self, delivery: Delivery) -> Sequence[Entity]:
        subscription, store = delivery.subscription, store_of(self._sources.store, delivery.tenant)
        types = {name for one in subscription.selectors for name in one.types} - {"*"}

        def matches(entity: Mapping[str, Any]) -> bool:
            fits = subscription.asks(entity["id"], entity["type"])
            return fits and (subscription.test is None or subscription.test(entity))

        query = EntityQuery(types=tuple(sorted(types)), matches=matches, limit=PERIODIC_MOST)
        return store.query(query).entities

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        """Counters and positions, in one commit; then the changes nobody needs may go."""
        moved, read = list(self._moved.values()), self._read
        if not moved and read == self._flushed:
            return
        self._moved = {}
        try:
            await asyncio.to_thread(self._sources.book.put, moved, read)
        except Unavailable as error:
            self._moved = {one.id: one for one in moved} | self._moved
            _events.warning("subscriptions_not_stored", error=str(error))
            return
        self._flushed = read
        cursors = [one.kept.state.cursor for one in self._deliveries.values()]
        await self._sources.seen(min([read, *(one for one in cursors if one is not None)]))
