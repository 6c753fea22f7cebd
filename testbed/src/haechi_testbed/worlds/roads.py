"""The main roads of a generated world as a graph of junctions and one-way links. Used by `worlds.traffic`.

Arterials are every third line of the street grid; highways are given as lines and meet arterials at junctions that
lie some way apart (elsewhere they pass over). Chains between junctions become links, one a direction.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from haechi_testbed.worlds.streets import Edge, Node, Point, Streets, distance

EVERY = 3  # each third line of the grid is an arterial
SNAP_M = 100.0  # a crossing so close to a junction is that junction
SPACING_M = 380.0  # between two junctions of a highway
Key = Node | tuple[str, int]
Pair = frozenset[Key]


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a road between two junctions. `road` names the line it is a part of."""

    id: str
    start: str
    end: str
    path: tuple[Point, ...]
    highway: bool
    road: str

    @property
    def length(self) -> float:
        """Metres along the path."""
        return sum(distance(one, other) for one, other in pairwise(self.path))


@dataclass(frozen=True, slots=True)
class Roads:
    """Junctions by id and where they lie, the gates among them (where a highway leaves), links by id."""

    junctions: dict[str, Point]
    gates: tuple[str, ...]
    links: dict[str, Link]


def is_arterial(edge: Edge) -> bool:
    """Whether a street of the grid lies on an arterial line."""
    one, other = edge
    return (one[1] if one[1] == other[1] else one[0]) % EVERY == 0


class Graph:
    """Places joined by straight pieces of road, while it grows."""

    def __init__(self, streets: Streets) -> None:
        """The arterials of a street grid."""
        self.at: dict[Key, Point] = {}
        self.pieces: dict[Pair, str] = {}  # -> road
        for edge in streets.edges:
            if is_arterial(edge):
                one, other = edge
                line = f"r{one[1]}" if one[1] == other[1] else f"c{one[0]}"
                self.at[one], self.at[other] = streets.at[one], streets.at[other]
                self.pieces[frozenset(edge)] = line

    def neighbours(self) -> dict[Key, list[Key]]:
        """Places next to each place, in a stable order."""
        found: dict[Key, list[Key]] = {key: [] for key in self.at}
        for pair in self.pieces:
            one, other = sorted(pair, key=str)
            found[one].append(other)
            found[other].append(one)
        return found

    def drop(self, keys: Iterable[Key]) -> None:
        """Removes places and what leads to them."""
        gone = set(keys)
        self.at = {key: place for key, place in self.at.items() if key not in gone}
        self.pieces = {pair: road for pair, road in self.pieces.items() if not pair & gone}

    def add_highway(self, name: str, line: Sequence[Point]) -> tuple[Key, Key]:
        """Lays a highway along a line and joins it with what it crosses; its two ends."""
        stops = self._crossings(line)
        ends: list[Key] = [(f"{name}-", 0), (f"{name}-", 1)]
        places: list[tuple[float, Key]] = [(0.0, ends[0])]
        self.at[ends[0]], self.at[ends[1]] = line[0], line[-1]
        way = 0.0
        for number, (one, other) in enumerate(pairwise(line)):
            way += distance(one, other)
            if number < len(line) - 2:
                self.at[name, number] = other
                places.append((way, (name, number)))
        for number, (along, pair, place) in enumerate(stops):
            places.append((along, self._junction(pair, place, (f"{name}x", number))))
        places.append((way, ends[1]))
        places.sort(key=lambda one: one[0])
        for (_, one_key), (_, other_key) in pairwise(places):
            if one_key != other_key:
                self.pieces[frozenset((one_key, other_key))] = name
        return ends[0], ends[1]

    def _junction(self, pair: Pair, place: Point, key: Key) -> Key:
        near = min(pair, key=lambda one: (distance(self.at[one], place), str(one)))
        if distance(self.at[near], place) < SNAP_M:
            return near
        road = self.pieces.pop(pair)
        self.at[key] = place
        for end in sorted(pair, key=str):
            self.pieces[frozenset((key, end))] = road
        return key

    def _crossings(self, line: Sequence[Point]) -> list[tuple[float, Pair, Point]]:
        """Where along the line it meets what is there: every highway, arterials with some way between."""
        found: list[tuple[bool, float, Pair, Point]] = []
        way = 0.0
        for one, other in pairwise(line):
            for pair, road in self.pieces.items():
                ends = sorted(pair, key=str)
                place = _crossing((one, other), (self.at[ends[0]], self.at[ends[1]]))
                if place is not None:
                    found.append((road.startswith("H"), way + distance(one, place), pair, place))
            way += distance(one, other)
        kept: list[tuple[float, Pair, Point]] = []
        for _, along, pair, place in sorted(found, key=lambda one: (not one[0], one[1])):
            if all(abs(along - other) >= SPACING_M for other, _, _ in kept):
                kept.append((along, pair, place))
        return sorted(kept, key=lambda one: one[0])


def _crossing(one: tuple[Point, Point], other: tuple[Point, Point]) -> Point | None:
    """Where two straight lines meet within their ends."""
    (ax, ay), (bx, by) = one
    (cx, cy), (dx, dy) = other
    below = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
    if abs(below) < 1e-9:
        return None
    s = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / below
    t = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / below
    return (ax + s * (bx - ax), ay + s * (by - ay)) if 0 <= s < 1 and 0 <= t < 1 else None


def lay(streets: Streets, highways: Sequence[Sequence[Point]]) -> Roads:
    """The roads of a district; what is not joined with the rest and dead ends of arterials are left out."""
    graph = Graph(streets)
    gates: list[Key] = []
    for number, line in enumerate(highways, 1):
        gates += graph.add_highway(f"H{number}", line)
    _largest(graph)
    for _ in range(EVERY + 1):
        graph.drop([key for key, near in graph.neighbours().items() if len(near) < 2 and key not in gates])
    near = graph.neighbours()
    ends = {key for key, others in near.items() if len(others) != 2 or key in gates or _is_corner(key)}
    names = {key: f"n{number:02d}" for number, key in enumerate(sorted(ends, key=lambda key: graph.at[key]), 1)}
    links: dict[str, Link] = {}
    for key, name in names.items():
        for other in near[key]:
            chain = _chain(near, ends, key, other)
            path = tuple(graph.at[one] for one in chain)
            road = graph.pieces[frozenset((key, other))]
            ident = f"{len(links) + 1:03d}"
            links[ident] = Link(ident, name, names[chain[-1]], path, road.startswith("H"), road)
    places = {name: graph.at[key] for key, name in names.items()}
    return Roads(places, tuple(names[key] for key in gates), links)


def _is_corner(key: Key) -> bool:
    return isinstance(key[0], int) and key[0] % EVERY == 0 and key[1] % EVERY == 0


def _chain(near: dict[Key, list[Key]], ends: set[Key], start: Key, first: Key) -> list[Key]:
    chain = [start, first]
    while chain[-1] not in ends:
        one, other = near[chain[-1]]
        chain.append(other if one == chain[-2] else one)
    return chain


def _largest(graph: Graph) -> None:
    near, left = graph.neighbours(), set(graph.at)
    best: set[Key] = set()
    while left:
        queue = [min(left, key=str)]
        reached = set(queue)
        for key in queue:
            for other in near[key]:
                if other not in reached:
                    reached.add(other)
                    queue.append(other)
        left -= reached
        best = max(best, reached, key=len)
    graph.drop(set(graph.at) - best)


def bearing(one: Point, other: Point) -> float:
    """Degrees from north, clockwise."""
    return math.degrees(math.atan2(other[0] - one[0], other[1] - one[1])) % 360.0
