"""Subscriptions to registrations (clause 5.11): who wants to know when a context source comes, changes or goes.

What is told at the beginning is all that matches, so nothing is lost by a restart: it is told again. Made by `app`.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
import structlog

from haechi.core.errors import HaechiError, NotFound
from haechi.core.times import format_iso, to_us
from haechi.ports import Clock
from haechi.services.ngsi_ld import q, typeq
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.ngsi_ld.names import Context
from haechi.services.registrations import temporal
from haechi.services.registrations.matching import Wanted, matching_information
from haechi.services.registrations.model import Registration, shown
from haechi.services.registrations.registry import Registry
from haechi.services.subscriptions.book import State
from haechi.services.subscriptions.delivery import Send
from haechi.services.subscriptions.model import Subscription, Test, compile_subscription

BACKOFF_S = (10.0, 30.0, 60.0)
GIVE_UP = 60  # attempts
WAITING = 10_000  # notifications for one receiver
_events = structlog.get_logger("registrations")
Told = tuple[str, list[dict[str, Any]]]  # trigger reason and registrations


@dataclass(slots=True)
class Watch:
    """One of them as it is kept; `context` is the `@context` value its names were written with."""

    id: str
    body: dict[str, Any]
    context: Any
    created_at: int
    modified_at: int
    internal: bool = False  # made by the broker itself, for a subscription it distributes (clause 5.8.1.4)
    state: State = field(default_factory=State)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What it asks for."""

    subscription: Subscription
    wanted: tuple[Wanted, ...]
    test: Test | None  # csf
    moments: temporal.Question | None
    told: Context

    def fits(self, registration: Registration) -> list[int]:
        """Places of the RegistrationInfo elements that match; none when the registration does not."""
        entity = registration.entity
        if self.test is not None and not self.test(entity):
            return []
        if self.subscription.test is not None and not self.subscription.test(entity):
            return []
        if not temporal.fits(self.moments, registration):
            return []
        return matching_information(registration, self.wanted)


def compile_watch(body: Mapping[str, Any], context: Context, told: Context) -> Compiled:
    """`InvalidData` names the member that is wrong."""
    compile_subscription(body, context, told)  # q is sound, though registrations have nothing it speaks of
    subscription = compile_subscription({name: body[name] for name in body if name != "q"}, context, told)
    attributes = subscription.watched
    wanted = tuple(wanted_by(one, context, attributes) for one in body.get("entities") or ()) or (
        Wanted(attributes=attributes),
    )
    test = None if body.get("csf") is None else q.compile_q(str(body["csf"]), context.expand, frozenset())
    return Compiled(subscription, wanted, test, temporal.question(body.get("temporalQ")), told)


def wanted_by(selector: Mapping[str, Any], context: Context, attributes: frozenset[str]) -> Wanted:
    """What an EntitySelector (clause 5.2.33) asks of a source."""
    text, id = selector["type"], selector.get("id")
    types = () if text == "*" else typeq.parse(text, context.expand)[0]
    return Wanted((id,) if id else (), types, None if id else selector.get("idPattern"), attributes)


class _Line:
    """One subscription at work: what waits to be told, in order."""

    def __init__(self, watch: Watch, compiled: Compiled) -> None:
        self.watch, self.compiled = watch, compiled
        self.waiting: deque[Told] = deque(maxlen=WAITING)
        self.work = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def offer(self, reason: str, registrations: list[dict[str, Any]]) -> None:
        self.waiting.append((reason, registrations))
        self.work.set()


