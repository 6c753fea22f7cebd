"""The MQTT front door: a listener of our own (3.1.1, 5.0) whose acknowledgements follow the log. `app.py` starts it.

What all connections sent within `gather_ms` goes to ingest as one batch; PUBACK, PUBREC and PUBCOMP follow it.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import orjson
import structlog

from haechi.core.errors import HaechiError, InvalidData, InvalidSettings, Unavailable
from haechi.core.message import Message
from haechi.core.mqtt.commands import Courier
from haechi.core.mqtt.packets import BUSY, PUBREC, SHUTTING_DOWN
from haechi.core.mqtt.session import Item
from haechi.core.mqtt.topics import Template, is_topic, to_subject, to_topic
from haechi.core.times import to_us
from haechi.plugins.adapters.mqtt.connection import GATHER, Connection, Entry
from haechi.plugins.adapters.mqtt.sessions import KeptHub
from haechi.plugins.adapters.mqtt.settings import MqttSettings, hub_limits, read, tls
from haechi.ports import AdapterContext, Receipt

STOP_S = 1.0  # what clients get to take their last answers when the door closes
RETRY_S = 0.2
IN_FLIGHT = 4  # full batches on their way to the log, or as much in smaller ones
PENDING_BYTES = 2 << 20  # of payloads: a batch stays well below what one message of the log may hold
_events = structlog.get_logger("mqtt")


def create(settings: Mapping[str, Any], context: AdapterContext) -> "MqttAdapter":
    """The door of one link; `InvalidSettings` names the setting that is wrong."""
    return MqttAdapter(read(settings), context)


class MqttAdapter:
    """`ports.Adapter`. `address` is where it listens once started."""

    def __init__(self, settings: MqttSettings, context: AdapterContext) -> None:
        self.settings, self.context = settings, context
        self.topic = Template(settings.topic)
        self.address: tuple[str, int] = (settings.host, settings.port)
        self.loop: asyncio.AbstractEventLoop
        self.hub: KeptHub
        self.courier: Courier
        self.connections: set[Connection] = set()
        self.devices: dict[str, int] = {}  # how many connections each device has
        self.held: list[Connection] = []  # not read, because enough is pending
        self.counts = {"accepted": 0, "batches": 0, "unavailable": 0, "turned_away": 0}
        self._entries: list[Entry] = []
        self._bytes = 0  # of their payloads
        self._server: asyncio.Server | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None]
        self._last: asyncio.Task[None] | None = None  # the newest batch on its way
        self._under_way = self._bytes_under_way = 0  # packets on their way to the log, and their payloads
        self._arrived = asyncio.Event()  # some of them are there
        self._tasks: set[asyncio.Task[None]] = set()
        self._unlisten: list[Callable[[], Awaitable[None]]] = []

    def now(self) -> int:
        return to_us(self.context.clock.now())

    async def start(self) -> None:
        """Listens on the bus and opens the port; see `ports.Adapter`."""
        if self._server:
            return
        secure, where = tls(self.settings), (self.settings.host, self.settings.port)
        self._entries, self.held, self._bytes = [], [], 0
        self._under_way = self._bytes_under_way = 0
        self.loop = asyncio.get_running_loop()
        self.hub = KeptHub(self.context.data, hub_limits(self.settings), self.now())
        self.courier = Courier(self.settings.commands, self.hub, self._told, self.now)
        try:
            for pattern in ("mqtt.>", "mqtt_retained.>"):
                self._unlisten.append(await self.context.bus.listen(pattern, self._heard))
            ours = f"command.{self.context.link}"
            self._unlisten.append(await self.context.bus.listen(ours, self._commanded))
            self._server = await self.loop.create_server(lambda: Connection(self), *where, ssl=secure, backlog=1024)
        except (OSError, HaechiError) as error:
            await self._release()
            if isinstance(error, HaechiError):
                raise
            kind = Unavailable if error.errno == errno.EADDRINUSE else InvalidSettings
            message = f"host, port: cannot listen on {where[0]}:{where[1]} ({error}); free it or name another"
            raise kind(message) from error
        self.address = self._server.sockets[0].getsockname()[:2]
        self._sweeping = self._spawn(self._sweep())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Acknowledges what is stored, then closes every connection; devices are not reported offline."""
        if not self._server:
            return
        self._server.close()
        self._server = None
        self._sweeping.cancel()
        for _ in ("the batch that gathers", "those on their way"):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.settings.unavailable_s + STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.leave(SHUTTING_DOWN, "the server stops", quiet=True)
            self.loop.call_later(STOP_S, connection.transport.abort)
        while self.connections:  # noqa: ASYNC110 - once, for STOP_S at most
            await asyncio.sleep(0.01)
        await self._release()

    async def _release(self) -> None:
        self.hub.close()
        while self._unlisten:
            await self._unlisten.pop()()

    def health(self) -> Mapping[str, float]:
        """Gauges and counters of the door."""
        hub = self.hub.health() if self._server else {}
        hub |= self.courier.counts if self._server else {}
        return {"connections": len(self.connections), "pending": len(self._entries), **self.counts, **hub}

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            for connection in list(self.connections):
                connection.check(self.loop.time())
            try:
                self.courier.look()
                self.hub.sweep(self.now())
            except Unavailable as error:
                _events.warning("sessions_not_saved", link=self.context.link, error=str(error))

    async def _heard(self, subject: str, payload: bytes) -> None:
        topic = to_topic(subject)
        if is_topic(topic) and len(payload) <= self.settings.packet_bytes_max:  # else no client could get it
            item = Item(topic, payload, retain=subject.startswith("mqtt_retained."))
            if item.retain:
                self.hub.keep(item)
            self.hub.tell(item)

    async def _commanded(self, subject: str, payload: bytes) -> None:
        try:
            self.courier.hear(payload)
        except InvalidData as error:
            _events.error("notice_skipped", subject=subject, error=str(error))

    def _told(self, outcome: Mapping[str, Any]) -> None:
        self._spawn(self._tell(outcome))

    async def _tell(self, outcome: Mapping[str, Any]) -> None:
        try:
            await self.context.bus.publish("command.done", orjson.dumps(outcome))
        except Unavailable as error:  # while nobody heard, the command is asked for again, and then this is told
            _events.warning("outcome_not_told", link=self.context.link, command=outcome["id"], error=str(error))

    @property
    def full(self) -> bool:
        """Whether connections must wait: enough messages are pending, or the door closes."""
        enough = len(self._entries) >= self.settings.pending_max or self._bytes >= PENDING_BYTES
        return enough or self._server is None

    def add(self, entry: Entry) -> None:
        """Puts a packet into the next batch."""
        if self._server is None:
            return  # the door closed: nobody is acknowledged any more
        self._entries.append(entry)
        self._bytes += len(entry.message.payload) if entry.message else 0
        if self._flushing is None or self._flushing.done():
            self._flushing = self._spawn(self._flush())

    async def _flush(self) -> None:
        await asyncio.sleep(self.settings.gather_ms / 1000)
        most = self.settings.gather_max
        while self._entries:
            while self._under_way >= IN_FLIGHT * most or self._bytes_under_way >= IN_FLIGHT * PENDING_BYTES:
                self._arrived.clear()
                await self._arrived.wait()
            batch, self._entries = self._entries[:most], self._entries[most:]
            size = sum(len(one.message.payload) for one in batch if one.message)
            self._bytes -= size
            self._bytes_under_way += size
            self._under_way += len(batch)
            self._last = self._spawn(self._store(batch, size, self._last))
            held, self.held = self.held, []
            for connection in held:
                self.loop.call_soon(connection.release, GATHER)

    async def _store(self, batch: Sequence[Entry], size: int, before: asyncio.Task[None] | None) -> None:
        try:
            await self._settled(batch, before)
        finally:
            self._under_way -= len(batch)
            self._bytes_under_way -= size
            self._arrived.set()

    async def _settled(self, batch: Sequence[Entry], before: asyncio.Task[None] | None) -> None:
        messages = [entry.message for entry in batch if entry.message is not None]
        try:
            receipt = await self._accept(messages) if messages else Receipt()
            if before:
                await asyncio.wait([before])  # answers keep the order of the packets (4.6)
            kept = self._settle(batch, receipt)
            self.counts["accepted"] += len(messages)
            self.counts["batches"] += 1
        except Exception as error:  # a bug in ingest must not stop the door: nobody is acknowledged, everybody resends
            log = _events.warning if isinstance(error, Unavailable) else _events.exception
            log("batch_not_stored", link=self.context.link, messages=len(messages), error=str(error))
            self._fail(batch)
            return
        for item in kept:  # subscribers, ours too, get it from the bus, so that every door gives it once
            try:
                await self.context.bus.publish(to_subject(item.topic), item.payload)
            except Unavailable:
                self.hub.tell(item)

    async def _accept(self, messages: Sequence[Message]) -> Receipt:
        give_up_at = self.loop.time() + self.settings.unavailable_s
        while True:
            try:
                return await self.context.intake.accept(messages)
            except Unavailable:
                self.counts["unavailable"] += 1
                if self.loop.time() >= give_up_at:
                    raise
                await asyncio.sleep(RETRY_S)

    def _settle(self, batch: Sequence[Entry], receipt: Receipt) -> list[Item]:
        """Answers a stored batch; returns what was retained. `Unavailable`: sessions cannot be saved."""
        answers, told, index, why = dict[Connection, list[bytes]](), list[tuple[Item, Connection]](), -1, ""
        for entry in batch:
            if entry.message is not None:
                index += 1
                why = receipt.refused.get(index, "") if receipt.refused else ""
            if entry.item is not None and not why:
                told.append((entry.item, entry.sender))
            if entry.reply:
                target, answer = entry.sender.answer(entry, why)
                if target is not None:
                    answers.setdefault(target, []).append(answer)
        kept = [item for item, _ in told if item.retain and self.hub.keep(item)]
        self.hub.commit()
        for connection, packets in answers.items():
            connection.write(b"".join(packets))
        for item, sender in told:
            if not item.retain:
                self.hub.tell(item, sender.session)
        return kept

    def _fail(self, batch: Sequence[Entry]) -> None:
        lost = sum(entry.message is not None and not entry.reply for entry in batch)
        if lost:  # QoS 0: nobody sends it again
            self.context.intake.reject(self.context.link, "unavailable", lost)
        for entry in batch:
            if entry.reply == PUBREC:
                entry.sender.session.busy.discard(entry.number)
            if entry.reply:
                entry.sender.leave(BUSY, "the platform cannot store now; connect and send again", quiet=True)
