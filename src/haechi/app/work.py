"""A projection that knows how long it works, so that `haechi doctor` can say which one is slow and why."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from haechi.ports import Notice, Projection, Record


class Timed:
    """`ports.Projection` around another. Clocks give seconds; `cpu` that of the calling thread."""

    def __init__(
        self,
        projection: Projection,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._projection, self._clock, self._cpu = projection, clock, cpu
        self.name, self.subjects, self.after = projection.name, projection.subjects, projection.after
        self._busy_s = self._cpu_s = 0.0
        self._records = 0
        self._since: float | None = None

    def figures(self) -> dict[str, float]:
        """Since the start: `busy_s` at work, one under way included, `cpu_s` of it on a processor, `records`."""
        since = self._since
        under_way = 0.0 if since is None else self._clock() - since
        return {"busy_s": self._busy_s + under_way, "cpu_s": self._cpu_s, "records": float(self._records)}

    def position(self) -> int:
        return self._projection.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        with self._measured():
            notices = self._projection.apply(records, now)
        self._records += len(records)
        return notices

    def tick(self, now: datetime) -> Sequence[Notice]:
        with self._measured():
            return self._projection.tick(now)

    def close(self) -> None:
        self._projection.close()

    @contextmanager
    def _measured(self) -> Iterator[None]:
        begun, cpu = self._clock(), self._cpu()
        self._since = begun
        try:
            yield
        finally:
            self._since = None
            self._busy_s += self._clock() - begun
            self._cpu_s += self._cpu() - cpu
