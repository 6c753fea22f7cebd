"""Traffic of a generated city as facilities, links and devices. A trade of `worlds.gimpo`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from haechi_testbed.worlds import traffic
from haechi_testbed.worlds.facilities import CITY, Entity, unit, urn
from haechi_testbed.worlds.names import named
from haechi_testbed.worlds.roads import Link
from haechi_testbed.worlds.streets import Point, distance
from haechi_testbed.worlds.trade import Trade
from haechi_testbed.worlds.traffic_links import LOOP_LINK, LOOPS, SIGNAL_LINK, modbus

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

SIDE_M = 6.0  # a direction is drawn that far right of the middle
FAR_M = 1200.0  # farther from every district it is nobody's


def build(world: World) -> Trade:
    """Everything of traffic."""
    laid = traffic.lay_out(world)
    city = _City(world, laid)
    return Trade(
        ("traffic",),
        {name.removeprefix("testbed/"): text for name, text in traffic.testbed_files(laid).items()},
        {
            "traffic-roads": [*city.roads(), *city.segments()],
            "traffic-detectors": city.loops(),
            "traffic-signals": city.signals(),
            "traffic-devices": city.gateways(),
        },
        {LOOP_LINK: LOOPS, SIGNAL_LINK: modbus(tuple(laid.plans))},
        _rows(laid),
    )


def _rows(laid: traffic.Traffic) -> list[tuple[str, str, str, str]]:
    pairs = traffic.detectors(laid)
    rows = []
    for gateway, roads in laid.gateways.items():
        for road in roads:
            rows.append((gateway, f"RS-{road}", LOOP_LINK, urn("RoadSegment", f"RS-{road}")))
            rows += [(gateway, loop, LOOP_LINK, urn("TrafficFlowObserved", loop)) for loop in pairs[road]]
    return rows + [(name, "", SIGNAL_LINK, urn("TrafficSignal", name)) for name in laid.plans]


class _City:
    """What every entity is made from."""

    def __init__(self, world: World, laid: traffic.Traffic) -> None:
        self._world, self._laid, self._links = world, laid, laid.roads.links
        names = sorted(
            {one.road for one in self._links.values()}, key=lambda road: (road[0] != "H", road[0], _number(road))
        )
        self._numbers = {road: number for number, road in enumerate(names, 1)}

    def roads(self) -> list[Entity]:
        """Every road with all its sections in one direction."""
        found = []
        for road, number in self._numbers.items():
            mine = [one for one in self._links.values() if one.road == road and one.start < one.end]
            lines = [[self._world.frame.to_lonlat(at) for at in one.path] for one in mine]
            highway = road.startswith("H")
            title = _title("highway" if highway else "road", str(number))
            place = {"type": "MultiLineString", "coordinates": lines}
            found.append(
                _base("Road", f"RD-{number:02d}", title, "", place)
                | {
                    "roadClass": "primary" if highway else "secondary",
                    "length": unit(round(sum(one.length for one in mine) / 1000, 3), "KMT"),
                }
            )
        return found

    def segments(self) -> list[Entity]:
        """Each direction between two junctions."""
        found = []
        for link in self._links.values():
            line = [self._world.frame.to_lonlat(at) for at in beside(link.path)]
            title = named(self._place(middle(link)), "segment", link.id)
            entity = _base("RoadSegment", f"RS-{link.id}", title, self._place(middle(link)), {
                "type": "LineString", "coordinates": line,
            })  # fmt: skip
            found.append(
                entity
                | {
                    "refRoad": {"object": urn("Road", f"RD-{self._numbers[link.road]:02d}")},
                    "length": unit(round(link.length / 1000, 3), "KMT"),
                    "totalLaneNumber": self._laid.lanes[link.id],
                    "maximumAllowedSpeed": unit(traffic.KM_H[link.highway], "KMH"),
                    "status": "open",
                }
            )
        return found

    def loops(self) -> list[Entity]:
        """Two detectors on each watched road."""
        found = []
        for road, pair in traffic.detectors(self._laid).items():
            link = self._links[road]
            for loop, share, part in zip(pair, (traffic.UP, traffic.DOWN), ("upstream", "downstream"), strict=True):
                at = along(beside(link.path), share)
                place = self._place(at)
                entity = _base("TrafficFlowObserved", loop, named(place, "loop", loop), place, self._point(at))
                more = {"refRoadSegment": {"object": urn("RoadSegment", f"RS-{road}")}, "position": part}
                found.append(entity | more | {"daytimeLow": round(self._laid.low[road], 1)})
        return found

    def signals(self) -> list[Entity]:
        """A controller at each signalised junction."""
        found = []
        for name, plans in self._laid.plans.items():
            at = self._laid.roads.junctions[plans.junction]
            place = self._place(at)
            entity = _base("TrafficSignal", name, named(place, "signal", name), place, self._point(at))
            found.append(entity | {"stages": len(plans.stages)})
        return found

    def gateways(self) -> list[Entity]:
        """What speaks: the roadside gateways of the detectors and the controllers' own modems."""
        spoken = {name: along(beside(self._links[roads[0]].path), 0.5) for name, roads in self._laid.gateways.items()}
        for name, plans in self._laid.plans.items():
            x, y = self._laid.roads.junctions[plans.junction]
            spoken[name] = (x - SIDE_M, y + SIDE_M)
        found = []
        for name, at in spoken.items():
            place, thing = self._place(at), "roadside" if name in self._laid.gateways else "modem"
            entity = _base("Device", name, named(place, thing, name), place, self._point(at))
            found.append(entity | {"category": "gateway"})
        return found

    def _point(self, at: Point) -> dict[str, Any]:
        return {"type": "Point", "coordinates": self._world.frame.to_lonlat(at)}

    def _place(self, at: Point) -> str:
        far, place = min(zip(
            (distance(one, at) for one in self._world.network.plan.centres), self._world.places, strict=True
        ))  # fmt: skip
        return place if far <= FAR_M else ""


def _number(road: str) -> int:
    return int(road[1:])


def _base(kind: str, name: str, title: Mapping[str, Any], place: str, location: Mapping[str, Any]) -> Entity:
    scope = f"/{CITY}/{place}" if place else f"/{CITY}"
    return {"id": urn(kind, name), "type": kind, "scope": scope, "name": title, "location": location}


def _title(thing: str, label: str) -> dict[str, Any]:
    return named("", thing, label)


def beside(path: tuple[Point, ...]) -> list[Point]:
    """The same way a little to the right, so that both directions show."""
    found = []
    for number, (x, y) in enumerate(path):
        (ax, ay), (bx, by) = path[max(0, number - 1)], path[min(len(path) - 1, number + 1)]
        far = distance((ax, ay), (bx, by))
        found.append((x + SIDE_M * (by - ay) / far, y - SIDE_M * (bx - ax) / far))
    return found


def middle(link: Link) -> Point:
    """Half way along it."""
    return along(link.path, 0.5)


def along(path: tuple[Point, ...] | list[Point], share: float) -> Point:
    """The place at that share of the way."""
    left = share * sum(distance(one, other) for one, other in pairwise(path))
    for one, other in pairwise(path):
        step = distance(one, other)
        if step >= left:
            part = left / step
            return one[0] + part * (other[0] - one[0]), one[1] + part * (other[1] - one[1])
        left -= step
    return path[-1]
