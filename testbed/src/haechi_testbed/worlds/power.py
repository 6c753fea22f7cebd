"""Electricity of a generated city: what its twin reads, its facilities and its links. A trade of `worlds.gimpo`."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from haechi_testbed.worlds import power_grid, power_links
from haechi_testbed.worlds.facilities import Entity, unit, urn
from haechi_testbed.worlds.names import named
from haechi_testbed.worlds.power_grid import Plan, PowerNet
from haechi_testbed.worlds.power_links import ENERGY_LINK, POWER_LINK
from haechi_testbed.worlds.trade import Trade

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

FEEDERS = {f"DL-{number + 1:02d}": (2 * number, 2 * number + 1) for number in range(6)}
MAINS = {"MTR-1": "bar-1", "MTR-2": "bar-2"}
BANKS = {"SC-1": "bar-1", "SC-2": "bar-2"}
NORMAL_A = 252.0  # 10 MVA at 22.9 kV: what a feeder carries in normal operation; in an emergency 14 MVA
PER_AREA, METERED = 11, 8
PLAN = Plan((150.0, -1500.0), FEEDERS, {}, PER_AREA, METERED)
PLACE = "janggi"  # where the substation stands


def build(world: World) -> Trade:
    """Everything, from a seed of its own."""
    rng = random.Random(f"power {world.seed}")  # noqa: S311 - a simulation, not a secret
    bars = {feeder: f"bar-{1 + (number >= 3)}" for number, feeder in enumerate(FEEDERS)}
    plan = Plan(PLAN.substation, PLAN.feeders, bars, PER_AREA, METERED)
    crossings = {name: node for node, name in world.network.at_node.items()}
    net = power_grid.build(world.streets, plan, world.network.meters, crossings, rng)
    entities = {
        "power-grid": [*_substation(world), *_feeders(world, net), *_stations(world, net), *_lines(world, net)],
        "power-devices": _devices(world),
        "energy-meters": _meters(world, net),
    }
    modbus = power_links.modbus(_units(), tuple(MAINS), tuple(BANKS), PER_AREA)
    links = {POWER_LINK: modbus, ENERGY_LINK: power_links.METERS}
    return Trade(("power", "energy"), _testbed(net, bars), entities, links, _rows(net))


# --- for the twin -----------------------------------------------------------------------------------------------------


def _testbed(net: PowerNet, bars: dict[str, str]) -> dict[str, str]:
    lines = [*(one.line for one in net.segments), *net.low]
    columns = ("line", "feeder", "from", "to", "kv", "r_ohm", "x_ohm", "rated_a")
    wires = [(one.id, one.feeder, one.start, one.end, one.kv, one.r_ohm, one.x_ohm, one.rated_a) for one in lines]
    stations = [
        (one.id, one.feeder, one.mv_node, one.lv_node, f"{one.kva:g}", one.rtu, one.slot)
        for one in (site.station for site in net.sites)
    ]
    loads = [
        (one.id, one.node, one.station, one.category, one.kw, one.pv_kw, one.meter, one.concentrator, *counted)
        for one in (*(customer.load for customer in net.customers), *net.lights)
        for counted in [(one.import_kwh, one.export_kwh)]
    ]
    named_loads = ("load", "node", "transformer", "category", "kw", "pv_kw")
    metered = ("meter", "concentrator", "import_kwh", "export_kwh")
    return {
        "power.toml": _settings(net, bars),
        "power-lines.csv": _csv([columns, *wires]),
        "power-transformers.csv": _csv(
            [("transformer", "feeder", "mv_node", "lv_node", "kva", "rtu", "slot"), *stations]
        ),
        "power-loads.csv": _csv([(*named_loads, *metered), *loads]),
    }


def _csv(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


HEAD = """\
# The electric network beside its tables (power-lines.csv, power-transformers.csv, power-loads.csv).
utc_offset_h = 9.0

[climate]                                # of Gimpo, for loads, panels and oil
latitude = 37.65
mean_c = 12.5
season_c = 14.0
daily_c = 4.5

