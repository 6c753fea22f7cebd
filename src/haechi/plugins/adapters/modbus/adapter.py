"""Modbus: polls the devices a link names and writes setpoints. Created by the gateway for each `modbus` link.

What all devices answered within `gather_ms` goes to ingest as one batch; no device is polled again before its values
are stored, so a log that is away costs one poll per device in memory and no more.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog

from haechi.core.errors import HaechiError, Unavailable
from haechi.core.message import Message
from haechi.core.times import to_us
from haechi.plugins.adapters.modbus.device import Outlet, Poller
from haechi.plugins.adapters.modbus.settings import ModbusSettings, read
from haechi.ports import AdapterContext

RETRY_S, RETRY_S_MAX = 0.2, 5.0
STOP_S = 3.0  # what the log gets to take the last values
OUTCOMES_MAX = 10_000  # remembered, so that a command heard twice is written once
_events = structlog.get_logger("modbus")


def create(settings: Mapping[str, Any], context: AdapterContext) -> "ModbusAdapter":
    """The poller of one link; `InvalidSettings` names the setting that is wrong."""
    return ModbusAdapter(read(settings), context)


class ModbusAdapter:
    """`ports.Adapter`."""

    def __init__(self, settings: ModbusSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._counts: Counter[str] = Counter()
        self._pollers: dict[str, Poller] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Message, asyncio.Future[None]]] = []
        self._some = asyncio.Event()
        self._outcomes: OrderedDict[str, dict[str, Any] | None] = OrderedDict()  # None: being written
        self._unlisten: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> None:
        if self._unlisten is not None:
            return
        # What pymodbus logs reaches us as exceptions, and is told once, not per poll.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._unlisten = await self._context.bus.listen(f"command.{self._context.link}", self._heard)
        outlet = Outlet(self._store, self._skip, self._now, self._counts)
        self._pollers = {one.id: Poller(one, self._settings, outlet) for one in self._settings.device}
        self._spawn(self._flush_for_ever())
        for poller in self._pollers.values():
            self._spawn(poller.run())

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
        """Lets the log have what was read, then closes every connection; devices are not reported offline."""
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
        return {
            "devices": len(self._settings.device),
            "online": sum(one.online for one in self._pollers.values()),
            "pending": len(self._waiting),
            **{name: self._counts[name] for name in _COUNTED},
        }

    # --- values ---

    def _skip(self, reason: str, count: int) -> None:
        self._context.intake.reject(self._context.link, reason, count)

    def _now(self) -> int:
        return to_us(self._context.clock.now())

    async def _store(self, device: str, at: int, payloads: Mapping[str, bytes]) -> None:
        """Returns when these are on the log."""
        loop = asyncio.get_running_loop()
        stored = []
        for channel, payload in payloads.items():
            stored.append(loop.create_future())
            self._waiting.append((Message(self._context.link, device, channel, payload, at), stored[-1]))
        self._some.set()
        await asyncio.gather(*stored)

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
        outcome = {"id": id, "at": self._now(), **await self._written(command)}
        self._outcomes[id] = outcome
        await self._tell(outcome)

    async def _written(self, command: Mapping[str, Any]) -> dict[str, Any]:
        poller = self._pollers.get(str(command["device"]))
        if poller is None:
            return {"ok": False, "detail": f"link {self._context.link} has no device {command['device']!r}"}
        wanted = command["channel"], command["field"], command["value"], command["expires_at"]
        try:
            found, at = await poller.write(*wanted)
        except Unavailable as error:
            return {"ok": False, "unsure": True, "detail": str(error)}
        except HaechiError as error:
            return {"ok": False, "detail": str(error)}
        return {"ok": True, "confirmed": True, "at": at, "detail": f"acknowledged; {found}"}

    async def _tell(self, outcome: Mapping[str, Any]) -> None:
        try:
            await self._context.bus.publish("command.done", orjson.dumps(outcome))
        except Unavailable as error:  # the command is asked for again, and then this outcome is told
            _events.warning("outcome_not_told", link=self._context.link, command=outcome["id"], error=str(error))


_COUNTED = ("polls", "skipped", "connects", "no_answer", "exceptions", "refused", "writes", "bugs")
