"""`Log` and `Bus` on NATS: one JetStream stream `CITY`, three subjects, every consumer at its own position.

Positions live with the consumers' effects, not in NATS: consumers here are ephemeral and acknowledge nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from haechi.core.errors import Unavailable
from haechi.core.times import to_us
from haechi.plugins.stores.nats.server import Address
from haechi.ports import Record

STREAM = "CITY"
PREFIX = "log."
BATCH = 256  # records a read hands over at most
FIRST_BATCH = 16  # before the size of the records is known
READ_BYTES = 32 * 1024 * 1024  # asked for at once: more than its queue holds, and the server drops the connection
APPEND_TRIES = 5

_events = structlog.get_logger("log")
Answer = TypeVar("Answer")


async def connect(address: Address, name: str) -> Client:
    """A connection that reconnects for ever; `Unavailable` when there is no server now."""

    client = Client()

    async def lost() -> None:
        if not client.is_closed:
            _events.warning("nats_connection_lost", role=name)

    async def back() -> None:
        _events.info("nats_connection_back", role=name)

    async def failed(error: Exception) -> None:
        _events.debug("nats_error", role=name, error=str(error))

    try:
        # The client retries its first connection for ever where it may reconnect for ever: ask for the port first.
        _, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.close()
        await client.connect(
            f"nats://127.0.0.1:{address.port}",
            token=address.token,
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # type: ignore[arg-type]  # a float works and is needed
            disconnected_cb=lost,
            reconnected_cb=back,
            error_cb=failed,
            connect_timeout=5,
            allow_reconnect=True,
        )
    except (OSError, nats.errors.Error) as error:
        raise Unavailable(f"no nats-server on port {address.port}: {error}; is `haechi run` up?") from error
    return client


async def close(client: Client) -> None:
    """Ends a connection, also one whose server is away."""
    with contextlib.suppress(OSError, nats.errors.Error):
        await client.close()


async def _cancellable(work: Awaitable[Answer]) -> Answer:
    """The client swallows a cancellation that meets it in its flush; whoever was told to stop must hear of it."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        answer = await work
    except Exception:
        if task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


