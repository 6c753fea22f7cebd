"""Row d: what one observation costs when the city has 1,000, 10,000, 100,000 and 1,000,000 sensors.

Every sensor is met first: what that costs, once for each, is said beside it. Then the same flood (100 connections, all
sensors in turn) into the whole platform, durability "disk"; CPU of all processes, and wall time until every projection
has applied it. `python -m bench.devices 1000 100000` measures only these.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench import _city, _mqtt, _running
from bench._steady import CONCENTRATORS, CONNECTIONS, WINDOW, Field, caught_up
from bench._table import Line, alone
from haechi.core.errors import Unavailable
from haechi.testing import platform as testing

SIZES = (1_000, 10_000, 100_000, 1_000_000)
WARM, COUNT = 20_000, 200_000
MEETING = 200_000  # observations of one flood while sensors are met: what is on its way is bounded
START_S, APPLIED_S = 600.0, 600.0  # a million facilities take their time


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one observation, in a city of that many sensors."""

    sensors: int
    first_start_s: float
    start_s: float
    memory_mb: float
    met_us: float  # CPU for each sensor until it had been met
    cpu_us: float
    wall_us: float
    parts: dict[str, float]  # CPU by process


def measure(sizes: Sequence[int] = SIZES) -> Iterator[Line]:
    found: list[Cost] = []
    for sensors in sizes:
        try:
            found.append(cost(sensors))
        except Unavailable as error:
            yield Line("d", f"{sensors:,} sensors: not measured", float("nan"), note=str(error), reached=False)
            continue
        yield line(found[-1])
    if len(found) == len(sizes) > 1:
        for what, costs in (("CPU", [one.cpu_us for one in found]), ("wall", [one.wall_us for one in found])):
            ratio = max(costs) / min(costs)
            yield Line("", f"  {what}: dearest against cheapest", ratio, "×", None, "≤ 1.5 ×", ratio <= 1.5)


def line(one: Cost) -> Line:
    parts = ", ".join(f"{name} {spent:.1f}" for name, spent in one.parts.items())
    note = f"{parts} µs; wall {one.wall_us:.1f} µs; once for each sensor {one.met_us:.0f} µs; "
    note += f"first start {one.first_start_s:.1f} s, restart {one.start_s:.1f} s, memory {one.memory_mb:,.0f} MB"
    return Line("d", f"CPU of one observation, {one.sensors:,} sensors", one.cpu_us, "µs", note=note)


def cost(sensors: int) -> Cost:
    testing.START_S = START_S
    with _running.scratch() as folder:
        city = _city.make(folder / "city", sensors, CONCENTRATORS)
        began = time.perf_counter()
        with testing.Platform(city, folder / "data") as platform:
            first = time.perf_counter() - began
            platform.stop()
            began = time.perf_counter()
            platform.start()
            start = time.perf_counter() - began
            field = Field(platform, sensors)
            family = _running.family(platform.pid)
            met = meet(field, family)
            before = {pid: _running.cpu_s([pid]) for pid in family}
            wall = flood(field, COUNT)
            parts = {name: (_running.cpu_s([pid]) - before[pid]) / COUNT * 1e6 for pid, name in family.items()}
            memory = sum(_running.memory_mb(pid) for pid in family)
    return Cost(sensors, first, start, memory, met, sum(parts.values()), wall / COUNT * 1e6, parts)


def meet(field: Field, family: Iterable[int]) -> float:
    """Lets all sensors be heard once, and those that will be measured once more: a second observation settles what a
    first one began. CPU of all processes for each sensor, µs."""
    before, again = _running.cpu_s(family), min(field.sensors, COUNT)
    left = max(WARM, field.sensors + again)
    while left > 0:
        flood(field, min(left, MEETING))
        left -= MEETING
    field.sent -= again if field.sensors > COUNT else 0
    return (_running.cpu_s(family) - before) / field.sensors * 1e6


def flood(field: Field, count: int) -> float:
    """Seconds until every projection had applied that many observations."""
    scripts = field.scripts(count, count / 20_000, field.sent)
    field.sent += count
    began = time.perf_counter()
    _mqtt.flood(field.platform.ports["mqtt"], scripts, WINDOW // CONNECTIONS * 30)
    caught_up(field.platform, APPLIED_S)
    return time.perf_counter() - began


if __name__ == "__main__":
    alone(lambda: measure([int(one) for one in sys.argv[1:]] or SIZES))
