"""OPC UA: follows the servers a link names and writes setpoints. Created by the gateway for each `opcua` link.

What all servers published within `gather_ms` goes to ingest as one batch; a server is told that a notification arrived
when its values are on the log, and asked for the next one then, so a log that is away costs one notification per
server in memory: the rest waits in the servers' queues.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from haechi.core.errors import HaechiError, Unavailable
from haechi.core.message import Message
from haechi.core.times import SECOND, to_us
from haechi.plugins.adapters.opcua.settings import OpcuaSettings, read
from haechi.ports import AdapterContext

if TYPE_CHECKING:
    from haechi.plugins.adapters.opcua.station import Station

RETRY_S, RETRY_S_MAX = 0.2, 5.0
STOP_S = 3.0  # what the log gets to take the last values
OUTCOMES_MAX = 10_000  # remembered, so that a command heard twice is written once
COUNTED = ("values", "polls", "connects", "resumed", "republished", "lost", "overflows", "refused", "writes", "bugs")
DAY_S = 86_400
_events = structlog.get_logger("opcua")


def create(settings: Mapping[str, Any], context: AdapterContext) -> "OpcuaAdapter":
    """The client of one link; `InvalidSettings` names the setting that is wrong, or how to install asyncua."""
    return OpcuaAdapter(read(settings), context)


class OpcuaAdapter:
    """`ports.Adapter`."""

    def __init__(self, settings: OpcuaSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._counts: Counter[str] = Counter()
        self._stations: dict[str, Station] = {}
        self._ends_at = 0  # of our certificate
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Message, asyncio.Future[None]]] = []
        self._some = asyncio.Event()
        self._outcomes: OrderedDict[str, dict[str, Any] | None] = OrderedDict()  # None: being written
        self._unlisten: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> None:
        if self._unlisten is not None:
            return
        # asyncua is LGPL and optional: imported only where a link wants it.
        from haechi.plugins.adapters.opcua.station import Outlet, Station  # noqa: PLC0415
        from haechi.plugins.wire.opcua.security import identity  # noqa: PLC0415

        # What asyncua logs reaches us as exceptions, and is told once, not per attempt.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
        folder, now = Path(self._context.data), self._context.clock.now
        own = await asyncio.to_thread(identity, folder, self._context.link, now())
        self._ends_at = to_us(own.ends)
        self._unlisten = await self._context.bus.listen(f"command.{self._context.link}", self._heard)
        outlet = Outlet(self._store, self._skip, now, self._counts, folder, own)
        servers = [self._settings.server(one) for one in self._settings.device]
        self._stations = {one.id: Station(one, self._settings, outlet) for one in servers}
        self._spawn(self._flush_for_ever())
        for station in self._stations.values():
            self._spawn(station.run())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._counts["bugs"] += 1
            _events.critical("task_died", link=self._context.link, error=repr(error))

    async def stop(self) -> None:
        """Lets the log have what came, then leaves; the servers keep what changes for `keep_s`."""
        if self._unlisten is None:
            return
        unlisten, self._unlisten = self._unlisten, None
        await unlisten()
        if last := [done for _, done in self._waiting]:
            await asyncio.wait(last, timeout=STOP_S)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waiting = []

    def health(self) -> Mapping[str, float]:
        sums: Counter[str] = Counter()
        for one in self._stations.values():
            sums.update(one.figures)
        left_s = self._ends_at / SECOND - self._context.clock.now().timestamp() if self._ends_at else 0
        return {
            "servers": len(self._settings.device),
            "online": sum(one.online for one in self._stations.values()),
            "pending": len(self._waiting),
            "certificate_days": int(left_s // DAY_S),
            **sums,
            **{name: self._counts[name] for name in COUNTED},
        }

    # --- values ---

    def _skip(self, reason: str, count: int) -> None:
        self._context.intake.reject(self._context.link, reason, count)

    async def _store(self, device: str, channel: str, payload: bytes) -> None:
        """Returns when this is on the log."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        at = to_us(self._context.clock.now())
        self._waiting.append((Message(self._context.link, device, channel, payload, at), stored))
        self._some.set()
        await stored

    async def _flush_for_ever(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._settings.gather_ms / 1000)
            self._some.clear()
            batch = self._waiting[:]
            await self._accept([message for message, _ in batch])
            del self._waiting[: len(batch)]
            for _, stored in batch:
                if not stored.done():
                    stored.set_result(None)

    async def _accept(self, messages: list[Message]) -> None:
        wait_s = RETRY_S
        while messages:
            try:
                receipt = await self._context.intake.accept(messages)
            except Unavailable as error:
                _events.warning("log_away", link=self._context.link, messages=len(messages), error=str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_S_MAX)
            except Exception as error:  # a bug in ingest must not stop the link: these values are counted as lost
                self._counts["bugs"] += 1
                self._skip("not_stored", len(messages))
                _events.exception("batch_not_stored", link=self._context.link, error=str(error))
                return
            else:
                self._counts["refused"] += len(receipt.refused)
                return

    # --- commands (docs/reference/commands.md) ---

    async def _heard(self, subject: str, payload: bytes) -> None:
        command = orjson.loads(payload)
        id = str(command["id"])
        if id not in self._outcomes:
            self._outcomes[id] = None
            self._spawn(self._carry_out(id, command))
            while len(self._outcomes) > OUTCOMES_MAX:
                self._outcomes.popitem(last=False)
        elif (known := self._outcomes[id]) is not None:
            await self._tell(known)

    async def _carry_out(self, id: str, command: Mapping[str, Any]) -> None:
        outcome = {"id": id, "at": to_us(self._context.clock.now()), **await self._written(command)}
        self._outcomes[id] = outcome
        await self._tell(outcome)

    async def _written(self, command: Mapping[str, Any]) -> dict[str, Any]:
        station = self._stations.get(str(command["device"]))
        if station is None:
            return {"ok": False, "detail": f"link {self._context.link} has no server {command['device']!r}"}
        wanted = command["channel"], command["field"], command["value"], command["expires_at"]
        try:
            held, at = await station.write(*wanted)
        except Unavailable as error:
            return {"ok": False, "unsure": True, "detail": str(error)}
        except HaechiError as error:
            return {"ok": False, "detail": str(error)}
        return {"ok": True, "confirmed": True, "at": at, "detail": f"acknowledged; then the server held {held}"}

    async def _tell(self, outcome: Mapping[str, Any]) -> None:
        try:
            await self._context.bus.publish("command.done", orjson.dumps(outcome))
        except Unavailable as error:  # the command is asked for again, and then this outcome is told
            _events.warning("outcome_not_told", link=self._context.link, command=outcome["id"], error=str(error))
