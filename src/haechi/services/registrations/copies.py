"""Copies of this broker's subscriptions at its context sources (clauses 5.8.1.4, 5.8.2.4, 5.8.5.4; decision 019).

What should be there follows from the subscriptions and the registrations; what is there is stored before a source is
asked for it, so that a kill leaves nothing behind that nobody remembers. Made by `app`, one per tenant.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import structlog

from haechi.core.entity import NULL
from haechi.core.errors import HaechiError, InvalidData, Unavailable
from haechi.core.times import to_us
from haechi.ports import Clock
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.registrations.copying import PATH, Goal, Headers, goal
from haechi.services.registrations.exchange import Exchange, Outgoing
from haechi.services.registrations.model import Registration
from haechi.services.registrations.registry import Registry
from haechi.services.registrations.watch import Watch
from haechi.services.subscriptions.book import Kept

LOOK_S = 30.0  # what expires is seen that late
TIMEOUT_S = 5.0
CONFLICT = 409
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
GIVE_UP = 60  # attempts to take a copy back; what it tells after that is told to nobody
_GONE = frozenset({404, 410})
_PASSING = frozenset({0, 408, 425, 429})  # nobody answered, or not now
_FOR_GOOD = frozenset({501, 508})
_UNKNOWN: Mapping[str, Any] = {}  # what a source has of several that it was offered
_events = structlog.get_logger("registrations")
Key = tuple[str, str, str, str]  # subscription, registration, where the source's API begins, tenant there


@dataclass(slots=True)
class Copy:
    """One of them as it is kept. `id` is the subscription's there and cannot be guessed; `base` is where the source's
    API begins. `offered` is what it was asked to take and may have taken, `told` what it took (None: nothing, as far as
    its answers say), `refused` what it did not want, with which headers."""

    id: str
    subscription: str
    registration: str
    base: str
    tenant: str
    headers: Headers
    offered: dict[str, Any] | None = None
    told: dict[str, Any] | None = None
    refused: list[Any] | None = None

    @property
    def key(self) -> Key:
        """What there is one copy of."""
        return self.subscription, self.registration, self.base, self.tenant


class Copies:
    """Call `begin` when the subscriptions are there, and `look` when one has changed."""

    def __init__(
        self,
        registry: Registry,
        kept: Callable[[], Sequence[Kept]],
        ways: tuple[Contexts, Exchange, Clock],
        names: tuple[str, Callable[[], str]],
    ) -> None:
        """`kept`: the subscriptions there are; `names`: this broker's pseudonym, and one that nobody can guess."""
        self._registry, self._kept = registry, kept
        self._contexts, self._exchange, self._clock = ways
        self._alias, self._fresh = names
        self._copies = {one["id"]: Copy(**one) for one in registry.copies()}
        self._goals: dict[str, Goal] = {}
        self._moves: dict[str, asyncio.Task[None]] = {}
        self._work = asyncio.Event()
        self._begun = False
        self._running: asyncio.Task[None] | None = None
        registry.told.append(self._changed)

    def _changed(self, before: Registration | None, after: Registration | None) -> None:
        self.look()

    def begin(self) -> None:
        """From now on `kept` can be believed."""
        self._begun = True
        self.look()

    def look(self) -> None:
        """Something may have changed."""
        self._work.set()
        if self._running is None and self._begun and (self._copies or (self._registry and self._kept())):
            self._running = asyncio.create_task(self._run(), name="copies")

    def find(self, id: str) -> Copy | None:
        """The copy that has this id at its source."""
        return self._copies.get(id)

    def watches(self) -> list[Watch]:
        """The subscriptions to registrations that stand behind the distributed subscriptions (clause 5.8.1.4)."""
        distributed = {one.subscription for one in self._copies.values()}
        return [_watch(one) for one in self._kept() if one.id in distributed]

    async def close(self) -> None:
        """Ends what is under way; the next start goes on with it."""
        tasks = [*self._moves.values(), *([self._running] if self._running else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside ---

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                await self._settle()
            except Unavailable as error:
                _events.warning("copies_not_stored", error=str(error))
                await asyncio.sleep(BACKOFF_S[0])
                continue
            try:
                async with asyncio.timeout(LOOK_S):  # `wait_for` of Python 3.11 may swallow a cancellation
                    await self._work.wait()
            except TimeoutError:
                continue

    async def _settle(self) -> None:
        """Notes what should be where, and begins what is missing for it."""
        wanted = await self._wanted()
        known = {one.key: one for one in self._copies.values()}
        for key in wanted.keys() - known.keys():
            id = f"urn:ngsi-ld:Subscription:distsub-{self._fresh()}"
            known[key] = self._copies[id] = Copy(id, *key, [])
        self._goals = {one.id: wanted[key] for key, one in known.items() if key in wanted}
        for copy in known.values():
            if copy.id not in self._moves and self._step(copy) is not None:
                move = asyncio.create_task(self._move(copy), name=copy.id)
                self._moves[copy.id] = move
                move.add_done_callback(lambda _, id=copy.id: self._moved(id))  # type: ignore[misc]

    def _moved(self, id: str) -> None:
        self._moves.pop(id, None)
        self._work.set()  # what was wanted may be another by now

    async def _wanted(self) -> dict[Key, Goal]:
        now, found = to_us(self._clock.now()), {}
        registrations = self._registry.living(now)
        for kept in self._kept() if registrations else ():
            if kept.reach is None:
                continue
            try:
                context = await self._contexts.resolve(kept.context)
            except HaechiError as error:
                _events.warning("subscription_not_distributed", subscription=kept.id, error=str(error))
                continue
            for one in registrations:
                if (what := goal(kept, context, one, self._alias, now)) is not None:
                    found[kept.id, one.id, one.base, one.tenant or ""] = what
        return found

    def _step(self, copy: Copy) -> tuple[str, str, dict[str, Any] | None] | None:
        """The next request to its source: method, path and body; None when all is as it should be."""
        what, place = self._goals.get(copy.id), f"/subscriptions/{quote(copy.id, safe=':')}"
        if copy.id not in self._copies:
            return None
        if what is None or copy.told == _UNKNOWN:
            return "DELETE", place, None
        if what.body == copy.told or [what.headers, what.body] == copy.refused:
            return None
        if copy.told is None:
            return "POST", "/subscriptions", {"id": copy.id, **what.body}
        return "PATCH", place, dict.fromkeys(copy.told.keys() - what.body.keys(), NULL) | what.body

    async def _move(self, copy: Copy) -> None:
        try:
            await self._reach(copy)
        except Unavailable as error:
            _events.warning("copies_not_stored", error=str(error))
            await self._clock.sleep(BACKOFF_S[0])

    async def _reach(self, copy: Copy) -> None:
        """Asks its source until it has what it should."""
        attempt = 0
        while (step := self._step(copy)) is not None:
            what = self._goals.get(copy.id)
            if what is not None:
                copy.headers = what.headers
            if what is not None and step[0] == "POST":
                copy.offered = what.body if copy.offered in (None, what.body) else dict(_UNKNOWN)
            self._store(copy)
            status = await self._ask(copy, step, what)
            if self._took(copy, step[0], status, what):
                attempt = 0
                continue
            attempt += 1
            if what is None and attempt >= GIVE_UP:  # nobody took it back
                _events.warning("copy_not_taken_back", registration=copy.registration, attempts=attempt)
                self._forget(copy)
            await self._clock.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S)) - 1])

    async def _ask(self, copy: Copy, step: tuple[str, str, dict[str, Any] | None], what: Goal | None) -> int:
        """The status of its source's answer; 0 when there was none."""
        method, path, body = step
        headers = [(name, value) for name, value in copy.headers]
        if body is not None:
            media = "application/ld+json" if "@context" in body else "application/json"
            headers.append(("Content-Type", media))
        timeout_s = TIMEOUT_S if what is None else what.registration.management.timeout_s or TIMEOUT_S
        content = None if body is None else orjson.dumps(body)
        try:
            status = (await self._exchange(Outgoing(method, copy.base + path, headers, content, timeout_s))).status
        except Unavailable:
            status = 0
        except InvalidData:  # a longer answer than anybody reads: it was taken
            status = 200
        failed = not 200 <= status < 300
        self._registry.count(copy.registration, to_us(self._clock.now()), failed=failed)
        return status

    def _took(self, copy: Copy, method: str, status: int, what: Goal | None) -> bool:
        """Whether the source said its last word to this request, and what follows from it."""
        if status in _PASSING or (status >= 500 and status not in _FOR_GOOD):
            return False
        if method == "DELETE":
            return self._taken_back(copy, status)
        assert what is not None, f"{method} without a goal"
        if 200 <= status < 300:
            copy.told, copy.offered, copy.refused = what.body, None, None
        elif method == "POST" and status == CONFLICT:  # it was taken, and the answer was lost
            copy.told = copy.offered
        elif method == "PATCH" and status in _GONE:
            copy.told = copy.offered = None
        else:
            copy.refused = [what.headers, what.body]
            _events.warning("copy_refused", registration=copy.registration, status=status)
        self._store(copy)
        return True

    def _taken_back(self, copy: Copy, status: int) -> bool:
        """It is gone there; one that is still wanted is offered anew."""
        if not (200 <= status < 300 or status in _GONE):
            return False
        if copy.id in self._goals:
            copy.told = copy.offered = None
            self._store(copy)
        else:
            self._forget(copy)
        return True

    def _store(self, copy: Copy) -> None:
        if copy.id in self._copies:
            self._registry.put_copy(copy.id, {name: getattr(copy, name) for name in Copy.__slots__})

    def _forget(self, copy: Copy) -> None:
        if self._copies.pop(copy.id, None) is not None:
            self._registry.put_copy(copy.id, None)


def _watch(kept: Kept) -> Watch:
    assert kept.reach is not None, f"{kept.id} is told nowhere else"
    names = ("type", "entities", "watchedAttributes", "csf", "expiresAt", "isActive")
    body: dict[str, Any] = {name: kept.body[name] for name in names if name in kept.body}
    notification: Mapping[str, Any] = {"endpoint": {"uri": kept.reach["base"] + PATH, "accept": "application/json"}}
    id = f"{kept.id}:sources"
    return Watch(
        id, {"id": id, **body, "notification": notification}, kept.context, kept.created_at, kept.modified_at, True
    )
