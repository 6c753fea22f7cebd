"""How fast intake gets rid of what it is given, so that `haechi doctor` can say who is slow. Used by `GroupIntake`."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KEPT = 400  # appends looked back at for their times


class Pace:
    """Counters that only rise, and the times of the last appends. `now` is any rising clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stored = self._appends = 0
        self._slowed_s = self._append_s = 0.0
        self._slow_since: float | None = None
        self._last: deque[float] = deque(maxlen=KEPT)
        self._begun: dict[int, float] = {}  # appends under way: as many as commits

    def slows(self) -> None:
        """Callers wait for room from here on, if they did not already."""
        if self._slow_since is None:
            self._slow_since = self._now()

    def flows(self) -> None:
        """Nobody waits any more."""
        if self._slow_since is not None:
            self._slowed_s += self._now() - self._slow_since
            self._slow_since = None

    def stored(self, messages: int) -> None:
        """So many messages are on the log."""
        self._stored += messages

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Around one append; it counts also when it fails: a log that does not answer is the slowest of all."""
        self._appends += 1
        number, begun = self._appends, self._now()
        self._begun[number] = begun
        try:
            yield
        finally:
            del self._begun[number]
            self._last.append(self._now() - begun)
            self._append_s += self._last[-1]

    def measured(self) -> dict[str, float]:
        """`messages_total` on the log, `appends_total` ended and `append_s_total` they took, `slowed_s` with callers
        waiting, `append_s_p50` and `append_s_p99` of the last appends, `append_s_now` of the oldest one under way."""
        now, last = self._now(), sorted(self._last)
        slowed_s = self._slowed_s + (0.0 if self._slow_since is None else now - self._slow_since)
        return {
            "messages_total": float(self._stored),
            "appends_total": float(self._appends - len(self._begun)),
            "append_s_total": self._append_s,
            "slowed_s": slowed_s,
            "append_s_p50": _quantile(last, 0.5),
            "append_s_p99": _quantile(last, 0.99),
            "append_s_now": max((now - begun for begun in self._begun.values()), default=0.0),
        }


def _quantile(rising: list[float], share: float) -> float:
    return rising[min(len(rising) - 1, int(len(rising) * share))] if rising else 0.0
