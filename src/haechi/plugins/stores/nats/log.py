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
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from haechi.core.errors import Unavailable
from haechi.core.times import to_us
from haechi.plugins.stores.nats import upkeep
from haechi.plugins.stores.nats.server import Address, LogLimits
from haechi.plugins.stores.nats.upkeep import PREFIX, STREAM, answering
from haechi.plugins.stores.nats.witness import Witness
from haechi.ports import Record

BATCH, BATCH_BYTES = 512, 32 * 1024 * 1024  # records a read hands over at most
HEARTBEAT_S = 5.0
IDLE_S = 2.0  # after so long without a record we ask whether the consumer is still there
APPEND_S = 12.0  # an append is tried that long: a killed server is back within it, a full disk is told soon
CONFIRM_S = 5.0
TAKE_S = 1.0
CONNECT_S = 10.0
PENDING_BYTES = 64 * 1024 * 1024  # on their way to a server that does not read; then nothing more is sent to it
NOTICES_MAX, NOTICES_BYTES = 65_536, 16 * 1024 * 1024  # that wait for one listener; later ones are dropped
STORE_FAILED = 10077  # JetStream's JSStreamStoreFailedF: the stream is at its limit, or its disk refused the write

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
    except OSError as error:
        raise _nobody(address, error) from error
    try:
        async with asyncio.timeout(CONNECT_S):  # a server that hangs takes the connection and says nothing
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
        await close(client)
        raise _nobody(address, error) from error
    return client


def _nobody(address: Address, error: Exception) -> Unavailable:
    why = str(error) or "it does not answer"  # nats says a time-out without words
    return Unavailable(f"no nats-server on port {address.port}: {why}; is `haechi run` up?")


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
    """The stream. Call `open` once before anything else. With a witness an append counts only while the disk it was
    synced to goes on taking changes: `durability = "disk"`."""

    def __init__(self, client: Client, limits: LogLimits | None = None, witness: Witness | None = None) -> None:
        self._client = client
        self._witness = witness
        self._stream: JetStreamContext = client.jetstream(timeout=5)
        self._limits = limits or LogLimits()

    async def open(self) -> None:
        """Creates the stream where there is none, and gives one that is there the limits of this run."""
        await upkeep.open_stream(self._stream, self._limits)

    async def continue_after(self, position: int) -> None:
        """Sees to it that the next append gets a seq beyond `position`."""
        await upkeep.continue_after(self._stream, self._limits, position)

    async def trim(self, applied: int, now_us: int) -> int:
        """Drops what is beyond the limits and applied by every consumer (seq <= `applied`); how many messages."""
        return await upkeep.trim(self._stream, self._limits, applied, now_us)

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        wait_s, problem = 0.1, "nothing was tried"
        ends_at = asyncio.get_running_loop().time() + APPEND_S
        while (left_s := ends_at - asyncio.get_running_loop().time()) > 0:
            try:
                return await self._publish(subject, payload, dedupe_id, min(CONFIRM_S, left_s))
            except (nats.errors.Error, JetStreamError, OSError) as error:
                if isinstance(error, APIError) and error.err_code == STORE_FAILED:
                    raise Unavailable(f"the log refuses: {error.description}; {self._what_to_do()}") from error
                problem = str(error) or type(error).__name__
            await asyncio.sleep(min(wait_s, left_s))
            wait_s *= 2
        raise Unavailable(f"the log did not confirm an append: {problem}; {self._what_to_do()}")

    async def _publish(self, subject: str, payload: bytes, dedupe_id: str, timeout_s: float) -> int:
        if self._client.pending_data_size > PENDING_BYTES:  # the server reads nothing: trying again adds to the pile
            raise nats.errors.OutboundBufferLimitError
        headers = {"Nats-Msg-Id": dedupe_id}
        # The client's own time begins only once a server that hangs has taken the bytes: ours begins here.
        async with asyncio.timeout(timeout_s + TAKE_S):
            ack = await _cancellable(
                self._stream.publish(PREFIX + subject, payload, headers=headers, timeout=timeout_s),
            )
        await self._witnessed()
        return ack.seq

    async def _witnessed(self) -> None:
        if self._witness is None:
            return
        try:
            await self._witness.confirm()
        except OSError as error:
            raise Unavailable(f"the log's disk takes no changes any more: {error}; mend it and start again") from error

    def _what_to_do(self) -> str:
        limit = f"{self._limits.max_bytes / 1024**3:.1f} GiB"
        return f"is its disk full, or its limit of {limit} reached because the pipeline stands? See `haechi doctor`"

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
        """Records in unbroken order; ends when one was lost on the way: the server tells nobody twice.

        The server pushes as fast as we take (flow control). Asking for batches instead waits until one is full: at
        1,000 messages a second a record was 150 ms old when it came, 2.8 s in the worst case.
        """
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30,
            mem_storage=True,
        )
        subscription = await _cancellable(
            self._stream.subscribe(
                PREFIX + ">", stream=STREAM, config=config, flow_control=True, idle_heartbeat=HEARTBEAT_S
            )
        )
        try:
            while True:
                records = await self._arrived(subscription)
                if whole := unbroken(records, after):
                    after = whole[-1].seq
                    yield whole
                if len(whole) < len(records):
                    _events.warning("log_read_gap", position=after, came=records[len(whole)].seq)
                    return
        finally:
            if self._client.is_connected:
                await subscription.unsubscribe()

    async def _arrived(self, subscription: JetStreamContext.PushSubscription) -> list[Record]:
        """What has come by now, at least one; raises when the consumer is gone (server restarted)."""
        while True:
            try:
                first = await _cancellable(subscription.next_msg(timeout=IDLE_S))
                break
            except nats.errors.TimeoutError:
                await _cancellable(subscription.consumer_info())
        records, size = [_record(first)], len(first.data)
        while subscription.pending_msgs and len(records) < BATCH and size < BATCH_BYTES:
            message = await subscription.next_msg()
            records.append(_record(message))
            size += len(message.data)
        return records

    async def last_seq(self) -> int:
        with answering():
            try:
                return (await self._stream.stream_info(STREAM)).state.last_seq
            except NotFoundError:
                return 0

    async def last_seq_of(self, subjects: frozenset[str]) -> int:
        """Seq of the newest message on these subjects, 0 when there is none."""
        newest = 0
        with answering():
            for subject in subjects:
                with contextlib.suppress(NotFoundError):
                    newest = max(newest, (await self._stream.get_last_msg(STREAM, PREFIX + subject)).seq or 0)
        return newest


def unbroken(records: list[Record], after: int) -> list[Record]:
    """The records that follow `after` without one missing between."""
    return [one for seq, one in enumerate(records, after + 1) if one.seq == seq]


def _record(message: Msg) -> Record:
    meta = message.metadata
    return Record(meta.sequence.stream, message.subject[len(PREFIX) :], message.data, to_us(meta.timestamp))


class NatsBus:
    """Notices over the same connection; nothing durable."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish(self, subject: str, payload: bytes) -> None:
        if self._client.pending_data_size > PENDING_BYTES:
            raise Unavailable("the bus takes nothing: nats-server does not read; see `haechi doctor`")
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

        subscription = await self._client.subscribe(
            pattern, cb=forward, pending_msgs_limit=NOTICES_MAX, pending_bytes_limit=NOTICES_BYTES
        )
        return subscription.unsubscribe
