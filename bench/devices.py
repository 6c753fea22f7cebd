"""Row d: what one observation costs when the city has 1,000, 10,000, 100,000 and 1,000,000 sensors.

Every sensor is met first: what that costs, once for each, is said beside it. Then the same observations (100
connections, all sensors in turn) into the whole platform, durability "disk": first as fast as they are taken, a flood,
then at the rate of a million devices once a minute. CPU of all processes, and the flood's wall time until every
projection has applied it. Of few sensors a flood brings each many times in one batch, of which the live model writes
the last: the two say different things. What meeting all sensors left to do (merging history's files, summing its hours)
is done before. `python -m bench.devices 1000 100000` measures only these.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import _city, _mqtt, _running
from bench._steady import CONCENTRATORS, CONNECTIONS, WINDOW, Field, caught_up
from bench._table import Line, alone
from haechi.core.errors import Unavailable
from haechi.testing import platform as testing

SIZES = (1_000, 10_000, 100_000, 1_000_000)
WARM, COUNT = 20_000, 200_000
RATE = 17_000.0
MEETING = 200_000  # observations of one flood while sensors are met: what is on its way is bounded
START_S, APPLIED_S = 600.0, 600.0  # a million facilities take their time
IDLE_S = 0.25  # CPU a second of a platform that has nothing to do but tick …
IDLE_FOR = 23  # … for so many seconds: history commits what is twenty seconds old


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one observation, in a city of that many sensors."""

    sensors: int
    first_start_s: float
    start_s: float
    memory_mb: float
    met_us: float  # CPU for each sensor until it had been met
    wall_us: float
    parts: dict[str, float]  # CPU by process
    taken: float  # of RATE
    steady: dict[str, float]  # the same at that rate


def measure(sizes: Sequence[int] = SIZES) -> Iterator[Line]:
    found: list[Cost] = []
    for sensors in sizes:
        try:
            found.append(cost(sensors))
        except Unavailable as error:
            yield Line("d", f"{sensors:,} sensors: not measured", float("nan"), note=str(error), reached=False)
            continue
        yield from lines(found[-1])
    if len(found) == len(sizes) > 1:
        flat = {
            f"CPU at {RATE:,.0f}/s": [sum(one.steady.values()) for one in found],
            "CPU of a flood": [sum(one.parts.values()) for one in found],
            "wall of a flood": [one.wall_us for one in found],
        }
        for what, costs in flat.items():
            ratio = max(costs) / min(costs)
            yield Line("", f"  {what}: dearest against cheapest", ratio, "×", None, "≤ 1.5 ×", ratio <= 1.5)


def lines(one: Cost) -> Iterator[Line]:
    note = f"{_shares(one.steady)}; {one.taken:,.0f}/s were taken; once for each sensor {one.met_us:.0f} µs; "
    note += f"first start {one.first_start_s:.1f} s, restart {one.start_s:.1f} s, memory {one.memory_mb:,.0f} MB"
    what = f"CPU of one observation at {RATE:,.0f}/s, {one.sensors:,} sensors"
    yield Line("d", what, sum(one.steady.values()), "µs", note=note)
    note = f"{_shares(one.parts)}; wall {one.wall_us:.1f} µs"
    yield Line("", "  of a flood", sum(one.parts.values()), "µs", note=note)


def _shares(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {took:.1f}" for name, took in parts.items()) + " µs"


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
            settled(family)
            wall, parts = spent(family, lambda: flood(field, COUNT))
            settled(family)
            field.sent -= COUNT if sensors > COUNT else 0  # the same sensors: one heard twice costs less than another
            taken, steady = spent(family, lambda: field.send(RATE, COUNT, APPLIED_S))
            memory = sum(_running.memory_mb(pid) for pid in family)
    return Cost(sensors, first, start, memory, met, wall / COUNT * 1e6, parts, taken, steady)


def spent(family: Mapping[int, str], work: Callable[[], float]) -> tuple[float, dict[str, float]]:
    """What `work` returned, and the CPU of one of its COUNT observations by process, µs."""
    before = {pid: _running.cpu_s([pid]) for pid in family}
    answer = work()
    return answer, {name: (_running.cpu_s([pid]) - before[pid]) / COUNT * 1e6 for pid, name in family.items()}


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


def settled(family: Iterable[int]) -> None:
    """Returns when what was sent before has left nothing to do: merging history's files and summing its hours."""
    end, idle = time.monotonic() + APPLIED_S, 0
    while idle < IDLE_FOR:
        before = _running.cpu_s(family)
        time.sleep(1)
        idle = idle + 1 if _running.cpu_s(family) - before < IDLE_S else 0
        if time.monotonic() > end:
            raise Unavailable(f"still at work after {APPLIED_S:.0f} s; measure again on a quieter machine")


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
