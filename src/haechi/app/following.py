"""The api role at the end of the log: live values for the console, and fresh history. Each at its own
pace, from one tape."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow as pa

from haechi.core.errors import InvalidData
from haechi.faces.console.live import LiveHub
from haechi.ports import Log, Record
from haechi.services.history.reader import HistoryTail
from haechi.services.stream.progress import Progress
from haechi.services.stream.tape import Tape
from haechi.services.tenants.live import own_rows

OBSERVED = frozenset({"obs", "entity"})
TURN = 2_500  # rows that screens are told of at once, some milliseconds
SCREENS = {"obs": 0.1, "entity": 0.1}  # seconds for which values gather: a screen is told twice a second
ROOM_S = 0.5  # how often a full tail is looked at again


async def feed_hub(log: Log, tape: Tape, hub: LiveHub) -> None:
    """For ever: what is stored from now on. It never waits for history: screens stay live while that is behind."""
    async for records in tape.read(await log.last_seq(), SCREENS):
        for rows in map(own_rows, _together(records)):
            for start in range(0, max(rows.num_rows, 1), TURN):
                hub.feed(rows.slice(start, TURN), records[-1].seq)
                await asyncio.sleep(0)  # requests get their turn between two batches


def _together(records: Sequence[Record]) -> Iterator[pa.RecordBatch]:
    """The observations of all, in order, about `TURN` at a time: what taking some in costs, it costs per batch."""
    some: list[pa.RecordBatch] = []
    count = 0
    for record in records:
        with suppress(InvalidData):  # the pipeline keeps such a frame and says so
            some.append(record.frame().observations)
            count += some[-1].num_rows
        if count >= TURN:
            yield pa.concat_batches(some)
            some, count = [], 0
    if some:
        yield pa.concat_batches(some)


async def feed_tail(tape: Tape, history: HistoryTail, progress: Progress) -> None:
    """For ever: every record in order. A full tail is not fed until history has committed what is in it."""
    async for records in tape.read(history.start_after()):
        while history.full:  # noqa: ASYNC110 - `refresh` runs in a thread and has no event
            await asyncio.sleep(ROOM_S)
        history.absorb(records)
        if history.many_unread:
            await asyncio.to_thread(history.settle)
        await progress.advance("tail", records[-1].seq)
