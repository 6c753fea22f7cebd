"""Who drives where on a generated world's roads: trips by purpose, routes, the flow of every turn. For `traffic`.

A gravity model spreads trips between zones (one at each junction, one at each gate); an incremental assignment puts
them on the quickest ways, which get slower as they fill (BPR 1964). The outcome is vehicles an hour of each turn.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from haechi_testbed.twins.traffic import demand
from haechi_testbed.worlds.roads import Link, Roads
from haechi_testbed.worlds.streets import distance

PURPOSES = demand.PURPOSES
PARTS = 5  # of the increments
REACH_S = 420.0  # mean length of a trip
SATURATION = 1900.0  # vehicles an hour and lane, HCM 6th edition, 19: base saturation flow
GREEN = 0.42  # share of the time a lane may move at a signal, for the assignment
Turn = tuple[str, str]  # from link or zone to link or zone
Speeds = Callable[[Link], float]  # metres a second of a link when it is empty


@dataclass(frozen=True, slots=True)
class Zone:
    """What lies at a junction: people who live there, jobs and shops, and (at a gate) the world outside."""

    residents: float
    jobs: float
    outside: float = 0.0


@dataclass(slots=True)
class Flows:
    """Vehicles an hour: by purpose and turn. A zone's own end of a turn is written `@<junction>`."""

    turns: dict[str, dict[Turn, float]] = field(default_factory=dict)

    def times(self, factor: float) -> Flows:
        """The same ways, busier."""
        return Flows({one: {turn: flow * factor for turn, flow in turns.items()} for one, turns in self.turns.items()})

    def link(self, weights: Mapping[str, float]) -> dict[str, float]:
        """What enters each link while each purpose has that share of its peak."""
        found: dict[str, float] = defaultdict(float)
        for purpose, turns in self.turns.items():
            for (_, into), flow in turns.items():
                found[into] += weights[purpose] * flow
        return dict(found)


def trips(roads: Roads, zones: Mapping[str, Zone], total: float) -> dict[str, dict[tuple[str, str], float]]:
    """Trips in the peak hour of each purpose from zone to zone; `total` vehicles an hour each."""
    shapes: Mapping[str, tuple[Callable[[Zone], float], Callable[[Zone], float]]] = {
        "out": (lambda one: one.residents + 0.5 * one.outside, lambda one: one.jobs + one.outside),
        "home": (lambda one: one.jobs + one.outside, lambda one: one.residents + 0.5 * one.outside),
        "other": (
            lambda one: 0.5 * (one.residents + one.jobs) + 0.7 * one.outside,
            lambda one: 0.5 * (one.residents + one.jobs) + 0.7 * one.outside,
        ),
    }
    found: dict[str, dict[tuple[str, str], float]] = {}
    for purpose, (leave, arrive) in shapes.items():
        weights: dict[tuple[str, str], float] = {}
        for start, one in zones.items():
            for end, other in zones.items():
                if start != end:
                    far_s = distance(roads.junctions[start], roads.junctions[end]) / 10.0
                    near = 1.0 if one.outside or other.outside else math.exp(-far_s / REACH_S)
                    weights[start, end] = leave(one) * arrive(other) * near
        scale = total / sum(weights.values())
        found[purpose] = {pair: weight * scale for pair, weight in weights.items()}
    return found


def assign(
    roads: Roads, wanted: Mapping[str, Mapping[tuple[str, str], float]], lanes: Mapping[str, int], speeds: Speeds
) -> Flows:
    """Puts the trips of each purpose on the quickest ways, a fifth at a time."""
    flows = Flows()
    for purpose, pairs in wanted.items():
        loads: dict[str, float] = dict.fromkeys(roads.links, 0.0)
        turns: dict[Turn, float] = defaultdict(float)
        for _ in range(PARTS):
            costs = {name: _seconds(one, loads[name], lanes[name], speeds(one)) for name, one in roads.links.items()}
            trees = {start: _tree(roads, costs, start) for start in sorted({pair[0] for pair in pairs})}
            for (start, end), flow in sorted(pairs.items()):
                _load(trees[start], (start, end), flow / PARTS, loads, turns)
        flows.turns[purpose] = dict(turns)
    return flows


def _seconds(link: Link, load: float, lanes: int, speed: float) -> float:
    fullness = load / (lanes * SATURATION * GREEN)
    return (link.length / speed + 12.0) * (1.0 + 0.15 * fullness**4)  # 12 s at a signal, BPR's curve


Tree = Mapping[str, Link]


def _tree(roads: Roads, costs: Mapping[str, float], start: str) -> Tree:
    """The last link of the quickest way to every junction."""
    leaving: dict[str, list[Link]] = defaultdict(list)
    for link in roads.links.values():
        leaving[link.start].append(link)
    best, last, queue = {start: 0.0}, dict[str, Link](), [(0.0, start)]
    while queue:
        spent, junction = heapq.heappop(queue)
        if spent > best[junction] or (junction in roads.gates and junction != start):
            continue
        for link in leaving[junction]:
            total = spent + costs[link.id]
            if total < best.get(link.end, math.inf):
                best[link.end], last[link.end] = total, link
                heapq.heappush(queue, (total, link.end))
    return last


def _load(tree: Tree, pair: tuple[str, str], flow: float, loads: dict[str, float], turns: dict[Turn, float]) -> None:
    start, at = pair
    into = f"@{at}"
    while at != start:
        link = tree[at]
        loads[link.id] += flow
        turns[link.id, into] += flow
        at, into = link.start, link.id
    turns[f"@{start}", into] += flow
