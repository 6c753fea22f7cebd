"""A street grid over a district, in local metres: where pipes, meters, cameras and map lines of a world lie."""

import heapq
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Node = tuple[int, int]  # column and row of the grid
Point = tuple[float, float]  # metres east and north of the origin, or longitude and latitude
Edge = tuple[Node, Node]


@dataclass(frozen=True, slots=True)
class Frame:
    """Local metres around an origin in WGS-84; good to a metre over ten kilometres."""

    lon: float
    lat: float

    def to_lonlat(self, point: Point) -> list[float]:
        """Longitude and latitude, six decimals (a decimetre)."""
        metres = 111_320.0 * math.cos(math.radians(self.lat))
        return [round(self.lon + point[0] / metres, 6), round(self.lat + point[1] / 110_990.0, 6)]

    def to_metres(self, lon: float, lat: float) -> Point:
        """The inverse of `to_lonlat`."""
        return (lon - self.lon) * 111_320.0 * math.cos(math.radians(self.lat)), (lat - self.lat) * 110_990.0


@dataclass(frozen=True, slots=True)
class Streets:
    """Crossings with their place and block (number of the nearest centre), and the streets between."""

    at: Mapping[Node, Point]
    block: Mapping[Node, int]
    edges: tuple[Edge, ...]

    def neighbours(self) -> dict[Node, list[Node]]:
        """Crossings next to each crossing, in a stable order."""
        found: dict[Node, list[Node]] = {node: [] for node in self.at}
        for one, other in self.edges:
            found[one].append(other)
            found[other].append(one)
        return found

    def nearest(self, point: Point, block: int | None = None) -> Node:
        """The crossing closest to a place, of one block if wanted."""
        near = (node for node in self.at if block is None or self.block[node] == block)
        return min(near, key=lambda node: (distance(self.at[node], point), node))


def distance(one: Point, other: Point) -> float:
    """Metres between two places."""
    return math.hypot(one[0] - other[0], one[1] - other[1])


def lay(centres: Iterable[Point], spacing: float, reach: float, turn_deg: float, rng: random.Random) -> Streets:
    """A turned grid, each crossing moved a little, kept where a centre is within `reach` metres."""
    middles = list(centres)
    turn = math.radians(turn_deg)
    span = int(max(math.hypot(*middle) for middle in middles) + reach) // int(spacing) + 1
    at: dict[Node, Point] = {}
    block: dict[Node, int] = {}
    for column in range(-span, span + 1):
        for row in range(-span, span + 1):
            x = column * spacing * math.cos(turn) - row * spacing * math.sin(turn)
            y = column * spacing * math.sin(turn) + row * spacing * math.cos(turn)
            shift = (rng.uniform(-14, 14), rng.uniform(-14, 14))
            near = min(range(len(middles)), key=lambda index: distance(middles[index], (x, y)))
            if distance(middles[near], (x, y)) <= reach:
                at[column, row] = (x + shift[0], y + shift[1])
                block[column, row] = near
    steps = ((1, 0), (0, 1))
    edges = [(n, (n[0] + dx, n[1] + dy)) for n in at for dx, dy in steps if (n[0] + dx, n[1] + dy) in at]
    return _connected(Streets(at, block, tuple(edges)))


def _connected(streets: Streets) -> Streets:
    """Without crossings that a walk from the first one does not reach."""
    reached = set(hops(streets.neighbours(), next(iter(streets.at))))
    at = {node: place for node, place in streets.at.items() if node in reached}
    return Streets(at, {node: streets.block[node] for node in at}, tuple(e for e in streets.edges if e[0] in reached))


def hops(neighbours: Mapping[Node, list[Node]], start: Node) -> dict[Node, int]:
    """How many streets away each crossing is."""
    found, queue = {start: 0}, [start]
    for node in queue:
        for other in neighbours[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def route(streets: Streets, start: Node, end: Node, cost: Callable[[Node, Node], float]) -> list[Node]:
    """The cheapest way along the streets, both ends included."""
    neighbours = streets.neighbours()
    best, before = {start: 0.0}, dict[Node, Node]()
    queue = [(0.0, start)]
    while queue:
        spent, node = heapq.heappop(queue)
        if node == end:
            break
        for other in neighbours[node]:
            total = spent + cost(node, other)
            if total < best.get(other, math.inf):
                best[other], before[other] = total, node
                heapq.heappush(queue, (total, other))
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]