[source]                                 # the 154 kV grid
u_ref = 1.0
short_circuit_mva = 5000.0
rx = 0.1
"""


def _settings(net: PowerNet, bars: dict[str, str]) -> str:
    main = "mva = 45.0, uk = 0.145, pk_kw = 190.0, p0_kw = 28.0, i0 = 0.002, taps = 8, tap_size = 0.0125"
    held = "target_kv = 22.9, target_range = [21.8, 23.8]"
    lines = [HEAD, "[main]                                   # 154 / 22.9 kV, tap changer on the 154 kV side"]
    lines += [f'{name} = {{ node = "{bar}", {main}, {held} }}' for name, bar in MAINS.items()]
    lines += ["", "[bank]                                   # capacitors at the bars"]
    lines += [f'{name} = {{ node = "{bar}", step_kvar = 900.0, steps = 4, on = 1 }}' for name, bar in BANKS.items()]
    lines += ["", "[feeder]                                 # its first line lies behind the breaker"]
    for number, feeder in enumerate(FEEDERS):
        main_of = next(name for name, bar in MAINS.items() if bar == bars[feeder])
        of = f'main = "{main_of}", line = "{net.heads[feeder]}", end = "{net.ends[feeder]}", rated_a = {NORMAL_A}'
        lines.append(f'{feeder} = {{ {of}, relay = "RLY-{number + 1:02d}" }}')
    lines += ["", "[unit]                                   # Modbus units behind the substation's gateway"]
    lines += [f"{name} = {number}" for name, number in _units().items()]
    return "\n".join(lines) + "\n"


def _units() -> dict[str, int]:
    """The relays', RTUs' and the substation's unit numbers."""
    relays = {f"RLY-{number + 1:02d}": 11 + number for number in range(len(FEEDERS))}
    rtus = {f"FRTU-{area + 1:02d}": 31 + area for area in range(2 * len(FEEDERS))}
    return {"SUB-RTU": 1, **relays, **rtus}


# --- facilities -------------------------------------------------------------------------------------------------------


def _base(world: World, kind: str, name: str, title: tuple[str, str], at: tuple[float, float]) -> Entity:
    """`title`: the place and what it is."""
    place, thing = title
    location = {"type": "Point", "coordinates": world.frame.to_lonlat(at)}
    return {
        "id": urn(kind, name),
        "type": kind,
        "scope": f"/gimpo/{place}",
        "name": named(place, thing, name),
        "location": location,
    }


def _substation(world: World) -> list[Entity]:
    at = PLAN.substation
    found = [_base(world, "Substation", "SS-1", (PLACE, "substation"), at) | {"nominalVoltage": unit(154, "KVT")}]
    of = {"refSubstation": {"object": urn("Substation", "SS-1")}}
    for number, name in enumerate(MAINS):
        one = _base(world, "PowerTransformer", name, (PLACE, "main"), (at[0] - 15 + 30 * number, at[1] + 12))
        one |= {"ratedPower": unit(45_000, "KVA"), "primaryVoltage": unit(154, "KVT")}
        found.append(one | {"secondaryVoltage": unit(22.9, "KVT"), "mounting": "substation"} | of)
    for number, name in enumerate(BANKS):
        one = _base(world, "LinearShuntCompensator", name, (PLACE, "bank"), (at[0] - 15 + 30 * number, at[1] - 12))
        found.append(one | {"stepPower": unit(900, "KVR"), "maximumSteps": 4} | of)
    return found


def _feeders(world: World, net: PowerNet) -> list[Entity]:
    found = []
    for number, (name, areas) in enumerate(FEEDERS.items()):
        at = (PLAN.substation[0] - 30 + 12 * number, PLAN.substation[1] + 25)
        served = {"languageMap": {one: _served(world, areas, one) for one in ("ko", "zh", "en")}}
        one = _base(world, "Feeder", name, (PLACE, "feeder"), at)
        one |= {"ratedCurrent": unit(NORMAL_A, "AMP"), "nominalVoltage": unit(22.9, "KVT"), "description": served}
        main = "MTR-1" if number < 3 else "MTR-2"
        found.append(one | {"refTransformer": {"object": urn("PowerTransformer", main)}})
    return found


def _served(world: World, areas: Iterable[int], language: str) -> str:
    places = dict.fromkeys(world.places[area] for area in areas)
    return ", ".join(named(place, "feeder")["languageMap"][language].rpartition(" ")[0] for place in places)


