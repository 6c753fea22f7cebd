"""Requests that change something at the same time go to the log together: one frame, one fsync. Used by `Writes`.

Whoever comes first goes at once. A second frame takes off beside the first once as many commands wait as that took: so
few clients do not wait for each other, and many make large frames, which cost each process little more than small ones.
Who comes while `FLIGHTS` are under way goes with the next one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from haechi.core.frame import EntityCommand, Frame, Tally
from haechi.core.observation import Observation, to_batch
from haechi.services.stream.progress import Refusals

LINK = "api"
FLIGHTS = 2
ENOUGH = 100  # commands of a frame that is large
MOST = 1_000  # commands of a frame that gathers; a batch of more goes alone


class _Part(NamedTuple):
    commands: Sequence[EntityCommand]
    rows: Sequence[Observation]
    done: "asyncio.Future[None]"


class Together:
    """`write` appends a frame and returns when reads see it. One per process, of one event loop."""

    def __init__(self, write: Callable[[Frame], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[_Part] = deque()
        self._count = 0  # commands that wait
        self._flown = 0  # commands of the newest flight
        self._flights: set[asyncio.Task[None]] = set()
        self._called = False

    async def send(self, commands: Sequence[EntityCommand], rows: Sequence[Observation]) -> None:
        """Returns when reads see it; raises what `write` raised for the frame it went with."""
        loop = asyncio.get_running_loop()
        part = _Part(commands, rows, loop.create_future())
        self._waiting.append(part)
        self._count += len(commands)
        self._call(loop)
        await part.done

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """At the end of this turn of the loop: who is served in the same turn goes along."""
        if not self._called and self._may_fly():
            self._called = True
            loop.call_soon(self._take_off)

    def _may_fly(self) -> bool:
        if not self._waiting or not self._flights:
            return bool(self._waiting)
        return len(self._flights) < FLIGHTS and self._count >= min(self._flown, ENOUGH)

    def _take_off(self) -> None:
        self._called = False
        if self._may_fly():
            flight = asyncio.get_running_loop().create_task(self._fly(self._gathered()))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        self._call(flight.get_loop())

    def _gathered(self) -> list[_Part]:
        parts = [self._waiting.popleft()]
        size = len(parts[0].commands)
        while self._waiting and size + len(self._waiting[0].commands) <= MOST:
            parts.append(self._waiting.popleft())
            size += len(parts[-1].commands)
        self._count, self._flown = self._count - size, size
        return parts

    async def _fly(self, parts: Sequence[_Part]) -> None:
        try:
            await self._write(_frame(parts))
        except Refusals as refused:
            for part in parts:
                _settle(
                    [part], next((refused.errors[one.id] for one in part.commands if one.id in refused.errors), None)
                )
        except Exception as error:  # whoever waits is told; a flight has nobody else to tell
            _settle(parts, error)
        except asyncio.CancelledError:
            for one in parts:
                one.done.cancel()
            raise
        else:
            _settle(parts, None)


def _settle(parts: Sequence[_Part], error: Exception | None) -> None:
    for one in parts:
        if one.done.done():
            continue  # its request was given up by the client
        if error is None:
            one.done.set_result(None)
        else:
            one.done.set_exception(error)


def _frame(parts: Sequence[_Part]) -> Frame:
    commands = tuple(command for one in parts for command in one.commands)
    rows = [row for one in parts for row in one.rows]
    if not rows:
        return Frame(commands=commands)
    return Frame({LINK: Tally(len(rows), len(rows), 0)}, commands=commands, observations=to_batch(rows))