class NatsLog:
    """The stream. Call `open` once before anything else."""

    def __init__(self, client: Client, max_bytes: int = 20 * 1024**3, max_age_s: float = 7 * 86_400) -> None:
        self._client = client
        self._stream: JetStreamContext = client.jetstream(timeout=5)
        self._max_bytes, self._max_age_s = max_bytes, max_age_s

    async def open(self) -> None:
        """Creates the stream where there is none."""
        config = StreamConfig(
            name=STREAM,
            subjects=[PREFIX + ">"],
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            max_bytes=self._max_bytes,
            max_age=self._max_age_s,
            duplicate_window=120,
            compression=StoreCompression.S2,
        )
        try:
            await self._stream.stream_info(STREAM)
        except NotFoundError:
            await self._create(config)
        except (nats.errors.Error, JetStreamError, OSError) as error:
            raise Unavailable(f"the log does not answer: {error}") from error

    async def _create(self, config: StreamConfig) -> None:
        try:
            await self._stream.add_stream(config)
        except (nats.errors.Error, JetStreamError, OSError) as error:
            raise Unavailable(f"JetStream refuses the stream {STREAM}: {error}") from error

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        problem: Exception | None = None
        for attempt in range(APPEND_TRIES):
            try:
                ack = await _cancellable(
                    self._stream.publish(PREFIX + subject, payload, headers={"Nats-Msg-Id": dedupe_id}, timeout=5)
                )
            except (nats.errors.Error, JetStreamError, OSError) as error:
                problem = error
                await asyncio.sleep(0.1 * 2**attempt)
            else:
                return ack.seq
        raise Unavailable(f"the log did not confirm an append: {problem}; is its disk full?") from problem

    async def read(self, after: int, subjects: frozenset[str]) -> AsyncIterator[Sequence[Record]]:
        position = after
        while True:
            try:
                async for records in self._follow(position):
                    position = records[-1].seq
                    wanted = [one for one in records if one.subject in subjects]
                    if wanted:
                        yield wanted
                position = await self._past_hole(position)
            except (nats.errors.Error, JetStreamError, OSError) as error:
                _events.debug("log_read_again", position=position, error=str(error))
                await asyncio.sleep(0.2)

    async def _past_hole(self, position: int) -> int:
        """The position itself, or the last one before the next message when those between are not on the log."""
        found = await self._stream.get_msg(STREAM, seq=position + 1, subject=PREFIX + ">", next=True)
        assert found.seq is not None
        if found.seq > position + 1:
            cause = "older than the log keeps, or deleted from it"
            _events.error("log_misses_messages", first=position + 1, last=found.seq - 1, cause=cause)
        return found.seq - 1

    async def _follow(self, after: int) -> AsyncIterator[list[Record]]:
        """Records in unbroken order; ends when one was lost on the way: the server tells nobody twice."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30,
            mem_storage=True,
        )
        subscription = await _cancellable(self._stream.pull_subscribe(PREFIX + ">", stream=STREAM, config=config))
        batch = FIRST_BATCH
        try:
            while True:
                try:
                    messages = await subscription.fetch(batch, timeout=5)
                except nats.errors.TimeoutError:
                    await _cancellable(
                        subscription.consumer_info()
                    )  # raises when the consumer is gone (server restarted)
                    continue
                records = [_record(one) for one in messages]
                if whole := unbroken(records, after):
                    after = whole[-1].seq
                    yield whole
                if len(whole) < len(records):
                    _events.warning("log_read_gap", position=after, came=records[len(whole)].seq)
                    return
                batch = _next_batch(records)
        finally:
            if self._client.is_connected:
                await subscription.unsubscribe()

    async def last_seq(self) -> int:
        try:
            state = (await self._stream.stream_info(STREAM)).state
        except NotFoundError:
            return 0
        except (nats.errors.Error, JetStreamError, OSError) as error:
            raise Unavailable(f"the log does not answer: {error}") from error
        return state.last_seq

    async def last_seq_of(self, subjects: frozenset[str]) -> int:
        """Seq of the newest message on these subjects, 0 when there is none."""
        newest = 0
        for subject in subjects:
            try:
                newest = max(newest, (await self._stream.get_last_msg(STREAM, PREFIX + subject)).seq or 0)
            except NotFoundError:
                continue
            except (nats.errors.Error, JetStreamError, OSError) as error:
                raise Unavailable(f"the log does not answer: {error}") from error
        return newest


def unbroken(records: list[Record], after: int) -> list[Record]:
    """The records that follow `after` without one missing between."""
    return [one for seq, one in enumerate(records, after + 1) if one.seq == seq]


def _next_batch(records: Sequence[Record]) -> int:
    """How many records like these one fetch may bring."""
    size = sum(len(one.payload) for one in records) + 1
    return max(1, min(BATCH, READ_BYTES * len(records) // size))


def _record(message: Msg) -> Record:
    meta = message.metadata
    return Record(meta.sequence.stream, message.subject[len(PREFIX) :], message.data, to_us(meta.timestamp))


class NatsBus:
    """Notices over the same connection; nothing durable."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish(self, subject: str, payload: bytes) -> None:
        try:
            await _cancellable(self._client.publish(subject, payload))
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the bus does not answer: {error}") from error

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        async def forward(message: Msg) -> None:
            try:
                await heard(message.subject, message.data)
            except Unavailable as error:
                _events.warning("notice_not_obeyed", subject=message.subject, error=str(error))
            except Exception:  # the client would keep it to itself
                _events.exception("notice_not_obeyed", subject=message.subject)

        subscription = await self._client.subscribe(pattern, cb=forward)
        return subscription.unsubscribe
