"""Lays an electric distribution network over a street grid: feeders, transformers, low-voltage lines to customers.

Used by `worlds.power`; every transformer and line is sized for the coldest and the hottest day of the year.
"""

import heapq
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from haechi_testbed.twins.power import profiles
from haechi_testbed.twins.power.config import Line, Load, Station
from haechi_testbed.worlds.network import Meter
from haechi_testbed.worlds.streets import Node, Point, Streets, distance

SIZES_KVA = (100, 150, 200, 300, 500, 750, 1000)
LOADED = 0.72  # of its rating a transformer is at the worst hour
DROP_V, AMPS = 5.0, 230.0  # worst drop along a low-voltage line; what one circuit of it may carry
LV_OHM_KM = (0.164, 0.085)  # 200 mm2 aluminium, a circuit
BRANCH_MOST = 6  # transformers behind a line of the thinner conductor
COLDEST_C, HOTTEST_C = -15.0, 36.0
MEAN_KW = {"res": 0.78, "com": 1.85, "pub": 2.8}  # per cubic metre of water a day: a building's trade is as big
WATER_M3_DAY = 86.4
LIGHT_KW = 2.4
LINE_SHIFT = 3.0  # metres between the lines of two feeders in one street


@dataclass(frozen=True, slots=True)
class Conductor:
    """A bare overhead conductor: ohms a kilometre and what it carries."""

    name: str
    r_km: float
    x_km: float
    amps: float


TRUNK, BRANCH = Conductor("ACSR-OC 160", 0.182, 0.391, 395.0), Conductor("ACSR-OC 95", 0.301, 0.415, 290.0)


@dataclass(frozen=True, slots=True)
class Site:
    """A distribution transformer as it is placed."""

    station: Station
    area: int
    node: Node
    at: Point


@dataclass(frozen=True, slots=True)
class Segment:
    """A medium-voltage line with its way."""

    line: Line
    path: tuple[Point, ...]
    length_m: float
    conductor: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A load with its place; street lights have none of their own."""

    load: Load
    at: Point
    area: int
    contract_kw: float


@dataclass(slots=True)
class PowerNet:
    """The whole network. `ends`: the farthest medium-voltage node of each feeder."""

    sites: list[Site] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    low: list[Line] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    lights: list[Load] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world decides."""

    substation: Point
    feeders: Mapping[str, tuple[int, ...]]  # areas of each
    bars: Mapping[str, str]  # the bar each starts at
    per_area: int  # transformers
    metered: int  # smart meters at each transformer, at most


def build(
    streets: Streets, plan: Plan, meters: Sequence[Meter], places: Mapping[str, Node], rng: random.Random
) -> PowerNet:
    """The network of a plan. `meters`: the buildings, as water knows them; `places`: the crossing of each junction."""
    net = PowerNet()
    start = streets.nearest(plan.substation)
    tree = _tree(streets, start)
    for feeder, areas in plan.feeders.items():
        for area in areas:
            _area(net, streets, feeder, area, (plan, meters, places, rng))
        _medium(net, streets, feeder, (plan.bars[feeder], plan.substation, start), tree)
    return net


def _tree(streets: Streets, start: Node) -> dict[Node, Node]:
    """The crossing before each on the shortest way from the start."""
    neighbours = streets.neighbours()
    best, before, queue = {start: 0.0}, dict[Node, Node](), [(0.0, start)]
    while queue:
        spent, node = heapq.heappop(queue)
        if spent > best[node]:
            continue
        for other in neighbours[node]:
            total = spent + distance(streets.at[node], streets.at[other])
            if total < best.get(other, math.inf):
                best[other], before[other] = total, node
                heapq.heappush(queue, (total, other))
    return before


# --- transformers and low voltage ------------------------------------------------------------------------------------

Given = tuple[Plan, Sequence[Meter], Mapping[str, Node], random.Random]


