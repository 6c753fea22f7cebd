"""What `GET /health` says: whether the log answers and how far each projection is behind it."""

from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.errors import Unavailable
from haechi.ports import Log
from haechi.services.stream.progress import Progress

EXPECTED = ("context", "watch", "incidents", "account", "history", "commands")
FAR_BEHIND = 1_000  # messages
STALE_S = 30.0


class Health:
    """Asks the log; `monotonic` gives seconds. Down: nothing can be stored. Degraded: stored, but not applied in
    time."""

    def __init__(self, log: Log, progress: Progress, monotonic: Callable[[], float]) -> None:
        self._log, self._progress, self._monotonic = log, progress, monotonic
        self._caught_up: dict[str, float] = {}

    async def __call__(self) -> Mapping[str, Any]:
        try:
            last = await self._log.last_seq()
        except Unavailable as error:
            return {"status": "down", "checks": {"log": str(error)}}
        behind = await self.behind(last)
        late = sorted(name for name, count in behind.items() if self._is_late(name, count))
        checks = {"log": last, "behind": behind}
        return {"status": "degraded" if late else "ok", "checks": {**checks, **({"late": late} if late else {})}}

    async def behind(self, last: int | None = None) -> dict[str, int]:
        """Messages on the log that each projection has not applied."""
        newest = await self._log.last_seq() if last is None else last
        applied = self._progress.applied()
        return {name: max(0, newest - applied.get(name, 0)) for name in EXPECTED}

    def _is_late(self, name: str, count: int) -> bool:
        now = self._monotonic()
        if count == 0 or name not in self._caught_up:
            self._caught_up[name] = now
        return count > FAR_BEHIND or now - self._caught_up[name] > STALE_S
