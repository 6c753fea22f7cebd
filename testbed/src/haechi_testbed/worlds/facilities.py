"""A generated world as entities of a city package: NGSI-LD concise, one a line. Used by a world's script."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haechi_testbed.worlds.names import named
from haechi_testbed.worlds.streets import distance

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

CITY = "gimpo"
PER_AREA = 5  # pressure sensors in a district
Entity = dict[str, Any]
Bounds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Sensors:
    """Where instruments are and which gateway carries them (id -> node, link or area)."""

    pressure: Mapping[str, str]  # sensor -> junction
    flow: Mapping[str, int]  # sensor -> area
    gateways: Mapping[str, tuple[str, ...]]  # gateway -> what it carries
    concentrators: Mapping[str, int]  # meter concentrator -> area
    area_of: Mapping[str, int]  # pressure sensor -> area


def urn(kind: str, name: str) -> str:
    """The entity's id."""
    return f"urn:ngsi-ld:{kind}:{CITY}:{name}"


def unit(value: float, code: str) -> dict[str, Any]:
    """A value with its UN/CEFACT unit."""
    return {"value": value, "unitCode": code}


def ndjson(entities: Iterable[Entity]) -> str:
    """One entity a line, in the order given."""
    return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in entities)


def place_sensors(world: World) -> Sensors:
    """Five pressure sensors a district as far apart as they can be, one flow meter an inlet, gateways in between."""
    pressure: dict[str, str] = {}
    area_of: dict[str, int] = {}
    for area in range(len(world.places)):
        for junction in _spread(world, area):
            sensor = f"WP-{len(pressure) + 1:03d}"
            pressure[sensor], area_of[sensor] = junction, area
    flow = {f"WF-{area + 1:02d}": area for area in range(len(world.places))}
    gateways: dict[str, tuple[str, ...]] = {}
    for pair in range(0, len(world.places), 2):
        areas = (pair, pair + 1)
        carried = [name for name, area in (*area_of.items(), *flow.items()) if area in areas]
        gateways[f"GW-{len(gateways) + 1:02d}"] = tuple(carried)
    plant = [tank.id for tank in world.network.plan.tanks] + ["pump1", "pump2"]
    gateways[f"GW-{len(gateways) + 1:02d}"] = tuple(plant)
    concentrators = {f"AMI-{area + 1:02d}": area for area in range(len(world.places))}
    return Sensors(pressure, flow, gateways, concentrators, area_of)


def _spread(world: World, area: int) -> list[str]:
    """Junctions of a district, each as far as possible from those before; the first is farthest from the inlet."""
    members = [one for one in world.network.junctions.values() if one.area == area]
    start = world.network.junctions[f"t{area + 1}"]
    chosen = [max(members, key=lambda one: (distance(one.at, start.at), one.id))]
    while len(chosen) < PER_AREA:
        chosen.append(max(members, key=lambda one: (min(distance(one.at, other.at) for other in chosen), one.id)))
    return [one.id for one in chosen]


def all_entities(world: World, sensors: Sensors, bounds: Bounds) -> dict[str, list[Entity]]:
    """Every facility by file name; `bounds` are what each instrument shows on normal days."""
    return {
        "water-network": [*_pipes(world), *_junctions(world), *_plant(world, bounds), *_valves(world)],
        "water-sensors": [*_pressure(world, sensors, bounds), *_flow(world, bounds)],
        "water-meters": _meters(world),
        "air": _air(world),
        "weather": [_site(world, one, "WeatherObserved") for one in world.air["weather"]],
        "safety": [*_cameras(world), *_gateways(world, sensors)],
    }


