"""Lays a drinking-water network under a street grid: districts with a metered inlet each, trunk mains, pumps, tanks.

Used by a world's script; the result is written as an EPANET file (`inp.py`) and as facilities of a city package.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from haechi_testbed.worlds.streets import Edge, Node, Point, Streets, distance, hops, route

CATEGORIES = ("res", "com", "pub")  # homes, shops and offices, schools and public buildings
TRUNK_SHIFT = (7.0, 5.0)  # the trunk lies in the same street, beside the distribution pipe


@dataclass(frozen=True, slots=True)
class Junction:
    """A node with demand; `area` is the district's number from 0, -1 on the trunk. Demands in litres a second."""

    id: str
    at: Point
    elevation: float
    area: int
    demands: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipe:
    """A pipe along `path`; `closed` ones are boundaries between districts."""

    id: str
    start: str
    end: str
    path: tuple[Point, ...]
    diameter_mm: int
    roughness: int
    area: int
    closed: bool = False
    material: str = "DCIP"
    installed: int = 2010

    @property
    def length(self) -> float:
        """Metres along the path."""
        return round(sum(distance(a, b) for a, b in pairwise(self.path)), 1)


@dataclass(frozen=True, slots=True)
class Meter:
    """A customer's meter; demand is its mean in litres a second, `volume` what it has counted before the start (m3)."""

    id: str
    at: Point
    junction: str
    category: str
    demand: float
    volume: float


