"""The api role at the end of the log: live values for the console, and fresh history. Each at its own
pace, from one tape."""

import asyncio
from contextlib import suppress

from haechi.core.errors import InvalidData
from haechi.faces.console.live import LiveHub
from haechi.ports import Log
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
        for record in records:
            with suppress(InvalidData):  # the pipeline keeps such a frame and says so
                rows = record.frame().observations
                rows = own_rows(rows) if record.subject == "entity" else rows
                for start in range(0, max(rows.num_rows, 1), TURN):
                    hub.feed(rows.slice(start, TURN), record.seq)
                    if rows.num_rows > TURN:
                        await asyncio.sleep(0)
        await asyncio.sleep(0)  # requests get their turn between two batches


async def feed_tail(tape: Tape, history: HistoryTail, progress: Progress) -> None:
    """For ever: every record in order. A full tail is not fed until history has committed what is in it."""
    async for records in tape.read(history.start_after()):
        while history.full:  # noqa: ASYNC110 - `refresh` runs in a thread and has no event
            await asyncio.sleep(ROOM_S)
        history.absorb(records)
        if history.many_unread:
            await asyncio.to_thread(history.settle)
        await progress.advance("tail", records[-1].seq)
