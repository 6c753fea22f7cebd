"""What all connections of a link sent within a few milliseconds becomes one `Intake.accept`. For the adapter.

Two accepts at a time, so that the platform maps one batch while the log writes the other; the rest gathers, so
batches grow exactly as the platform slows down.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import structlog

from haechi.core.errors import Unavailable
from haechi.core.message import Message
from haechi.plugins.adapters.hj212.settings import Hj212Settings
from haechi.plugins.codecs.hj212.packet import Packet
from haechi.ports import Intake

RETRY_S, RETRY_S_MAX = 0.2, 5.0
ACCEPTS = 2  # under way at once
_events = structlog.get_logger("hj212")


class Sender(Protocol):
    """A connection as the gatherer sees it."""

    def settle(self, settled: Sequence["Pending"], refused: Sequence[str | None]) -> None:
        """These are durable, or refused for the reason given: answer them."""

    def resume(self) -> None:
        """There is room again."""


class Pending(NamedTuple):
    """A message that waits for the log. `packet` is what to answer, None when nobody waits for one."""

    message: Message
    sender: Sender
    packet: Packet | None


class Gatherer:
    """The queue between connections and intake, with tasks of its own."""

    def __init__(self, link: str, intake: Intake, settings: Hj212Settings) -> None:
        self._link, self._intake, self._settings = link, intake, settings
        self._queue: list[Pending] = []
        self._in_flight = self._bytes = 0
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._paused: set[Sender] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pending(self) -> int:
        """Messages received and not settled."""
        return len(self._queue) + self._in_flight

    @property
    def full(self) -> bool:
        """Whether senders should stop reading."""
        return self.pending >= self._settings.pending_max or self._bytes >= self._settings.pending_bytes_max

    @property
    def pending_bytes(self) -> int:
        """Of their payloads."""
        return self._bytes

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(ACCEPTS)]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def stop(self, within_s: float) -> None:
        """Settles what is queued, as far as the log takes it within that time; the rest is never acknowledged."""
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            _events.warning("stopped_with_unsettled", link=self._link, messages=self.pending)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def put(self, pending: Pending) -> None:
        self._queue.append(pending)
        self._bytes += len(pending.message.payload)
        self._empty.clear()
        self._some.set()

    def pause(self, sender: Sender) -> None:
        """Remembers a sender that stopped reading; `resume` is called after the next batch."""
        self._paused.add(sender)

    def forget(self, sender: Sender) -> None:
        self._paused.discard(sender)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            if len(self._queue) < self._settings.gather_max:
                await asyncio.sleep(self._settings.gather_ms / 1000)
            batch = self._queue[: self._settings.gather_max]
            del self._queue[: len(batch)]
            if not self._queue:
                self._some.clear()
            if not batch:
                continue  # the other task was quicker
            self._in_flight += len(batch)
            refused = await self._accept([one.message for one in batch])
            self._in_flight -= len(batch)
            self._bytes -= sum(len(one.message.payload) for one in batch)
            _settle(batch, refused)
            if not self.pending:
                self._empty.set()
            resumed, self._paused = self._paused, set()
            for sender in resumed:
                sender.resume()

    async def _accept(self, messages: Sequence[Message]) -> dict[int, str]:
        """Refusals by index, once the log has the rest. While it has not, nothing more is taken from the queue.

        Giving up instead would lose the frames of senders that ask for no answer; those that do send again and the
        log's readers know a value seen twice.
        """
        wait_s = RETRY_S
        while True:
            try:
                return dict((await self._intake.accept(messages)).refused)
            except Unavailable as error:
                _events.warning("log_away", link=self._link, messages=len(messages), error=str(error), retry_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_S_MAX)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _events.critical("gatherer_died", error=repr(error))  # a bug: the link takes nothing more until it is restarted


def _settle(batch: Sequence[Pending], refused: dict[int, str]) -> None:
    """Answers per sender, so that a sender's answers leave in one write."""
    shares: dict[Sender, tuple[list[Pending], list[str | None]]] = {}
    for index, one in enumerate(batch):
        settled, reasons = shares.setdefault(one.sender, ([], []))
        settled.append(one)
        reasons.append(refused.get(index))
    for sender, (settled, reasons) in shares.items():
        sender.settle(settled, reasons)