class RegistrationWatch:
    """Call `load` inside a running loop; `registry` tells it of changes from then on."""

    def __init__(self, registry: Registry, contexts: Contexts, send: Send, clock: Clock) -> None:
        self._registry, self._contexts, self._send, self._clock = registry, contexts, send, clock
        self._lines: dict[str, _Line] = {}
        self._told = 0
        registry.told.append(self._changed)

    async def load(self) -> None:
        """Takes up those that are stored."""
        for one in sorted(self._registry.watches(), key=lambda one: (one["created_at"], one["id"])):
            watch = Watch(**{**one, "state": State(**one["state"])})
            try:
                self._begin(watch, await self._compiled(watch))
            except HaechiError as error:
                _events.error("registration_subscription_not_taken_up", subscription=watch.id, error=str(error))

    async def close(self) -> None:
        """Ends all deliveries."""
        for id in list(self._lines):
            await self._drop(id)

    # --- for the face ---

    def all(self) -> list[Watch]:
        """In order of creation."""
        return [one.watch for one in self._lines.values()]

    def get(self, id: str) -> Watch:
        """`NotFound` when there is none."""
        if id not in self._lines:
            raise NotFound(f"no subscription {id}; GET /ngsi-ld/v1/csourceSubscriptions lists those there are")
        return self._lines[id].watch

    async def put(self, watch: Watch) -> None:
        """A new or changed one: compiled, stored, told what matches now (5.11.2.4, 5.11.3.4)."""
        compiled = await self._compiled(watch)
        self._store(watch)
        await self._drop(watch.id)
        self._begin(watch, compiled)

    async def remove(self, id: str) -> None:
        """`NotFound` when there is none."""
        self.get(id)
        await self._drop(id)
        self._registry.put_watch(id, None)

    # --- inside ---

    async def _compiled(self, watch: Watch) -> Compiled:
        context = await self._contexts.resolve(watch.context)
        own = watch.body.get("jsonldContext")
        return compile_watch(watch.body, context, context if own is None else await self._contexts.resolve(own))

    def _store(self, watch: Watch) -> None:
        document = {name: getattr(watch, name) for name in Watch.__slots__ if name != "state"}
        state = {name: getattr(watch.state, name) for name in State.__slots__}
        self._registry.put_watch(watch.id, {**document, "state": state})

    def _begin(self, watch: Watch, compiled: Compiled) -> None:
        line = _Line(watch, compiled)
        self._lines[watch.id] = line
        if watch.internal:
            return
        line.tasks.append(asyncio.create_task(self._deliver(line)))
        self._offer_all(line, "newlyMatching")
        if compiled.subscription.interval_s is not None:
            line.tasks.append(asyncio.create_task(self._periodic(line, compiled.subscription.interval_s)))

    async def _drop(self, id: str) -> None:
        line = self._lines.pop(id, None)
        if line is not None:
            for task in line.tasks:
                task.cancel()
            await asyncio.gather(*line.tasks, return_exceptions=True)

    def _offer_all(self, line: _Line, reason: str) -> None:
        registrations = self._registry.living(to_us(self._clock.now()))
        found = [_told(one, places, line.compiled) for one in registrations if (places := line.compiled.fits(one))]
        if found:
            line.offer(reason, found)

    async def _periodic(self, line: _Line, interval_s: float) -> None:
        while True:
            await self._clock.sleep(interval_s)
            self._offer_all(line, "updated")

    def _changed(self, before: Registration | None, after: Registration | None) -> None:
        """Clause 5.11.7: told whether it matched before, matches now, or both."""
        for line in self._lines.values():
            if line.watch.internal or line.compiled.subscription.interval_s is not None:
                continue
            was = [] if before is None else line.compiled.fits(before)
            now = [] if after is None else line.compiled.fits(after)
            if now and after is not None:
                line.offer("updated" if was else "newlyMatching", [_told(after, now, line.compiled)])
            elif was and before is not None:
                gone = [_told(before, was, line.compiled)]
                line.offer("noLongerMatching", gone)

    async def _deliver(self, line: _Line) -> None:
        while True:
            await line.work.wait()
            line.work.clear()
            while line.waiting:
                await self._tell(line, line.waiting.popleft())

    async def _tell(self, line: _Line, what: Told) -> None:
        for attempt in range(GIVE_UP):
            now = to_us(self._clock.now())
            if not line.compiled.subscription.lives(now):
                return
            try:
                await self._post(line, what, now)
            except HaechiError as error:
                state = line.watch.state
                state.sent, state.failed = state.sent + 1, state.failed + 1
                state.notified_at, state.failed_at = now, now
                state.reason, state.failing = str(error), True
                self._store(line.watch)
            else:
                state = line.watch.state
                state.sent, state.notified_at, state.succeeded_at, state.failing = state.sent + 1, now, now, False
                self._store(line.watch)
                return
            await self._clock.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
        _events.warning("registration_notification_given_up", subscription=line.watch.id, attempts=GIVE_UP)

    async def _post(self, line: _Line, what: Told, now: int) -> None:
        """Clause 5.3.2."""
        reason, registrations = what
        self._told += 1
        endpoint, context = line.compiled.subscription.endpoint, line.compiled.told
        digest = blake2b(f"{line.watch.id} {now} {self._told}".encode(), digest_size=12).hexdigest()
        body: dict[str, Any] = {
            "id": f"urn:ngsi-ld:ContextSourceNotification:{digest}",
            "type": "ContextSourceNotification",
            "subscriptionId": line.watch.id,
            "notifiedAt": format_iso(now),
            "triggerReason": reason,
            "data": registrations,
        }
        in_body = endpoint.accept == "application/ld+json"
        media = endpoint.accept if in_body else "application/json"
        headers: Sequence[tuple[str, str]] = [("Content-Type", media), *endpoint.receiver]
        if in_body:
            body = {"@context": context.body, **body}
        else:
            headers = [*headers, ("Link", context.link)]
        await self._send(endpoint, orjson.dumps(body), headers)


def _told(registration: Registration, places: Sequence[int], compiled: Compiled) -> dict[str, Any]:
    """The registration with the RegistrationInfo elements that concern this subscription (clause 5.11.7)."""
    document = registration.document
    relevant = {**document, "information": [document["information"][place] for place in places]}
    return shown(without_secrets(relevant), compiled.told.compact)


def without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    """What anybody may read of a registration: credentials for its source are for whoever sends to it."""
    pairs = document.get("contextSourceInfo")
    if not pairs:
        return dict(document)
    hidden = [{**one, "value": "…"} if one["key"].lower() in _SECRET else one for one in pairs]
    return {**document, "contextSourceInfo": hidden}


_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "apikey"})
