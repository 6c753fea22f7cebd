"""One server: its session, what it publishes, what is polled, its writes. The adapter runs one of these per server.

Each has a task and a connection of its own, so a server that is slow or away delays nobody else.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
from asyncua import ua

from haechi.core.errors import Conflict, HaechiError, InvalidData, NotFound, NotSupported, Unavailable
from haechi.core.times import format_iso, to_us
from haechi.plugins.adapters.opcua.settings import OpcuaSettings
from haechi.plugins.wire.opcua.changes import Change, Publication
from haechi.plugins.wire.opcua.peer import Pace, Server
from haechi.plugins.wire.opcua.security import Identity
from haechi.plugins.wire.opcua.session import Session, name_of
from haechi.plugins.wire.opcua.values import plain, typed

STATUS = "$status"
OVERFLOW = 0x480  # info type DataValue and the bit Overflow: 7.39.1
SHOWN = 5  # nodes named in a fault
REFUSED_S = 60.0  # a node the server did not know may come with its next program
Row = list[Any]  # as the codec `opcua` reads it
_events = structlog.get_logger("opcua")


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the servers of a link put what they find."""

    store: Callable[[str, str, bytes], Awaitable[None]]  # device, channel, payload; returns when durable
    skip: Callable[[str, int], None]  # reason and how many values had to be left out
    now: Callable[[], datetime]
    counts: Counter[str]
    folder: Path
    identity: Identity