def _point(world: World, at: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Point", "coordinates": world.frame.to_lonlat(at)}


def _base(kind: str, name: str, title: Mapping[str, Any], place: str, location: Mapping[str, Any]) -> Entity:
    scope = f"/{CITY}/{place}" if place else f"/{CITY}"
    return {"id": urn(kind, name), "type": kind, "scope": scope, "name": title, "location": location}


def _pipes(world: World) -> list[Entity]:
    found = []
    for pipe in world.network.pipes.values():
        place = world.places[pipe.area] if pipe.area >= 0 else ""
        line = {"type": "LineString", "coordinates": [world.frame.to_lonlat(at) for at in pipe.path]}
        title = named(place, "pipe" if pipe.area >= 0 else "trunk", pipe.id.removeprefix("pipe"))
        found.append(
            _base("Pipe", pipe.id, title, place, line)
            | {
                "length": unit(pipe.length, "MTR"),
                "diameter": unit(pipe.diameter_mm, "MMT"),
                "roughness": pipe.roughness,
                "material": pipe.material,
                "installed": pipe.installed,
                "startsAt": {"object": _node(world, pipe.start)},
                "endsAt": {"object": _node(world, pipe.end)},
            }
        )
    return found


def _node(world: World, name: str) -> str:
    return urn("Junction" if name in world.network.junctions else "Tank", name)


def _junctions(world: World) -> list[Entity]:
    found = []
    for one in world.network.junctions.values():
        place = world.places[one.area] if one.area >= 0 else ""
        entity = _base("Junction", one.id, named(place, "junction", one.id), place, _point(world, one.at))
        found.append(entity | {"elevation": unit(one.elevation, "MTR")})
    return found


def _plant(world: World, bounds: Bounds) -> list[Entity]:
    plan = world.network.plan
    place = world.places[plan.source_area]
    source = _base("Reservoir", "source", named(place, "source"), place, _point(world, plan.source))
    found = [source | {"head": unit(plan.source_head, "MTR")}]
    for tank in plan.tanks:
        at = world.places[tank.joined_to]
        entity = _base("Tank", tank.id, named(at, "tank", tank.id[-1]), at, _point(world, tank.at))
        found.append(
            entity
            | {
                "elevation": unit(tank.elevation, "MTR"),
                "diameter": unit(tank.diameter, "MTR"),
                "minLevel": unit(tank.low, "MTR"),
                "maxLevel": unit(tank.high, "MTR"),
                "normalLow": unit(bounds[tank.id]["low"], "MTR"),
            }
        )
    for number in (1, 2):
        at_pump = (plan.source[0] - 25.0 * number, plan.source[1] - 12.0)
        title = named(place, "pump", str(number))
        found.append(_base("Pump", f"pump{number}", title, place, _point(world, at_pump)))
    return found


def _valves(world: World) -> list[Entity]:
    """One at each inlet, one on each boundary pipe, one on every ninth street pipe."""
    found: list[Entity] = []
    inlets = set(world.network.inlets.values())
    for index, pipe in enumerate(world.network.pipes.values()):
        if pipe.area < 0 or not (pipe.closed or pipe.id in inlets or index % 9 == 0):
            continue
        place = world.places[pipe.area]
        number = str(len(found) + 1)
        middle = ((pipe.path[0][0] + pipe.path[-1][0]) / 2, (pipe.path[0][1] + pipe.path[-1][1]) / 2)
        title = named(place, "boundary" if pipe.closed else "valve", number)
        entity = _base("Valve", f"valve{number}", title, place, _point(world, middle))
        entity |= {"diameter": unit(pipe.diameter_mm, "MMT"), "status": "closed" if pipe.closed else "open"}
        found.append(entity | {"refPipe": {"object": urn("Pipe", pipe.id)}})
    return found


def _pressure(world: World, sensors: Sensors, bounds: Bounds) -> list[Entity]:
    found = []
    for sensor, junction in sensors.pressure.items():
        place = world.places[sensors.area_of[sensor]]
        at = world.network.junctions[junction].at
        title = named(place, "pressure", sensor)
        entity = _base("WaterPressureSensor", sensor, title, place, _point(world, (at[0] + 4, at[1] - 4)))
        found.append(
            entity
            | {
                "normalLow": unit(bounds[sensor]["low"], "KPA"),
                "normalHigh": unit(bounds[sensor]["high"], "KPA"),
                "refJunction": {"object": urn("Junction", junction)},
            }
        )
    return found


def _flow(world: World, bounds: Bounds) -> list[Entity]:
    found = []
    for area, place in enumerate(world.places):
        sensor = f"WF-{area + 1:02d}"
        pipe = world.network.pipes[world.network.inlets[area]]
        entity = _base("WaterFlowMeter", sensor, named(place, "flow", sensor), place, _point(world, pipe.path[0]))
        found.append(
            entity
            | {
                "normalHigh": unit(bounds[sensor]["high"], "MQH"),
                "nightHigh": unit(bounds[sensor]["night_high"], "MQH"),
                "refPipe": {"object": urn("Pipe", pipe.id)},
                "district": f"D{area + 1:02d}",
            }
        )
    return found


def _meters(world: World) -> list[Entity]:
    found = []
    for meter in world.network.meters:
        place = world.places[world.network.junctions[meter.junction].area]
        title = named(place, "meter", meter.id)
        entity = _base("WaterConsumptionObserved", meter.id, title, place, _point(world, meter.at))
        found.append(entity | {"refJunction": {"object": urn("Junction", meter.junction)}})
    return found


def _site(world: World, site: Mapping[str, Any], kind: str) -> Entity:
    place = str(site["place"]).rpartition("-")[0].lower() or "gimpo"
    title = {"languageMap": dict(site["name"])}
    return _base(kind, site["id"], title, place, {"type": "Point", "coordinates": list(site["location"])})


def _air(world: World) -> list[Entity]:
    found = [_site(world, one, "AirQualityObserved") for one in world.air["station"]]
    for source in world.air["source"]:
        entity = _site(world, source, "EmissionSource")
        limits = {f"{name}Limit": unit(value, "GP") for name, value in source["limits"].items()}
        found.append(entity | limits | {"stackHeight": unit(source["stack"]["height_m"], "MTR")})
    return found


def _cameras(world: World) -> list[Entity]:
    rng = random.Random(f"cameras {world.seed}")  # noqa: S311 - a simulation, not a secret
    found = []
    for number, node in enumerate(sorted(rng.sample(sorted(world.streets.at), 80)), 1):
        at = world.streets.at[node]
        place = world.places[world.streets.block[node]]
        title = named(place, "camera", f"CAM-{number:03d}")
        entity = _base("Camera", f"CAM-{number:03d}", title, place, _point(world, (at[0] - 8, at[1] + 8)))
        usage = rng.choice(["SURVEILLANCE", "TRAFFIC"])
        more = {"cameraType": rng.choice(["PTZ", "STATIC"]), "cameraUsage": usage}
        found.append(entity | more | {"heading": unit(rng.randrange(0, 360, 15), "DD")})
    return found


def _gateways(world: World, sensors: Sensors) -> list[Entity]:
    found = []
    for number, name in enumerate(sensors.gateways):
        area = min(2 * number, len(world.places) - 1)
        found.append(_gateway(world, name, "gateway", area, -12.0))
    for name, area in sensors.concentrators.items():
        found.append(_gateway(world, name, "ami", area, -18.0))
    return found


def _gateway(world: World, name: str, thing: str, area: int, shift: float) -> Entity:
    at = world.network.junctions[f"t{area + 1}"].at
    place = world.places[area]
    entity = _base("Device", name, named(place, thing, name), place, _point(world, (at[0] + shift, at[1] + shift)))
    return entity | {"category": "gateway"}