@dataclass(frozen=True, slots=True)
class Tank:
    """A service reservoir that floats on the trunk."""

    id: str
    at: Point
    elevation: float
    diameter: float
    low: float
    high: float
    start: float
    joined_to: int  # district whose trunk node it hangs on


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world decides: where districts, source and tanks lie and how the trunk joins the districts."""

    centres: Sequence[Point]
    trunk: Sequence[tuple[int, int, int]]  # two districts and a diameter
    source: Point
    source_head: float
    source_area: int
    pump_curve: tuple[float, float]  # litres a second, metres
    tanks: Sequence[Tank]
    elevation: Callable[[Point], float]


@dataclass(slots=True)
class Network:
    """The whole network. `inlets[area]` is the metered pipe of a district."""

    plan: Plan
    junctions: dict[str, Junction] = field(default_factory=dict)
    pipes: dict[str, Pipe] = field(default_factory=dict)
    meters: list[Meter] = field(default_factory=list)
    inlets: dict[int, str] = field(default_factory=dict)
    at_node: dict[Node, str] = field(default_factory=dict)

    def add_pipe(self, ends: tuple[str, str], path: Sequence[Point], diameter: int, area: int, **more: object) -> Pipe:
        """Adds a pipe with the next number."""
        name = f"pipe{len(self.pipes) + 1}"
        roughness = 130 if diameter >= 250 else 120
        pipe = Pipe(name, ends[0], ends[1], tuple(path), diameter, roughness, area, **more)  # type: ignore[arg-type]
        self.pipes[name] = pipe
        return pipe


def build(streets: Streets, plan: Plan, rng: random.Random) -> Network:
    """The network of a plan; the same seed gives the same network."""
    network = Network(plan)
    centre_nodes = [streets.nearest(centre, area) for area, centre in enumerate(plan.centres)]
    for area, centre in enumerate(centre_nodes):
        _district(network, streets, area, centre, rng)
    _boundaries(network, streets, rng)
    _trunk(network, streets, centre_nodes)
    return network


def _district(network: Network, streets: Streets, area: int, centre: Node, rng: random.Random) -> None:
    inside = {node for node, block in streets.block.items() if block == area}
    edges = [edge for edge in streets.edges if edge[0] in inside and edge[1] in inside]
    neighbours: dict[Node, list[Node]] = {node: [] for node in inside}
    for one, other in edges:
        neighbours[one].append(other)
        neighbours[other].append(one)
    depth = hops(neighbours, centre)
    for node in sorted(depth):
        name = f"j{len(network.junctions) + 1}"
        network.at_node[node] = name
        _customers(network, name, streets.at[node], area, rng)
    tree = _tree(neighbours, centre)
    for edge in edges:
        if edge[0] in depth and (edge in tree or rng.random() > 0.12):
            _street_pipe(network, streets, edge, area, min(depth[edge[0]], depth[edge[1]]), rng)


def _tree(neighbours: Mapping[Node, list[Node]], start: Node) -> set[Edge]:
    found: set[Edge] = set()
    seen, queue = {start}, [start]
    for node in queue:
        for other in neighbours[node]:
            if other not in seen:
                seen.add(other)
                found.add((min(node, other), max(node, other)))
                queue.append(other)
    return found


def _street_pipe(network: Network, streets: Streets, edge: Edge, area: int, depth: int, rng: random.Random) -> None:
    one, other = edge
    diameter = 200 if depth == 0 else 150 if depth <= 1 else 100
    installed = rng.randint(2006, 2016)
    material = "PE" if diameter == 100 and rng.random() < 0.4 else "DCIP"
    ends = network.at_node[one], network.at_node[other]
    network.add_pipe(ends, (streets.at[one], streets.at[other]), diameter, area, installed=installed, material=material)


def _customers(network: Network, name: str, at: Point, area: int, rng: random.Random) -> None:
    demands: dict[str, float] = {}
    for _ in range(rng.randint(5, 7)):
        category = rng.choices(CATEGORIES, (0.78, 0.17, 0.05))[0]
        mean, spread = {"res": (6.0, 0.7), "com": (6.5, 0.8), "pub": (9.0, 0.6)}[category]  # m3 a day
        litres_s = round(mean * rng.lognormvariate(-spread * spread / 2, spread) / 86.4, 5)
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(18, 70)
        place = (at[0] + far * math.cos(angle), at[1] + far * math.sin(angle))
        volume = round(litres_s * 86.4 * rng.uniform(200, 3000), 3)
        number = f"WM-{len(network.meters) + 1:04d}"
        network.meters.append(Meter(number, place, name, category, litres_s, volume))
        demands[category] = round(demands.get(category, 0.0) + litres_s, 5)
    elevation = round(network.plan.elevation(at), 2)
    network.junctions[name] = Junction(name, at, elevation, area, dict(sorted(demands.items())))


def _boundaries(network: Network, streets: Streets, rng: random.Random) -> None:
    """Two closed pipes between districts that touch: opened by hand when a district must be fed from its neighbour."""
    between: dict[tuple[int, int], list[Edge]] = {}
    for one, other in streets.edges:
        if one in network.at_node and other in network.at_node and streets.block[one] != streets.block[other]:
            pair = (min(streets.block[one], streets.block[other]), max(streets.block[one], streets.block[other]))
            between.setdefault(pair, []).append((one, other))
    for pair in sorted(between):
        for one, other in rng.sample(between[pair], min(2, len(between[pair]))):
            ends = network.at_node[one], network.at_node[other]
            network.add_pipe(ends, (streets.at[one], streets.at[other]), 150, pair[0], closed=True)


def _trunk(network: Network, streets: Streets, centres: Sequence[Node]) -> None:
    plan = network.plan

    def shifted(node: Node) -> Point:
        return streets.at[node][0] + TRUNK_SHIFT[0], streets.at[node][1] + TRUNK_SHIFT[1]

    for area, node in enumerate(centres):
        name = f"t{area + 1}"
        network.junctions[name] = Junction(name, shifted(node), round(plan.elevation(shifted(node)), 2), -1)
        path = (shifted(node), streets.at[node])
        network.inlets[area] = network.add_pipe((name, network.at_node[node]), path, 250, area).id
    for one, other, diameter in plan.trunk:
        way = route(streets, centres[one], centres[other], lambda a, b: distance(streets.at[a], streets.at[b]))
        network.add_pipe((f"t{one + 1}", f"t{other + 1}"), [shifted(node) for node in way], diameter, -1)
    station = (plan.source[0] - 60.0, plan.source[1] - 40.0)
    network.junctions["ps"] = Junction("ps", station, round(plan.elevation(station), 2), -1)
    first = network.junctions[f"t{plan.source_area + 1}"]
    network.add_pipe(("ps", first.id), (station, first.at), 600, -1)
    for tank in plan.tanks:
        joined = network.junctions[f"t{tank.joined_to + 1}"]
        network.add_pipe((joined.id, tank.id), (joined.at, tank.at), 400, -1)