def _area(net: PowerNet, streets: Streets, feeder: str, area: int, given: Given) -> None:
    plan, meters, places, rng = given
    mine = [one for one in meters if streets.block[places[one.junction]] == area]
    at = {place: streets.at[place] for place in sorted({places[one.junction] for one in mine})}
    chosen = _spread(at, plan.per_area)
    near = {place: min(chosen, key=lambda one: (distance(at[one], at[place]), one)) for place in at}
    for slot, place in enumerate(chosen):
        name = f"TR-{len(net.sites) + 1:03d}"
        here = [one for one in mine if near[places[one.junction]] == place]
        loads = _loads(net, name, here, places, (area, plan.metered, rng))
        peak = _peak_kw(loads) + LIGHT_KW
        kva = next((size for size in SIZES_KVA if LOADED * size >= peak / 0.94), SIZES_KVA[-1])
        station = Station(name, feeder, _mv(feeder, place), f"{name}-board", kva, f"FRTU-{area + 1:02d}", slot)
        net.sites.append(Site(station, area, place, (streets.at[place][0] + 9.0, streets.at[place][1] + 6.0)))
        net.lights.append(Load(f"{name}-light", station.lv_node, name, "light", LIGHT_KW, 0.0, "", "", 0.0, 0.0))
        _low(net, streets, station, place, loads)


def _spread(at: Mapping[Node, Point], count: int) -> list[Node]:
    """That many crossings, each as far as possible from those before, beginning in the middle."""
    middle = (sum(one[0] for one in at.values()) / len(at), sum(one[1] for one in at.values()) / len(at))
    chosen = [min(at, key=lambda one: (distance(at[one], middle), one))]
    while len(chosen) < count:
        chosen.append(max(at, key=lambda one: (min(distance(at[one], at[other]) for other in chosen), one)))
    return chosen


def _loads(
    net: PowerNet,
    station: str,
    meters: Iterable[Meter],
    places: Mapping[str, Node],
    given: tuple[int, int, random.Random],
) -> list[tuple[Load, Node]]:
    area, metered, rng = given
    members = list(meters)
    smart = {one.id for one in rng.sample(members, min(metered, len(members)))}
    found = []
    for one in members:
        kw = round(MEAN_KW[one.category] * one.demand * WATER_M3_DAY, 3)
        pv_kw = round(kw * rng.uniform(0.8, 2.2), 1) if rng.random() < 0.07 else 0.0
        days = rng.uniform(200, 1500)
        meter = f"EM-{one.id.removeprefix('WM-')}" if one.id in smart else ""
        node = f"{station}-{places[one.junction][0]}-{places[one.junction][1]}"
        counted = round(24 * kw * days, 1), round(2.6 * pv_kw * days, 1)
        load = Load(one.id.replace("WM", "EL"), node, station, one.category, kw, pv_kw, meter, "", *counted)
        if meter:
            load = Load(*_words(load), kw, pv_kw, meter, f"DCU-{area + 1:02d}", *counted)
        peak = kw * _worst(one.category) * 1.6
        net.customers.append(Customer(load, one.at, area, float(math.ceil(peak / 5) * 5)))
        found.append((load, places[one.junction]))
    return found


def _words(load: Load) -> tuple[str, str, str, str]:
    return load.id, load.node, load.station, load.category


def _worst(category: str) -> float:
    """Highest hourly draw of a kind of customer over its mean, in any weather."""
    return max(
        profiles.factor(category, day * profiles.DAY_S + hour * 3600.0, weather)
        for day in (0, 2)
        for hour in range(24)
        for weather in (COLDEST_C, HOTTEST_C)
    )


def _peak_kw(loads: Iterable[tuple[Load, Node]]) -> float:
    """Highest sum over a weekday and a Saturday, cold and hot."""
    mean: dict[str, float] = {}
    for load, _ in loads:
        mean[load.category] = mean.get(load.category, 0.0) + load.kw
    return max(
        sum(
            kw * profiles.factor(name, day * profiles.DAY_S + hour * 3600.0, weather)
            for name, kw in sorted(mean.items())
        )
        for day in (0, 2)
        for hour in range(24)
        for weather in (COLDEST_C, HOTTEST_C)
    )


