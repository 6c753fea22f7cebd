"""Is the platform itself well? Looked at once a second by the api (`GET /health`) and the pipeline (its own alarms)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from haechi.app.vitals import Heard
from haechi.core.errors import Unavailable

EXPECTED = ("context", "watch", "incidents", "account", "history", "commands")
FAR_BEHIND = 1_000  # messages
LATE_S = 30.0
LOW_DISK = 2 * 1024**3
SILENT_S = 10.0
LOOK_S = 1.0
AUDIT_LOOKS = 10  # the account is read every so many looks
FULL_LOG = 0.8  # of what it may hold: half is usual, the rest is room for a slow consumer
ENDS_SOON_S = 14 * 86_400.0
STUCK_S = 900.0  # an upkeep step that takes or fails for so long
JUMP_S = 5.0
JUMP_TOLD_S = 600.0


async def _nothing() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a look looks: all cheap but `missing`, which is called in a worker thread."""

    last_seq: Callable[[], Awaitable[int]]  # `Unavailable` when the log does not answer
    applied: Callable[[], Mapping[str, int]]  # seq each projection has come to
    heard: Heard
    disk_free: Callable[[], int]  # bytes where the platform writes
    missing: Callable[[], int]  # samples received and not accounted for
    monotonic: Callable[[], float]  # seconds
    unreadable: Callable[[], int] = lambda: 0  # messages of the log kept as files because nobody can read them
    log_fill: Callable[[], Awaitable[float]] = _nothing  # share of what the log may hold, 0-1
    certificates: Callable[[], Mapping[str, int | None]] = dict  # link -> end in µs; called in a worker thread
    wall: Callable[[], float] = lambda: 0.0  # seconds of the machine's clock
    roles: tuple[str, ...] = ("gateway", "pipeline")  # whose silence counts


