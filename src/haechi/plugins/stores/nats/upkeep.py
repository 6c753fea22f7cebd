"""The stream itself: how it is made, what is taken off its beginning, and where it goes on after a loss. For
`NatsLog` and the pipeline role."""

import asyncio
import contextlib
from collections.abc import Iterator

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RawStreamMsg, StorageType, StoreCompression, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from haechi.core.errors import Unavailable
from haechi.core.times import SECOND, to_us
from haechi.plugins.stores.nats.server import LogLimits

STREAM = "CITY"
PREFIX = "log."
DUPLICATE_S = 120
FILL = 500  # filler messages under way at once

_events = structlog.get_logger("log")


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """A server that is away, slow or refuses: `Unavailable`."""
    try:
        yield
    except (nats.errors.Error, JetStreamError, OSError) as error:
        raise Unavailable(f"the log does not answer: {error}") from error


def stream_config(limits: LogLimits, first_seq: int | None = None) -> StreamConfig:
    """A full log refuses what is new: what it drops on its own would be acknowledged and lost."""
    return StreamConfig(
        name=STREAM,
        subjects=[PREFIX + ">"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=limits.max_bytes,
        duplicate_window=DUPLICATE_S,
        compression=StoreCompression.S2,
        first_seq=first_seq,
    )


async def open_stream(stream: JetStreamContext, limits: LogLimits) -> None:
    """Creates the stream, or gives the one that is there these limits."""
    wanted = stream_config(limits)
    with answering():
        try:
            there = (await stream.stream_info(STREAM)).config
        except NotFoundError:
            await stream.add_stream(wanted)
            return
        if (there.discard, there.max_bytes, there.max_age) != (wanted.discard, wanted.max_bytes, 0):
            await stream.update_stream(wanted)
            _events.info("log_limits_changed", max_bytes=limits.max_bytes)


async def trim(stream: JetStreamContext, limits: LogLimits, applied: int, now_us: int) -> int:
    """Takes off the beginning what is beyond the limits and applied (seq <= `applied`) by every consumer; how many."""
    with answering():
        state = (await stream.stream_info(STREAM)).state
        wanted = await _first_younger(stream, state.first_seq, applied, now_us - int(limits.keep_s * SECOND))
        if state.bytes > limits.keep_bytes:
            excess = (state.bytes - limits.keep_bytes) / state.bytes
            wanted = max(wanted, state.first_seq + int(excess * state.messages))
        first = min(wanted, applied + 1)
        if first <= state.first_seq:
            return 0
        await stream.purge_stream(STREAM, seq=first)
    _events.info("log_trimmed", count=first - state.first_seq, first=first)
    return first - state.first_seq


async def _first_younger(stream: JetStreamContext, low: int, high: int, since_us: int) -> int:
    """The first seq in `low`..`high + 1` whose message was stored at or after `since_us`; they are in order of time."""
    while low <= high:
        middle = (low + high) // 2
        try:
            found = await _next(stream, middle)
        except NotFoundError:
            return low  # nothing from there on
        if _stored_at(found) >= since_us:
            high = middle - 1
        else:
            assert found.seq is not None
            low = found.seq + 1
    return low


async def _next(stream: JetStreamContext, seq: int) -> RawStreamMsg:
    return await stream.get_msg(STREAM, seq=seq, subject=PREFIX + ">", next=True)


def _stored_at(message: RawStreamMsg) -> int:
    assert message.time is not None
    return to_us(message.time)


async def continue_after(stream: JetStreamContext, limits: LogLimits, position: int) -> None:
    """Makes the next append get a seq beyond `position`, so that no new message has a number that a consumer believes
    it has seen. After a power loss under `durability = "os"` the log may have forgotten its last second; a log whose
    folder was removed has forgotten everything."""
    with answering():
        last = (await stream.stream_info(STREAM)).state.last_seq
        if last >= position:
            return
        cause = "power loss under durability os, or a removed or restored log"
        _events.warning("log_forgot_messages", count=position - last, cause=cause)
        if last == 0:
            await stream.delete_stream(STREAM)
            await stream.add_stream(stream_config(limits, first_seq=position + 1))
            return
        while last < position:
            # Named after where this round began: a round that was interrupted is not taken for done.
            names = [f"filler-{last}-{number}" for number in range(min(FILL, position - last))]
            await asyncio.gather(*(_fill(stream, name) for name in names))
            last = (await stream.stream_info(STREAM)).state.last_seq


async def _fill(stream: JetStreamContext, name: str) -> None:
    await stream.publish(PREFIX + "filler", b"", headers={"Nats-Msg-Id": name}, timeout=5)