class Station:
    """Follows one server while `run` runs."""

    def __init__(self, server: Server, settings: OpcuaSettings, outlet: Outlet) -> None:
        self.device, self.online = server.id, False
        self._server, self._settings, self._out, self._counts = server, settings, outlet, outlet.counts
        self._nodes = settings.nodes(server.id)
        self._session: Session | None = None
        self._plan = hashlib.sha256(repr((replace(settings, device=()), server)).encode()).hexdigest()
        self._kinds: dict[int, ua.VariantType] = {}  # handle -> type its value had last
        self._seen: dict[int, int] = {}  # handle -> SourceTimestamp of its last value
        self._bad: dict[int, str] = {}  # handle -> why it has no value now
        self._polled: list[int] = []
        self._refused: list[int] = []
        self._stored: list[int] = []  # sequence numbers on the log that the server was not yet told of
        self._heard_at = 0
        self._told: tuple[bool | None, str] = (None, "")

    @property
    def figures(self) -> Mapping[str, int]:
        """How many nodes are followed in which way."""
        away = len(self._polled) + len(self._refused)
        return {
            "subscribed": len(self._nodes) - away if self.online else 0,
            "polled": len(self._polled),
            "unknown_nodes": len(self._refused),
            "without_value": len(self._bad),
        }

    async def run(self) -> None:
        """Until cancelled: connects, follows; after a failure waits, twice as long each time."""
        wait_s = self._settings.reconnect_s
        while True:
            fault = ""
            try:
                await self._follow()
            except Unavailable as error:
                if self.online or self._told[0] is None:
                    _events.warning("server_away", device=self.device, error=str(error), retry_s=wait_s)
            except HaechiError as error:  # a person must mend it: asking again at once could lock the account
                wait_s, fault = self._settings.reconnect_s_max, str(error)
            except Exception as error:  # a bug met with one server must not leave it unfollowed for ever
                self._counts["bugs"] += 1
                _events.exception("following_failed", device=self.device, error=repr(error))
            finally:
                if self._session is not None:
                    self._session.drop()
            wait_s = self._settings.reconnect_s if self.online else wait_s
            self.online = False
            await self._tell(False, fault)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, self._settings.reconnect_s_max)

    async def _follow(self) -> None:
        self._counts["connects"] += 1
        pace = Pace(self._settings.timeout_s, self._settings.publishing_ms, self._settings.keep_s)
        session = Session(self._server, pace, self._out.folder, self._out.identity)
        self._session = session
        taken_up = await session.open(self._out.now(), self._plan)
        if taken_up:
            self._counts["resumed"] += 1
        else:
            self._stored.clear()
            self._polled, self._refused = [], []
            await self._subscribe(session, self._known(session))
        self.online = True
        gap = {} if taken_up or not self._heard_at else {"gapFrom": self._heard_at, "gapTo": self._now()}
        await self._tell(True, self._fault(), **{name: format_iso(at) for name, at in gap.items()})
        work = [session.renew_for_ever(), self._every(REFUSED_S, lambda: self._ask_again(session))]
        work += [self._publish_for_ever(session)] if session.subscription else []
        work += [self._every(self._settings.period_s, lambda: self._poll(session, self._polled))]
        if self._settings.refresh_s:
            work += [self._every(self._settings.refresh_s, lambda: self._poll(session, self._known(session)))]
        await _first_to_fail(work)

    def _known(self, session: Session) -> list[int]:
        """Handles of the nodes whose namespace the server has."""
        found: list[int] = []
        for handle, node in enumerate(self._nodes):
            try:
                session.id_of(node.node)
            except NotFound:
                self._bad[handle] = "BadNodeIdUnknown"
            else:
                found.append(handle)
        return found

    async def _subscribe(self, session: Session, handles: Sequence[int]) -> None:
        try:
            if not self._settings.subscribe:
                raise NotSupported("the link says so")
            await session.subscribe(self._plan)
        except NotSupported as error:
            _events.warning("polled_instead", device=self.device, error=str(error))
            self._polled = list(handles)
        else:
            await self._monitor(session, handles)

    async def _monitor(self, session: Session, handles: Sequence[int]) -> None:
        codes = await session.monitor([self._settings.item(one, self._nodes[one]) for one in handles])
        self._refused = [one for one, code in codes.items() if code.startswith(("BadNode", "BadAttribute"))]
        self._polled += [one for one in codes if one not in self._refused]
        for one in handles:
            self._bad.pop(one, None)
        self._bad |= {one: codes[one] for one in self._refused}

    async def _ask_again(self, session: Session) -> None:
        if self._refused and session.subscription:
            await self._monitor(session, self._refused)
            await self._tell(True, self._fault())

    async def _every(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await asyncio.sleep(period_s)

    # --- values ---

    async def _publish_for_ever(self, session: Session) -> None:
        """The server keeps a notification until it is told that it is on the log (5.13.1.1)."""
        while True:
            told = list(self._stored)
            answer = await session.publish(told)
            del self._stored[: len(told)]
            self._heard_at = self._now()
            for number in sorted(set(answer.available) - {answer.number, *told}):
                missed = await session.republish(number)
                self._counts["republished" if missed else "lost"] += 1
                if missed:
                    await self._take(session, missed)
            await self._take(session, answer)

    async def _take(self, session: Session, published: Publication) -> None:
        await self._store(self._rows(published.changes))
        if published.ended:
            session.forget()
            raise Unavailable(f"{self.device} gave the subscription up: {published.ended}")
        if not published.is_empty:
            self._stored.append(published.number)

    async def _poll(self, session: Session, handles: Sequence[int]) -> None:
        if handles:
            self._counts["polls"] += 1
            found = await session.read([self._nodes[one].node for one in handles])
            self._heard_at = self._now()
            await self._store(self._rows(_named(handles, found), asked=True))

    async def _store(self, rows: Sequence[Row]) -> None:
        self._counts["values"] += len(rows)
        if rows:
            await self._out.store(self.device, "", orjson.dumps(rows))
        await self._tell(True, self._fault())

    def _rows(self, changes: Sequence[Change], *, asked: bool = False) -> list[Row]:
        """What has a value; what has none is counted with its reason."""
        rows: list[Row] = []
        for one in changes:
            try:
                rows.append(self._row(one, asked))
                self._bad.pop(one.handle, None)
            except InvalidData as error:
                self._bad[one.handle] = str(error)
                self._out.skip(error.reason, 1)
        return rows

    def _row(self, change: Change, asked: bool) -> Row:
        handle, kind, value, code, source, server = change
        if code:
            self._counts["overflows"] += code & OVERFLOW == OVERFLOW
            if code >> 31:
                raise InvalidData(name_of(code), "bad_status")
        found = plain(value, kind)
        if kind is not None:
            self._kinds[handle] = kind
        at = source or server
        if self._settings.time == "server" or (asked and source == self._seen.get(handle)):
            at = server  # 7.11.4: the instant at which the server knew the value to be accurate
        if self._settings.time == "arrival":
            at = None
        if source is not None:
            self._seen[handle] = source
        node = self._nodes[handle]
        return [node.channel, node.field, found, at, code, server]

    def _fault(self) -> str:
        named = [f"{self._nodes[one].node}: {why}" for one, why in sorted(self._bad.items())[:SHOWN]]
        more = [f"and {len(self._bad) - SHOWN} more"] if len(self._bad) > SHOWN else []
        return "; ".join([*named, *more])

    def _now(self) -> int:
        return to_us(self._out.now())

    async def _tell(self, online: bool, fault: str, **gap: str) -> None:
        if (online, fault) == self._told and not gap:
            return
        if fault and fault != self._told[1]:
            _events.warning("server_fault", device=self.device, fault=fault)
        body: dict[str, Any] = {"online": online, **gap}
        if fault or self._told[1]:
            body["fault"] = fault
        self._told = (online, fault)
        if self._settings.presence:
            await self._out.store(self.device, STATUS, orjson.dumps(body))

    # --- writing ---

    async def write(self, channel: str, field: str, value: object, expires_at: int) -> tuple[Any, int]:
        """Writes, reads back; returns what the server then holds and when it was sent.

        `NotFound`, `InvalidData`, `Conflict` (too late): never sent. `Refused`: the server answered with a bad code.
        `Unavailable`: no answer, nobody knows whether it was written.
        """
        handle, session = self._writable(channel, field), self._session
        if session is None or not self.online:
            raise NotFound(f"{self.device} is not connected; nothing was sent. Ask again when it is online")
        if handle not in self._kinds:
            raise NotFound(f"{field} has shown no value yet, so its type is not known; nothing was sent")
        content = typed(self._kinds[handle], value, field)
        at = self._now()
        if at > expires_at:
            raise Conflict("it came too late; nothing was sent")
        await session.write(self._nodes[handle].node, content, f"{field} = {value}")
        self._counts["writes"] += 1
        (held,) = _named([handle], await session.read([self._nodes[handle].node]))
        await self._store(self._rows([held], asked=True))
        return plain(held.value, held.kind), at

    def _writable(self, channel: str, field: str) -> int:
        for handle, one in enumerate(self._nodes):
            if one.field == field and one.channel == channel and one.writable:
                return handle
        raise NotFound(f"{self.device} has no writable node {field!r} on channel {channel!r}; mend the link")


def _named(handles: Sequence[int], found: Sequence[Change]) -> list[Change]:
    return [one._replace(handle=handle) for handle, one in zip(handles, found, strict=True)]


async def _first_to_fail(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