class Health:
    """Down: nothing can be stored. Degraded: something is named in `problems`, by check: what it is and what to do."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._near: dict[str, float] = {}  # when each projection was last within FAR_BEHIND
        self._moved: dict[str, tuple[int, float]] = {}  # where each stood, and since when
        self._looks = 0
        self._audits = (0, 0)  # missing samples in the last two audits
        self._fill = 0.0
        self._ends: Mapping[str, int | None] = {}
        self._clocks: tuple[float, float] | None = None  # wall and monotonic at the last look
        self._jump = (0.0, 0.0)  # seconds, and when
        self.behind: Mapping[str, int] = {}

    async def keep(self) -> None:
        """Looks for ever: how long something has been wrong must not depend on who asks."""
        while True:
            try:
                await self.audit()
                await self.look()
            except Unavailable:
                self._near.clear()  # nobody is late with a log that does not answer; `__call__` says that it is down
                self._moved.clear()
            await asyncio.sleep(LOOK_S)

    async def audit(self) -> None:
        """Reads the account every so many calls."""
        self._looks += 1
        if self._looks % AUDIT_LOOKS == 1:
            # Between two commits of the account a reader may see one half: only what stays is missing.
            self._audits = (self._audits[1], await asyncio.to_thread(self._sources.missing))
            self._fill = await self._sources.log_fill()
            self._ends = await asyncio.to_thread(self._sources.certificates)

    async def look(self) -> int:
        """Asks the log how far it is and notes how far behind each projection is; `Unavailable`."""
        self._look_at_clock()
        last = await self._sources.last_seq()
        applied = self._sources.applied()
        now = self._sources.monotonic()
        self.behind = {name: max(0, last - applied.get(name, 0)) for name in EXPECTED}
        for name, count in self.behind.items():
            seq = applied.get(name, 0)
            if count <= FAR_BEHIND or name not in self._near:
                self._near[name] = now
            if count == 0 or name not in self._moved or self._moved[name][0] != seq:
                self._moved[name] = (seq, now)
        return last

    def _look_at_clock(self) -> None:
        wall, now = self._sources.wall(), self._sources.monotonic()
        if self._clocks is not None:
            jump = (wall - self._clocks[0]) - (now - self._clocks[1])
            if abs(jump) > JUMP_S:
                self._jump = (jump, now)
        self._clocks = (wall, now)

    async def __call__(self) -> Mapping[str, Any]:
        try:
            last = await self.look()
        except Unavailable as error:
            return {"status": "down", "checks": {"log": str(error)}}
        problems = self.problems()
        checks = {"log": last, "behind": self.behind, "problems": problems}
        return {"status": "degraded" if problems else "ok", "checks": checks}

    def problems(self) -> dict[str, str]:
        """What is wrong now, by check: `lag`, `disk`, `account`, `log`, and a role that is silent."""
        return {name: text for name, text in self._found().items() if text}

    def checks(self) -> tuple[str, ...]:
        """The names `problems` may hold."""
        return tuple(self._found())

    def _found(self) -> dict[str, str]:
        found = {"lag": self._lag(), "disk": self._disk(), "account": self._account(), "log": self._unreadable()}
        found |= {"log_fill": self._full(), "upkeep": self._stuck(), "certificate": self._ending()}
        found["clock"] = self._jumped()
        return found | {role: self._silence(role) for role in self._sources.roles}

    def late_s(self) -> dict[str, float]:
        """Seconds each projection has been more than `FAR_BEHIND` messages behind, or has stood still with work
        left."""
        now = self._sources.monotonic()
        return {name: now - min(near, self._moved[name][1]) for name, near in self._near.items()}

    def missing(self) -> int:
        """Samples missing in two audits in a row."""
        return min(self._audits)

    def disk_free(self) -> int:
        """Bytes free where the platform writes."""
        return self._sources.disk_free()

    def silent_s(self, role: str) -> float:
        """Seconds since the role last said how it is."""
        return self._sources.heard.silent_s(role)

    def log_fill(self) -> float:
        """Share of what the log may hold."""
        return self._fill

    def certificate_s(self) -> float | None:
        """Seconds until the first certificate ends, 0 for one that cannot be read; None without any."""
        left = [0.0 if at is None else at / 1e6 - self._sources.wall() for at in self._ends.values()]
        return min(left, default=None)

    def upkeep_stuck_s(self) -> float:
        """Seconds that history's upkeep has been at one step, or has failed."""
        said = self._sources.heard.said().get("pipeline", {}).get("upkeep", {})
        return float(max(said.get("running_s", 0.0), said.get("failing_s", 0.0)))

    def clock_jump_s(self) -> float:
        """How far the machine's clock jumped within the last ten minutes, forwards or (below 0) back."""
        jump, at = self._jump
        return jump if jump and self._sources.monotonic() - at < JUMP_TOLD_S else 0.0

    def _full(self) -> str:
        move = "see which projection is late; `--log-gib` makes more room"
        return f"the log is {self._fill:.0%} full and refuses appends at 100%: {move}" if self._fill > FULL_LOG else ""

    def _stuck(self) -> str:
        stuck_s = self.upkeep_stuck_s()
        text = f"the upkeep of history has not come on for {stuck_s:.0f} s; read the pipeline's messages"
        return text if stuck_s > STUCK_S else ""

    def _ending(self) -> str:
        now = self._sources.wall()
        near = {link: at for link, at in self._ends.items() if at is None or at / 1e6 - now < ENDS_SOON_S}
        told = [
            f"{link} {'not readable' if at is None else f'{(at / 1e6 - now) / 86_400:.0f} days'}"
            for link, at in near.items()
        ]
        return f"certificates end: {', '.join(told)}; put new files in their place and start again" if near else ""

    def _jumped(self) -> str:
        jump = self.clock_jump_s()
        move = "check NTP; what was received meanwhile carries that time"
        return f"the machine's clock jumped by {jump:+.0f} s: {move}" if jump else ""

    def _lag(self) -> str:
        late = [f"{name} {self.behind[name]:,}" for name, seconds in self.late_s().items() if seconds > LATE_S]
        return f"messages behind for over {LATE_S:.0f} s: {', '.join(late)}; see `haechi doctor`" if late else ""

    def _disk(self) -> str:
        free = self.disk_free()
        return f"{free / 1024**3:.1f} GiB free: make room before the log refuses appends" if free < LOW_DISK else ""

    def _account(self) -> str:
        count = self.missing()
        return f"{count:,} samples not accounted for; see `haechi account`, keep the log" if count else ""

    def _unreadable(self) -> str:
        count = self._sources.unreadable()
        return f"{count:,} messages of the log could not be read; see DATA/unreadable, report them" if count else ""

    def _silence(self, role: str) -> str:
        silent_s = self.silent_s(role)
        text = f"the {role} has said nothing for {silent_s:.0f} s; read its messages"
        return text if silent_s > SILENT_S else ""
