"""Delivers one subscription's notifications, one after the other: throttled, tried again, given up in the end. Made
by the notifier; a slow or dead receiver holds up nobody but itself."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

import orjson
import structlog

from haechi.core.errors import HaechiError
from haechi.core.times import SECOND, format_iso, to_us
from haechi.ports import Clock
from haechi.services.ngsi_ld.linked import Load
from haechi.services.subscriptions.book import Kept
from haechi.services.subscriptions.content import documents
from haechi.services.subscriptions.matching import Changed, changed
from haechi.services.subscriptions.model import Endpoint, Subscription
from haechi.services.tenants.names import split

TOGETHER = 100  # entities in one notification at most
WAITING = 10_000  # entities that may wait for one receiver; more are given up
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
GIVE_UP_S = 3600.0
TAKEN, LAPSED = "notified", "not sent: the subscription is paused or expired"
EXPLAINED = 50  # changes remembered with what became of them

Send = Callable[[Endpoint, bytes, Sequence[tuple[str, str]]], Awaitable[None]]
_events = structlog.get_logger("subscriptions")


@dataclass(slots=True)
class _Waiting:
    number: int  # of the first change it stands for
    last: int  # of the newest
    change: Changed


@dataclass(frozen=True, slots=True)
class Tools:
    """What every delivery uses."""

    send: Send
    clock: Clock
    load: Load  # entities of the tenant, for linked ones
    give_up: Callable[[str, int, Sequence[str], str], None]
    moved: Callable[[Kept], None]  # something to store has changed
    turn: Callable[[], Awaitable[None]]  # waits until it may use the processor: requests come first


class Delivery:
    """Call `offer` for each change that fires; `run` is its task."""

    def __init__(self, kept: Kept, subscription: Subscription, tools: Tools) -> None:
        self.kept, self.subscription, self._tools = kept, subscription, tools
        self.tenant = split(kept.id)[0]
        self.explained: deque[dict[str, Any]] = deque(maxlen=EXPLAINED)
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # by the number of the first change
        self._sending: Sequence[_Waiting] = ()
        self._work = asyncio.Event()
        self._sent_at: int | None = None

    def note(self, number: int, entity: str, outcome: str) -> None:
        """Remembers what became of a change."""
        at = format_iso(to_us(self._tools.clock.now()))
        self.explained.append({"change": number, "entity": entity, "at": at, "outcome": outcome})

    def offer(self, number: int, change: Changed) -> None:
        """Queues a change; one that waits for the same entity becomes part of it."""
        there = self._waiting.get(change.entity)
        if there is not None:
            there.change, there.last = changed(change.entity, there.change.before, change.after), number
        elif len(self._waiting) >= WAITING:
            self._give_up([self._waiting.popitem(last=False)[1]], f"more than {WAITING} entities waited")
            self._waiting[change.entity] = _Waiting(number, number, change)
        else:
            self._waiting[change.entity] = _Waiting(number, number, change)
        self._set_cursor()
        self._work.set()

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._throttled()
                batch = [one for _, one in zip(range(TOGETHER), self._waiting.values(), strict=False)]
                for one in batch:
                    del self._waiting[one.change.entity]
                self._sending = batch
                await self._deliver(batch)
                self._sending = ()
                self._set_cursor()

    async def relay(self, documents: Sequence[dict[str, Any]], key: str) -> None:
        """What another source told: until the receiver has it, or it is given up."""

        async def made(_: int) -> Sequence[dict[str, Any]]:
            return documents

        reason = await self._until_taken(made, key)
        if reason not in (TAKEN, LAPSED):
            ids = [str(one.get("id")) for one in documents]
            self._tools.give_up(self.kept.id, to_us(self._tools.clock.now()), ids, reason)

    async def tell(self, documents: Sequence[dict[str, Any]]) -> None:
        """A periodic notification: sent once, the next one is newer."""
        now = to_us(self._tools.clock.now())
        try:
            await self._post(documents, now, f"{now}")
        except HaechiError as error:
            self._failed(now, error)
        else:
            self._succeeded(now)

    async def _throttled(self) -> None:
        if self._sent_at is not None and self.subscription.throttling_s:
            passed_s = (to_us(self._tools.clock.now()) - self._sent_at) / SECOND
            await self._tools.clock.sleep(max(0.0, self.subscription.throttling_s - passed_s))

    async def _deliver(self, batch: Sequence[_Waiting]) -> None:
        async def made(now: int) -> Sequence[dict[str, Any]]:
            return await documents(self.subscription, [one.change for one in batch], now, self._tools.load)

        outcome = await self._until_taken(made, "-".join(str(one.last) for one in batch))
        if outcome in (TAKEN, LAPSED):
            self._note_all(batch, outcome)
        else:
            self._give_up(batch, outcome)

    async def _until_taken(self, made: Callable[[int], Awaitable[Sequence[dict[str, Any]]]], numbers: str) -> str:
        """`TAKEN`, `LAPSED`, or why it was given up after an hour."""
        began = to_us(self._tools.clock.now())
        for attempt in count():
            now = to_us(self._tools.clock.now())
            if not self.subscription.lives(now):
                return LAPSED
            await self._tools.turn()
            try:
                await self._post(await made(now), now, numbers)
            except HaechiError as error:
                self._failed(now, error)
                if now - began > GIVE_UP_S * SECOND:
                    return str(error)
            else:
                self._sent_at = now
                self._succeeded(now)
                return TAKEN
            await self._tools.clock.sleep(self._pause_s(attempt))
        raise AssertionError("nobody counts that far")

    def _pause_s(self, attempt: int) -> float:
        return max(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)], (self.subscription.endpoint.cooldown_s or 0) / 1000)

    async def _post(self, documents: Sequence[dict[str, Any]], now: int, numbers: str) -> None:
        """Clause 5.3.1. The id follows from what is told: a receiver recognises one it has seen before a kill."""
        digest = blake2b(f"{self.subscription.id} {numbers}".encode(), digest_size=12).hexdigest()
        context = self.subscription.view.context
        body: dict[str, Any] = {
            "id": f"urn:ngsi-ld:Notification:{digest}",
            "type": "Notification",
            "subscriptionId": self.subscription.id,
            "notifiedAt": format_iso(now),
        }
        accept = self.subscription.endpoint.accept
        headers = [("Content-Type", accept), *self.subscription.endpoint.receiver]
        if self.tenant:
            headers.append(("NGSILD-Tenant", self.tenant))  # clause 6.3.14
        if accept == "application/ld+json":
            whole = [{"@context": context.body, **one} for one in documents]  # each stands for itself (5.3.1)
            body = {"@context": context.body, **body, "data": whole}
        else:
            data: Any = list(documents)
            if accept == "application/geo+json":
                data = {"type": "FeatureCollection", "features": [_feature(one) for one in documents]}
            body["data"] = data
            headers.append(("Link", context.link))
        await self._tools.send(self.subscription.endpoint, orjson.dumps(body), headers)

    def _succeeded(self, now: int) -> None:
        state = self.kept.state
        state.sent, state.notified_at, state.succeeded_at, state.failing = state.sent + 1, now, now, False
        self._tools.moved(self.kept)

    def _failed(self, now: int, error: HaechiError) -> None:
        state = self.kept.state
        state.failed, state.notified_at, state.failed_at = state.failed + 1, now, now
        state.sent, state.reason, state.failing = state.sent + 1, str(error), True
        self._tools.moved(self.kept)

    def _give_up(self, some: Sequence[_Waiting], reason: str) -> None:
        now, entities = to_us(self._tools.clock.now()), [one.change.entity for one in some]
        self._tools.give_up(self.kept.id, now, entities, reason)
        self.kept.state.given_up += len(some)
        self._note_all(some, f"given up: {reason}")
        _events.warning("notification_given_up", subscription=self.kept.id, entities=len(entities), reason=reason)

    def _note_all(self, some: Sequence[_Waiting], outcome: str) -> None:
        for one in some:
            self.note(one.number, one.change.entity, outcome)

    def _set_cursor(self) -> None:
        """Behind it nothing is owed: what is being sent is, until somebody has taken it."""
        first = self._sending[0] if self._sending else next(iter(self._waiting.values()), None)
        cursor = None if first is None else first.number - 1
        if cursor != self.kept.state.cursor:
            self.kept.state.cursor = cursor
            self._tools.moved(self.kept)


def _feature(document: dict[str, Any]) -> dict[str, Any]:
    """An entity as a GeoJSON Feature (clause 4.5.16)."""
    location = document.get("location")
    first = location[0] if isinstance(location, list) and location else location
    geometry = first.get("value", first) if isinstance(first, dict) else None
    properties = {name: value for name, value in document.items() if name != "id"}
    return {"id": document.get("id"), "type": "Feature", "geometry": geometry, "properties": properties}
