"""Main roads, detectors and signals of a generated world: what the traffic twin reads and what the city package says.

Lanes, turns and signal plans follow from an assignment of trips on the roads, so that the roads can carry them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from haechi_testbed.twins.traffic import demand
from haechi_testbed.worlds import signals
from haechi_testbed.worlds.basemap import HIGHWAYS
from haechi_testbed.worlds.roads import Link, Roads, lay
from haechi_testbed.worlds.streets import Point, distance
from haechi_testbed.worlds.trips import GREEN, SATURATION, Flows, Zone, assign, trips

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

THROUGH = (0, 2, 3)  # of the map's highways, those that cross the district
BOX = (-4300.0, -2300.0, 3700.0, 2300.0)  # beyond it they leave
KM_H = {True: 70, False: 50}  # a highway and a street, as the law has it in towns
TOTAL = 9000.0  # vehicles an hour at the peak of each purpose, before it is scaled
TARGET = 0.90  # fullness of the fullest junction at the peak: it clears most cycles
WATCHED_H = 330.0  # a road with so many vehicles an hour at its peak has detectors
SHORTEST_M = 300.0  # a shorter one has none
PER_GATEWAY = 14
UP, DOWN = 0.3, 0.8  # where the detectors of a road lie, shares of its length


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that is laid out. `watched`: roads with detectors; `low`: vehicles a minute in the emptiest hour by day."""

    roads: Roads
    lanes: Mapping[str, int]
    flows: Flows
    plans: Mapping[str, signals.Plans]
    watched: tuple[str, ...]
    low: Mapping[str, float]
    gateways: Mapping[str, tuple[str, ...]]


def lay_out(world: World) -> Traffic:
    """The roads of a world with what drives on them."""
    roads = lay(world.streets, [_clipped([world.frame.to_metres(*at) for at in HIGHWAYS[one]]) for one in THROUGH])
    zones = _zones(world, roads)
    lanes = {name: 3 if link.highway else 2 for name, link in roads.links.items()}
    total = TOTAL
    for _ in range(3):
        flows = assign(roads, trips(roads, zones, total), lanes, free_speed)
        lanes = {name: _lanes(link, _peak(flows).get(name, 0.0)) for name, link in roads.links.items()}
        fullest = _fullest(roads, flows, lanes)
        total *= TARGET / fullest
    flows = flows.times(TARGET / fullest)
    peak = _peak(flows)
    by_plan = {number: flows.link(_weights(hour)) for number, hour in signals.HOURS.items()}
    plans = {
        f"TS-{number:02d}": signals.plan(roads, junction, by_plan, lanes, 11.0)
        for number, junction in enumerate(crossings(roads), 1)
    }
    watched = tuple(
        name for name, one in roads.links.items() if peak.get(name, 0.0) >= WATCHED_H and one.length >= SHORTEST_M
    )
    return Traffic(roads, lanes, flows, plans, watched, _low(flows), _gateways(roads, watched))


def _weights(hour: int, course: Mapping[str, tuple[float, ...]] = demand.WORKDAY) -> Mapping[str, float]:
    return {one: course[one][hour] for one in demand.PURPOSES}


def _low(flows: Flows) -> dict[str, float]:
    """Vehicles a minute of each link in the emptiest hour between 8 and 21 o'clock of any day."""
    hourly = [
        flows.link(_weights(hour, course)) for course in (demand.WORKDAY, demand.DAY_OFF) for hour in range(8, 22)
    ]
    return {name: min(one[name] for one in hourly) / 60.0 for name in hourly[0] if not name.startswith("@")}


def free_speed(link: Link) -> float:
    """Metres a second of an empty road."""
    return KM_H[link.highway] / 3.6


def crossings(roads: Roads) -> list[str]:
    """Junctions with signals: where three roads or more arrive."""
    return [one for one in roads.junctions if sum(link.end == one for link in roads.links.values()) >= 3]


def _peak(flows: Flows) -> dict[str, float]:
    morning, evening = flows.link(_weights(8)), flows.link(_weights(18))
    return {name: max(morning[name], evening[name]) for name in morning if not name.startswith("@")}


def _fullest(roads: Roads, flows: Flows, lanes: Mapping[str, int]) -> float:
    """Of the fullest junction in either peak."""
    peaks = [flows.link(_weights(hour)) for hour in (8, 18)]
    parts = [signals.stages(roads, one) for one in crossings(roads)]
    return max(signals.fullness(one, hourly, lanes, signals.PLANS[2]) for one in parts for hourly in peaks)


def _lanes(link: Link, peak: float) -> int:
    return min(4, max(2 if link.highway else 1, math.ceil(peak / (SATURATION * GREEN))))


def _zones(world: World, roads: Roads) -> dict[str, Zone]:
    """Homes and jobs belong to the nearest junction; the gates to the east lead to Seoul."""
    homes, jobs = dict.fromkeys(roads.junctions, 0.0), dict.fromkeys(roads.junctions, 0.0)
    inner = [one for one in roads.junctions if one not in roads.gates]
    for meter in world.network.meters:
        near = min(inner, key=lambda one: (distance(roads.junctions[one], meter.at), one))
        kind = homes if meter.category == "res" else jobs
        kind[near] += 1.0
    all_homes, all_jobs = sum(homes.values()), sum(jobs.values())
    return {one: Zone(homes[one] / all_homes, jobs[one] / all_jobs, _outside(roads, one)) for one in roads.junctions}


