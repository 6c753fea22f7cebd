"""Looks for reference cycles that hold nobody up. Set by each process of ours; batches that make much are wrapped.

Python walks every container that it has not walked three times, and all threads wait: 11 to 19 s in the pipeline of a
city of a million sensors, in which no alarm is raised. What a process of ours holds that long is its city, which has no
cycles to find. So whatever has survived a long look is not looked at again (`gc.freeze`; it still goes when nothing
refers to it), and what a large batch left is not looked at even once. Cycles that happen to be among it stay for good:
they are few, because in a city that does not grow no look is long (docs/decisions/021-…).
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

EACH = 50_000  # containers made and not freed between two looks
LONG_S = 0.1  # a look that takes longer is not taken twice
MUCH = 200_000  # containers that a batch left: walking them takes some 0.2 s


class Looks:
    """What `gc.callbacks` calls before and after each look."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, 0.0

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock()
        elif self._clock() - self._began > LONG_S:
            gc.freeze()


def calm() -> None:
    """For a process that is ready: what it holds now is never looked at again, the rest seldom and never for long. (At
    full rate tens of thousands of messages wait for the log; walking them each seven hundred took half the time.)"""
    gc.collect()
    gc.freeze()
    gc.collect()  # from now on Python measures growth against what is left to look at, not against what is frozen
    gc.set_threshold(EACH, 20, 20)
    if not any(isinstance(one, Looks) for one in gc.callbacks):
        gc.callbacks.append(Looks())


@contextmanager
def unwatched() -> Iterator[None]:
    """No look meanwhile, and none at much that is left: a batch is thousands of trees, walking them over and over took
    half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MUCH:
            gc.freeze()
        if was_on:
            gc.enable()
