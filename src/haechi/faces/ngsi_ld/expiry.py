"""Takes entities and attributes away when they end (clause 4.22): through the log, like any other change, so that
history, subscriptions and screens see it. Made with the faces; runs in the api role.

What ends is noted durably before it is stored: after a kill, it still ends.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import orjson
import structlog

from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, Unavailable
from haechi.core.frame import EntityCommand, Frame
from haechi.core.times import to_us
from haechi.ports import Change, Clock, EntityStore, RecordStore
from haechi.services.context.expiry import ended_parts, ends_whole, next_end

COLLECTIONS: Mapping[str, tuple[str, ...]] = {"ends": ()}
LOOK_S = 0.25  # how late something may go at most, when nothing hinders
RETRY_S = 1.0
_SIGN = b'"expiresAt"'

Write = Callable[[Frame], Awaitable[None]]
Holding = Callable[[str], AbstractAsyncContextManager[None]]  # nobody else decides about that entity meanwhile
_events = structlog.get_logger("expiry")


class Expiry:
    """`store` and `write` hold the names of all tenants as they are inside; `records` keeps what will end."""

    def __init__(self, store: EntityStore, write: Write, records: RecordStore, clock: Clock) -> None:
        self._store, self._write, self._records, self._clock = store, write, records, clock
        self._ends: dict[str, int] = {one["id"]: one["at"] for one in records.find("ends", limit=10_000_000)}
        self._queue = [(at, id) for id, at in self._ends.items()]
        heapq.heapify(self._queue)
        self.holding: Holding | None = None  # of the faces, once they are made

    async def write(self, frame: Frame) -> None:
        """As `write`; what the frame lets end is noted before, and what has ended already goes before it is seen."""
        named = {one.entity: one.body for one in frame.commands if _SIGN in one.body}
        if not named:
            await self._write(frame)
            return
        await self._note({id: min(_instants(orjson.loads(body)), default=None) for id, body in named.items()})
        await self._write(frame)
        now = self._now()
        due = [id for id in named if self._ends.get(id, now + 1) <= now]
        if due:
            await self._sweep(due, now)  # the request that writes holds these entities

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.sweep_due()
                await self._clock.sleep(LOOK_S)
            except HaechiError as error:
                _events.warning("not_swept", error=str(error))
                await self._clock.sleep(RETRY_S)

    async def sweep_due(self) -> None:
        """Takes away what has ended by now."""
        assert self.holding is not None, "the faces are made before anything runs"
        now = self._now()
        while self._queue and self._queue[0][0] <= now:
            at, id = self._queue[0]
            if self._ends.get(id) == at:
                async with self.holding(id):
                    await self._sweep([id], now)
            if self._queue and self._queue[0] == (at, id):
                heapq.heappop(self._queue)

    def _now(self) -> int:
        return to_us(self._clock.now())

    async def _note(self, ends: Mapping[str, int | None]) -> None:
        """Keeps the earlier of what is known and what is new; None forgets."""
        changes, known = [], self._ends
        for id, at in ends.items():
            if at is None:
                changes += [Change("ends", id, None)] if id in known else []
            elif id not in known or known[id] > at:
                changes.append(Change("ends", id, {"at": at}))
        if changes:
            await asyncio.to_thread(self._records.commit, changes)
        for one in changes:
            self._take(one)

    def _take(self, change: Change) -> None:
        if change.body is None:
            self._ends.pop(change.id, None)
            return
        self._ends[change.id] = change.body["at"]
        heapq.heappush(self._queue, (change.body["at"], change.id))

    async def _sweep(self, ids: Sequence[str], now: int) -> None:
        bodies = self._store.load(ids)
        entities = {id: orjson.loads(body) for id, body in bodies.items()}
        commands = [one for id in entities for one in _takes(id, entities[id], now)]
        if commands:
            await self._write(Frame(commands=tuple(commands)))
            bodies = self._store.load(ids)
        left = {id: next_end(orjson.loads(bodies[id])) if id in bodies else None for id in ids}
        if late := [id for id, at in left.items() if at is not None and at <= now]:
            raise Unavailable(f"{late[0]} has ended and is still there")
        await self._note(dict.fromkeys(ids))
        await self._note({id: at for id, at in left.items() if at is not None})


def _takes(id: str, entity: Entity, now: int) -> Iterable[EntityCommand]:
    if ends_whole(entity, now):
        yield EntityCommand(f"end-{uuid4().hex}", "delete", id, at=now)
    elif parts := ended_parts(entity, now):
        body = {"id": id, "attrs": parts}
        yield EntityCommand(f"end-{uuid4().hex}", "merge", id, orjson.dumps(body), at=now)


def _instants(body: object) -> Iterable[int]:
    """Every `expiresAt` in a stored entity, or in parts of one."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name == "expiresAt" and isinstance(value, int):
                yield value
            else:
                yield from _instants(value)
    elif isinstance(body, list):
        for one in body:
            yield from _instants(one)
