"""Signal plans of a generated world: which approaches share a stage, how long each is green. Used by `worlds.traffic`.

Webster 1958 (Road Research Technical Paper 39): the flow ratio y of a stage is that of its fullest approach, green is
shared in proportion, and the best cycle is (1.5 L + 5) / (1 - Y). Offsets let a platoon arrive on green.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from haechi_testbed.worlds.roads import Link, Roads, bearing
from haechi_testbed.worlds.trips import SATURATION

LOST_S = 4.0  # of each stage: start-up and clearance, HCM 6th edition, 19
LEAST = 0.18  # share of the green no stage goes below: people cross the road
PLANS = {1: 120, 2: 140, 3: 140, 4: 90}  # day, morning peak, evening peak, night; seconds, one cycle for the whole city
HOURS = {1: 14, 2: 8, 3: 18, 4: 3}  # the hour of a working day a plan is made for


@dataclass(frozen=True, slots=True)
class Plans:
    """A signalised junction: links of each stage, and by plan the share of each stage and the offset in seconds."""

    junction: str
    stages: tuple[tuple[str, ...], ...]
    shares: Mapping[int, tuple[float, ...]]
    offsets: Mapping[int, int]


def stages(roads: Roads, junction: str) -> tuple[tuple[str, ...], ...]:
    """Approaches by axis: the split into two that is straightest; a single approach has a stage of its own."""
    arriving = sorted((one for one in roads.links.values() if one.end == junction), key=lambda one: one.id)
    axis = {one.id: _axis(one) for one in arriving}
    names = list(axis)
    splits = [set(chosen) for size in range(1, len(names) // 2 + 1) for chosen in combinations(names, size)]
    best = min(splits, key=lambda part: (_spread(part, axis) + _spread(set(names) - part, axis), sorted(part)))
    return tuple(sorted(best)), tuple(one for one in names if one not in best)


def _axis(link: Link) -> float:
    return bearing(link.path[-2], link.path[-1]) % 180.0


def _spread(part: set[str], axis: Mapping[str, float]) -> float:
    apart = [abs(axis[one] - axis[other]) for one, other in combinations(sorted(part), 2)]
    return sum(min(one, 180.0 - one) ** 2 for one in apart)


def ratios(parts: Sequence[Sequence[str]], flows: Mapping[str, float], lanes: Mapping[str, int]) -> list[float]:
    """Flow ratio of each stage."""
    return [max(flows.get(one, 0.0) / (lanes[one] * SATURATION) for one in part) for part in parts]


def fullness(
    parts: Sequence[Sequence[str]], flows: Mapping[str, float], lanes: Mapping[str, int], cycle: float
) -> float:
    """Degree of saturation of a junction: 1 is all it can take with that cycle."""
    return sum(ratios(parts, flows, lanes)) / (1.0 - len(parts) * LOST_S / cycle)


def plan(
    roads: Roads, junction: str, by_plan: Mapping[int, Mapping[str, float]], lanes: Mapping[str, int], speed: float
) -> Plans:
    """The plans of a junction for the flows each is made for; offsets follow a wave from the west at `speed`."""
    parts = stages(roads, junction)
    shares = {number: _shares(ratios(parts, flows, lanes)) for number, flows in by_plan.items()}
    way = roads.junctions[junction][0] - min(one[0] for one in roads.junctions.values())
    offsets = {number: round(way / speed) % PLANS[number] for number in by_plan}
    return Plans(junction, parts, shares, offsets)


def _shares(wanted: Sequence[float]) -> tuple[float, ...]:
    total = sum(wanted) or 1.0
    raised = [max(LEAST, one / total) for one in wanted]
    over = sum(raised)
    rounded = [math.floor(1000 * one / over) / 1000 for one in raised[:-1]]
    return (*rounded, round(1.0 - sum(rounded), 3))