def _outside(roads: Roads, junction: str) -> float:
    if junction not in roads.gates:
        return 0.0
    return 0.09 if roads.junctions[junction][0] > 3000 else 0.04


def _clipped(line: list[Point]) -> list[Point]:
    """The part of a line within the box."""
    west, south, east, north = BOX
    found: list[Point] = []
    for (ax, ay), (bx, by) in pairwise(line):
        low, high = 0.0, 1.0
        for start, step, least, most in ((ax, bx - ax, west, east), (ay, by - ay, south, north)):
            if step:
                one, other = sorted(((least - start) / step, (most - start) / step))
                low, high = max(low, one), min(high, other)
            elif not least <= start <= most:
                low = 2.0
        if low < high:
            ends = [(ax + share * (bx - ax), ay + share * (by - ay)) for share in (low, high)]
            found += [end for end in ends if not found or distance(found[-1], end) > 1.0]
    return found


def _gateways(roads: Roads, watched: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Roadside gateways from west to east, each for some roads near each other."""
    inorder = sorted(watched, key=lambda name: (roads.links[name].path[0], name))
    parts = [inorder[at : at + PER_GATEWAY] for at in range(0, len(inorder), PER_GATEWAY)]
    return {f"TG-{number:02d}": tuple(part) for number, part in enumerate(parts, 1)}


# --- what the twin reads ----------------------------------------------------------------------------------------------


def testbed_files(traffic: Traffic) -> dict[str, str]:
    """traffic.toml and traffic-turns.csv."""
    lines = [
        "# What the traffic twin moves; format: twins/traffic/README.md. Ids of roads are those of facilities RS-<id>.",
        "[model]",
        "utc_offset_h = 9.0",
        "slice_s = 5.0",
        "period_s = 60.0                          # of the detectors",
        f"saturation_h = {SATURATION}                  # vehicles an hour and lane (HCM 6th edition, 19)",
        "jam_km = 150.0                           # vehicles a kilometre and lane, standing",
        "loop_m = 6.5                             # mean vehicle and loop: what occupies it",
        "capacity_drop = 0.0",
        f"lost_s = {signals.LOST_S}",
        "spread = [0.04, 0.08]                    # of demand: the whole city, each zone",
        "memory_s = 1800.0",
        "",
        "[plans]                                  # 1 day, 2 morning, 3 evening, 4 night",
        f"cycles = {{ {', '.join(f'{number} = {cycle}' for number, cycle in signals.PLANS.items())} }}",
        "workday = [4, 4, 4, 4, 4, 4, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 1, 1, 1, 4]",
        "day_off = [4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4]",
        "",
        "[roads]",
        *(_road(traffic, link) for link in traffic.roads.links.values()),
        "",
        "[signals]",
        *(_signal(name, plans) for name, plans in traffic.plans.items()),
        "",
        "[stations]                               # roads with detectors",
        *(f'"{road}" = {{ up = "{up}", down = "{down}" }}' for road, (up, down) in detectors(traffic).items()),
        "",
        "[detectors]",
        *_detectors(traffic),
        "",
        "[gateways]                               # the roads each speaks for",
        *(f"{name} = {_list(roads)}" for name, roads in traffic.gateways.items()),
    ]
    return {"testbed/traffic.toml": "\n".join(lines) + "\n", "testbed/traffic-turns.csv": _turns(traffic.flows)}


def detectors(traffic: Traffic) -> dict[str, tuple[str, str]]:
    """Detectors up and down each watched road."""
    return {road: (f"TD-{road}U", f"TD-{road}D") for road in traffic.watched}


def _road(traffic: Traffic, link: Link) -> str:
    more = f"lanes = {traffic.lanes[link.id]}, speed_km_h = {KM_H[link.highway]}"
    return f'"{link.id}" = {{ from = "{link.start}", to = "{link.end}", length = {link.length:.1f}, {more} }}'


def _signal(name: str, plans: signals.Plans) -> str:
    stages = "[" + ", ".join(_list(stage) for stage in plans.stages) + "]"
    shares = [list(plans.shares[number]) for number in signals.PLANS]
    offsets = [plans.offsets[number] for number in signals.PLANS]
    return f'{name} = {{ junction = "{plans.junction}", stages = {stages}, shares = {shares}, offsets = {offsets} }}'


def _detectors(traffic: Traffic) -> list[str]:
    return [
        f'{name} = {{ road = "{road}", at = {at} }}'
        for road, pair in detectors(traffic).items()
        for name, at in zip(pair, (UP, DOWN), strict=True)
    ]


def _list(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _turns(flows: Flows) -> str:
    every = sorted({turn for turns in flows.turns.values() for turn in turns})
    rows = [f"from,to,{','.join(demand.PURPOSES)}"]
    for turn in every:
        hourly = [f"{flows.turns[purpose].get(turn, 0.0):.2f}" for purpose in demand.PURPOSES]
        rows.append(",".join((*turn, *hourly)))
    return "\n".join(rows) + "\n"
