"""A virtual HJ 212-2017 device: sends, waits for 9014, sends the same frame again, calls again. For runner and replay.

Seeded trouble: its clock is off by a constant, its network goes away now and then, its values may carry flags.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from haechi_testbed.devices.hj212 import wire

SECOND = 1_000_000
BURST = 64  # frames written before the socket is asked whether it keeps up
READY = "1"  # QnRtn: the request is taken


class Clock(Protocol):
    """Where a device looks for the time, e.g. `haechi_testbed.clock.VirtualClock`."""

    def now_us(self) -> int:
        """Microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a device behaves. Spans in seconds of the real clock."""

    st: str = "22"  # kind of system: 22 air, 31 stack
    offset_h: float = 9.0  # of the local time it writes
    answer_s: float = 10.0  # an upload without an answer is sent again after that
    heartbeat_s: float = 60.0  # 0: none
    backoff_s: float = 0.5  # first pause before it calls again; doubles up to half a minute
    window: int = 2_000  # unanswered uploads on the line
    kept: int = 100_000  # uploads it remembers; beyond that `send` waits and `post` gives the oldest up
    skew_s: float = 0.0  # standard deviation of how wrong its clock is, drawn once
    outages_per_h: float = 0.0  # how often its network goes away
    outage_s: float = 20.0  # for how long


PLAIN = Manner()


class Hj212Device:
    """One device with one connection. `sent` = `acknowledged` + `refused` + `given_up` + `waiting`, at any moment."""

    def __init__(self, mn: str, password: str, host: str, port: int, clock: Clock, rng: random.Random) -> None:
        """Nothing is opened before `start`; set `manner` before that. `rng` decides skew, outages and pauses."""
        self.mn, self._password = mn, password
        self._where, self._clock, self._rng = (host, port), clock, rng
        self.manner = PLAIN
        self.sent = self.acknowledged = self.refused = self.given_up = self.resent = 0
        self.refusal = ""  # QnRtn of the last upload that was turned away: 3 password, 4 number
        self._unanswered: dict[str, bytes] = {}  # by QN, oldest first
        self._unwritten: deque[str] = deque()
        self._written: dict[str, float] = {}  # on this connection, when; oldest first
        self._last_qn_ms = 0
        self._bias = rng.gauss(0.0, 1.0)
        self._offline = False
        self._work, self._answered = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Uploads that are not answered yet."""
        return len(self._unanswered)

    @property
    def skew_us(self) -> int:
        """How far its clock is ahead."""
        return int(max(-3.0, min(3.0, self._bias)) * self.manner.skew_s * SECOND)

    # --- what the owner does ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to call the platform; one that is not there yet is called again."""
        if self._task is None:
            self._task = asyncio.create_task(self._live())

    def post(
        self,
        observed_at_us: int,
        values: Mapping[str, float | str],
        flags: Mapping[str, str] | None = None,
        cn: str = wire.REAL_TIME,
    ) -> None:
        """Keeps one upload until it is answered; `values` by factor code; floats read back equal.

        `code-Info` and the like keep their kind; a bare code gets `-Rtd` (2011) or `-Avg` (aggregates).
        """
        if self.waiting >= self.manner.kept:
            oldest = next(iter(self._unanswered))
            del self._unanswered[oldest]
            self.given_up += 1
        at = wire.data_time(observed_at_us + self.skew_us, self.manner.offset_h)
        texts = {code: value if isinstance(value, str) else repr(value) for code, value in values.items()}
        kind = "Rtd" if cn == wire.REAL_TIME else "Avg"
        self.post_body(cn, f"DataTime={at};{wire.groups(texts, flags or {}, kind)}")

    def post_body(self, cn: str, body: str) -> None:
        """As `post`, with the text between the && already made."""
        qn = self._next_qn()
        self._unanswered[qn] = wire.frame(wire.segment(self._identity(), qn, cn, body))
        self._unwritten.append(qn)
        self.sent += 1
        self._work.set()

    async def send(
        self, observed_at_us: int, values: Mapping[str, float | str], flags: Mapping[str, str] | None = None
    ) -> None:
        """As `post`, but waits for room instead of giving up the oldest."""
        await self.room(self.manner.kept)
        self.post(observed_at_us, values, flags)

    async def room(self, most: int) -> None:
        """Returns when fewer than `most` uploads are unanswered."""
        self.start()
        while self.waiting >= most:
            self._answered.clear()
            await self._answered.wait()

    def go_offline(self) -> None:
        """Loses its network; what it is given meanwhile waits."""
        self._offline = True
        self._work.set()

    def come_back(self) -> None:
        """Has its network again and sends what waited, in order."""
        self._offline = False
        self._work.set()

    async def close(self, wait_s: float = 0.0) -> int:
        """Waits at most that long for answers, then ends the connection; returns how many uploads have none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.room(1)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return self.waiting

    # --- on the line ------------------------------------------------------------------------------------------------

    def _identity(self) -> wire.Identity:
        return wire.Identity(self.mn, self._password, self.manner.st)

    def _next_qn(self) -> str:
        """Its clock in milliseconds, never the same twice."""
        self._last_qn_ms = max((self._clock.now_us() + self.skew_us) // 1000, self._last_qn_ms + 1)
        return wire.local_time(self._last_qn_ms * 1000, self.manner.offset_h, milliseconds=True)

    async def _live(self) -> None:
        pause = self.manner.backoff_s
        while True:
            try:
                async with asyncio.timeout(self.manner.answer_s):
                    reader, writer = await asyncio.open_connection(*self._where)
            except (OSError, TimeoutError):
                await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
                pause = min(2 * pause, 30.0)
                continue
            taken = self.acknowledged
            try:
                await self._talk(reader, writer)
            finally:
                writer.close()
            pause = self.manner.backoff_s if self.acknowledged > taken else min(2 * pause, 30.0)
            await self._stay_away(pause)

    async def _stay_away(self, pause: float) -> None:
        self._written.clear()
        self._unwritten = deque(self._unanswered)
        await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
        while self._offline:
            self._work.clear()
            await self._work.wait()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the connection ends, an outage begins or the owner takes the network away."""
        outage_s = self._rng.expovariate(self.manner.outages_per_h / 3600) if self.manner.outages_per_h else None
        listening = asyncio.create_task(self._listen(reader))
        writing = asyncio.create_task(self._write(writer))
        try:
            done, _ = await asyncio.wait((listening, writing), timeout=outage_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, writing):
                task.cancel()
            ended = await asyncio.gather(listening, writing, return_exceptions=True)
        for one in ended:
            if isinstance(one, Exception) and not isinstance(one, OSError):
                raise one  # a bug, not a broken line
        if not done:
            await asyncio.sleep(self.manner.outage_s)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(65_536):
            answers, rest = wire.answers(rest + chunk)
            for one in answers:
                self._settle(one)
            self._answered.set()
            self._work.set()

    def _settle(self, answer: wire.Answer) -> None:
        turned_away = answer.cn == wire.TURNED_AWAY and answer.result != READY
        if not (turned_away or answer.cn == wire.DATA_TAKEN):
            return
        self._written.pop(answer.qn, None)
        if self._unanswered.pop(answer.qn, None) is None:
            return  # answered before: we had sent it twice
        if turned_away:
            self.refused += 1
            self.refusal = answer.result
        else:
            self.acknowledged += 1

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        spoken_at = loop.time()
        while not self._offline:
            self._work.clear()
            wrote = 0
            while self._unwritten and len(self._written) < self.manner.window and not writer.is_closing():
                wrote += self._write_one(writer, self._unwritten.popleft(), loop.time())
                if wrote % BURST == 0:
                    await writer.drain()
            await writer.drain()
            self._overdue(loop.time())
            spoken_at = loop.time() if wrote else spoken_at
            if self.manner.heartbeat_s and loop.time() - spoken_at >= self.manner.heartbeat_s:
                writer.write(wire.frame(wire.segment(self._identity(), self._next_qn(), wire.HEARTBEAT, "")))
                spoken_at = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self.manner.answer_s / 4, self.manner.heartbeat_s / 2 or 1.0)):
                    await self._work.wait()

    def _write_one(self, writer: asyncio.StreamWriter, qn: str, now: float) -> int:
        frame = self._unanswered.get(qn)
        if frame is None:
            return 0
        writer.write(frame)
        self._written[qn] = now
        return 1

    def _overdue(self, now: float) -> None:
        """What got no answer in time goes to the front of what is to be written, the same bytes again."""
        late = []
        for qn, at in self._written.items():
            if now - at < self.manner.answer_s:
                break
            late.append(qn)
        for qn in late:
            del self._written[qn]
        self.resent += len(late)
        self._unwritten.extendleft(reversed(late))
        if late:
            self._work.set()
