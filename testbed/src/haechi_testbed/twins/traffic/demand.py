"""When people drive: shares of each purpose's peak by hour and kind of day, and a slow walk. For twin and worlds.

The shapes follow the usual double peak of working days and the single broad one of days off (e.g. FHWA, Traffic
Monitoring Guide 2022, 3.2; METR-LA's and Korean urban counts show the same hours).
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from haechi_testbed.clock import SECOND

Floats = NDArray[np.float64]
PURPOSES = ("out", "home", "other")  # to work in the morning, back in the evening, all the rest
# Share of the peak at the full hour, 0 to 23.
WORKDAY: Mapping[str, tuple[float, ...]] = {
    "out": (
        .03, .02, .02, .03, .08, .26, .68, .98, 1.0, .58, .33, .26,
        .24, .23, .21, .19, .18, .17, .15, .12, .10, .08, .06, .04,
    ),
    "home": (
        .12, .06, .04, .03, .03, .04, .07, .10, .13, .15, .19, .25,
        .30, .31, .33, .40, .58, .85, 1.0, .88, .62, .46, .36, .24,
    ),
    "other": (
        .11, .06, .05, .05, .08, .15, .28, .44, .52, .56, .60, .66,
        .70, .70, .70, .72, .74, .74, .68, .62, .54, .46, .34, .20,
    ),
}  # fmt: skip
DAY_OFF: Mapping[str, tuple[float, ...]] = {
    "out": (
        .05, .03, .02, .02, .04, .08, .14, .20, .26, .30, .30, .28,
        .26, .25, .24, .22, .20, .18, .15, .12, .10, .08, .07, .06,
    ),
    "home": (
        .16, .10, .06, .04, .03, .03, .04, .06, .08, .12, .16, .20,
        .24, .28, .32, .38, .44, .48, .48, .44, .38, .32, .26, .20,
    ),
    "other": (
        .18, .12, .08, .06, .07, .10, .16, .24, .36, .50, .64, .74,
        .80, .84, .86, .88, .88, .84, .76, .68, .58, .48, .38, .26,
    ),
}  # fmt: skip
DAY_S = 86_400.0


def is_day_off(day: int) -> bool:
    """Whether the day with this number since 1970-01-01 (a Thursday) is a Saturday or Sunday."""
    return (day + 3) % 7 >= 5


def weights(local_s: float) -> dict[str, float]:
    """Share of its peak of each purpose at a local instant (seconds since 1970), straight between the full hours."""
    hour = local_s / 3600.0
    share = hour - math.floor(hour)

    def at(purpose: str, number: int) -> float:
        course = DAY_OFF if is_day_off(number // 24) else WORKDAY
        return course[purpose][number % 24]

    first = math.floor(hour)
    return {one: at(one, first) * (1 - share) + at(one, first + 1) * share for one in PURPOSES}


def local_s(at_us: int, offset_h: float) -> float:
    """Seconds since 1970 on the local clock."""
    return at_us / SECOND + offset_h * 3600.0


class Walk:
    """Ornstein-Uhlenbeck factors around 1: how much busier than usual the city and each origin is."""

    def __init__(self, size: int, spread: tuple[float, float], memory_s: float, rng: np.random.Generator) -> None:
        """`spread`: of the whole city and of each origin; begins anywhere it could be."""
        self._spread, self._memory_s, self._rng = spread, memory_s, rng
        self._value: Floats = rng.standard_normal(size + 1)

    def step(self, dt_s: float) -> None:
        """Exact for any length of step."""
        keep = math.exp(-dt_s / self._memory_s)
        self._value = keep * self._value + math.sqrt(1 - keep * keep) * self._rng.standard_normal(self._value.size)

    def factors(self) -> Floats:
        """Of each origin; never below a fifth."""
        return np.asarray(np.maximum(0.2, 1.0 + self._spread[0] * self._value[0] + self._spread[1] * self._value[1:]))
