"""When history's files were last looked after, how long it took, and whether it gets stuck. Kept by the writer."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from haechi.core.times import to_us


class Upkeep:
    """Written by the projection's thread, read by others. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: float | None = None
        self._failing: float | None = None  # since when
        self._last: tuple[int, float] | None = None  # when (µs), and how many seconds it took

    @contextlib.contextmanager
    def step(self, now: datetime) -> Iterator[list[bool]]:
        """Around one step; the block appends whether there was anything to do. What it raises counts as failed."""
        began = self._began = self._monotonic()
        done: list[bool] = []
        try:
            yield done
        except BaseException:
            self._failing = began if self._failing is None else self._failing
            raise
        finally:
            self._began = None
        self._failing = None
        if done[0]:
            self._last = (to_us(now), self._monotonic() - began)

    def told(self) -> Mapping[str, float | int | None]:
        """See `HistoryWriter.upkeep`."""
        now, began, failing = self._monotonic(), self._began, self._failing
        at, took_s = self._last or (None, 0.0)
        return {
            "at": at,
            "took_s": took_s,
            "running_s": 0.0 if began is None else now - began,
            "failing_s": 0.0 if failing is None else now - failing,
        }