def _low(net: PowerNet, streets: Streets, station: Station, place: Node, loads: Sequence[tuple[Load, Node]]) -> None:
    """A line to every crossing that the transformer feeds, with as many circuits as its worst hour needs."""
    for node in sorted({one for _, one in loads}):
        members = [(load, one) for load, one in loads if one == node]
        km = max(0.03, 1.1 * distance(streets.at[place], streets.at[node]) / 1000)
        amps = 1000 * _peak_kw(members) / 0.95 / 3 / 220
        r_ohm, x_ohm = LV_OHM_KM[0] * km, LV_OHM_KM[1] * km
        circuits = max(math.ceil(amps / AMPS), math.ceil(amps * (0.95 * r_ohm + 0.31 * x_ohm) / DROP_V))
        ohms = round(r_ohm / circuits, 6), round(x_ohm / circuits, 6)
        line = Line(
            f"lv{len(net.low) + 1}", station.feeder, station.lv_node, members[0][0].node, 0.38, *ohms, AMPS * circuits
        )
        net.low.append(line)


# --- medium voltage ---------------------------------------------------------------------------------------------------


def _mv(feeder: str, node: Node) -> str:
    return f"{feeder}-{node[0]}-{node[1]}"


def _medium(
    net: PowerNet, streets: Streets, feeder: str, given: tuple[str, Point, Node], before: Mapping[Node, Node]
) -> None:
    """Lines from the bar to every transformer of the feeder, along the shortest ways; a line ends where ways part."""
    bar, substation, start = given
    wanted = {one.node for one in net.sites if one.station.feeder == feeder}
    after, below = _ways(wanted, before)
    shift = -8.0 - LINE_SHIFT * len(net.heads)

    def at(node: Node) -> Point:
        return streets.at[node][0] + shift, streets.at[node][1] - shift

    first = _segment(net, feeder, (bar, _mv(feeder, start)), (substation, at(start)), TRUNK)
    net.heads[feeder], net.ends[feeder], far = first.line.id, first.line.end, 0.0
    queue: list[tuple[Node, Node, float]] = [(start, one, 0.0) for one in sorted(after[start])]
    while queue:
        node, other, gone = queue.pop(0)
        way = [node, other]
        while way[-1] not in wanted and len(after.get(way[-1], ())) == 1:
            way.extend(after[way[-1]])
        kind = TRUNK if below[way[-1]] > BRANCH_MOST else BRANCH
        ends = _mv(feeder, node), _mv(feeder, way[-1])
        segment = _segment(net, feeder, ends, tuple(at(one) for one in way), kind)
        total = gone + segment.length_m
        if total > far:
            far, net.ends[feeder] = total, segment.line.end
        queue += [(way[-1], one, total) for one in sorted(after.get(way[-1], ()))]


def _ways(wanted: Iterable[Node], before: Mapping[Node, Node]) -> tuple[dict[Node, set[Node]], dict[Node, int]]:
    """What follows each crossing on the ways to the wanted ones, and how many of these lie behind it."""
    after: dict[Node, set[Node]] = {}
    below: dict[Node, int] = {}
    for end in wanted:
        node = end
        below[node] = below.get(node, 0) + 1
        while node in before:
            after.setdefault(before[node], set()).add(node)
            node = before[node]
            below[node] = below.get(node, 0) + 1
    return after, below


def _segment(net: PowerNet, feeder: str, ends: tuple[str, str], path: tuple[Point, ...], kind: Conductor) -> Segment:
    metres = round(sum(distance(one, other) for one, other in pairwise(path)), 1)
    ohms = round(kind.r_km * metres / 1000, 6), round(kind.x_km * metres / 1000, 6)
    line = Line(f"mv{len(net.segments) + 1}", feeder, ends[0], ends[1], 22.9, *ohms, kind.amps)
    net.segments.append(Segment(line, path, metres, kind.name))
    return net.segments[-1]