def _stations(world: World, net: PowerNet) -> list[Entity]:
    found = []
    for site in net.sites:
        one = site.station
        entity = _base(world, "PowerTransformer", one.id, (world.places[site.area], "transformer"), site.at)
        entity |= {"ratedPower": unit(one.kva, "KVA"), "primaryVoltage": unit(22.9, "KVT")}
        entity |= {"secondaryVoltage": unit(0.4, "KVT"), "mounting": "pole" if one.kva <= 150 else "pad"}
        found.append(entity | {"refFeeder": {"object": urn("Feeder", one.feeder)}})
    return found


def _lines(world: World, net: PowerNet) -> list[Entity]:
    found = []
    area_of = {one.station.mv_node: one.area for one in net.sites}
    for segment in net.segments:
        line = segment.line
        place = world.places[area_of.get(line.end, FEEDERS[line.feeder][0])]
        entity = _base(world, "ACLineSegment", line.id, (place, "line"), segment.path[0])
        entity["location"] = {"type": "LineString", "coordinates": [world.frame.to_lonlat(at) for at in segment.path]}
        entity |= {"length": unit(segment.length_m, "MTR"), "conductor": segment.conductor}
        entity |= {"ratedCurrent": unit(line.rated_a, "AMP"), "nominalVoltage": unit(22.9, "KVT")}
        found.append(entity | {"refFeeder": {"object": urn("Feeder", line.feeder)}})
    return found


def _devices(world: World) -> list[Entity]:
    found, at = [], PLAN.substation
    for number, name in enumerate(_units()):
        area = int(name[-2:]) - 1 if name.startswith("FRTU") else -1
        thing = {"SUB": "rtu", "RLY": "relay", "FRT": "rtu"}[name[:3]]
        place, where = (PLACE, (at[0] + 6 * number - 30, at[1] + 35)) if area < 0 else _corner(world, area, -24.0)
        found.append(_base(world, "Device", name, (place, thing), where) | {"category": "gateway"})
    for area in range(len(world.places)):
        name = f"DCU-{area + 1:02d}"
        place, where = _corner(world, area, -30.0)
        found.append(_base(world, "Device", name, (place, "dcu"), where) | {"category": "gateway"})
    return found


def _corner(world: World, area: int, shift: float) -> tuple[str, tuple[float, float]]:
    at = world.network.junctions[f"t{area + 1}"].at
    return world.places[area], (at[0] + shift, at[1] + shift)


def _meters(world: World, net: PowerNet) -> list[Entity]:
    found = []
    feeders = {one.station.id: one.station.feeder for one in net.sites}
    for customer in net.customers:
        load = customer.load
        if not load.meter:
            continue
        at = (customer.at[0] + 3, customer.at[1] + 3)
        one = _base(world, "ACMeasurement", load.meter, (world.places[customer.area], "smart_meter"), at)
        one |= {"contractPower": unit(customer.contract_kw, "KWT"), "use": load.category}
        one |= {"solarPower": unit(load.pv_kw, "KWT")} if load.pv_kw else {}
        one |= {"refTransformer": {"object": urn("PowerTransformer", load.station)}}
        found.append(one | {"refFeeder": {"object": urn("Feeder", feeders[load.station])}})
    return found


def _rows(net: PowerNet) -> list[tuple[str, str, str, str]]:
    rows = [(f"RLY-{number + 1:02d}", "", POWER_LINK, urn("Feeder", feeder)) for number, feeder in enumerate(FEEDERS)]
    rows += [("SUB-RTU", name, POWER_LINK, urn("PowerTransformer", name)) for name in MAINS]
    rows += [("SUB-RTU", name, POWER_LINK, urn("LinearShuntCompensator", name)) for name in BANKS]
    for one in (site.station for site in net.sites):
        rows.append((one.rtu, f"T{one.slot + 1:02d}", POWER_LINK, urn("PowerTransformer", one.id)))
    metered = [one.load for one in net.customers if one.load.meter]
    return rows + [(one.concentrator, one.meter, ENERGY_LINK, urn("ACMeasurement", one.meter)) for one in metered]
