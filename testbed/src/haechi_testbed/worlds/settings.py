"""A generated world's settings: city.toml, links, devices.csv for the platform, water.toml, meters.csv for the twin."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haechi_testbed.twins.water.config import load
from haechi_testbed.twins.water.twin import WaterTwin
from haechi_testbed.worlds.facilities import Bounds, Sensors, urn
from haechi_testbed.worlds.inp import pattern_id
from haechi_testbed.worlds.trade import Trade

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

WATER_LINK, AIR_LINK = "water-mqtt", "air-hj212"
KINDS = {"tank": "Tank", "pump": "Pump", "WP-": "WaterPressureSensor", "WF-": "WaterFlowMeter"}
NORMAL_DAYS = 3
DOMAINS = ("water", "air", "weather", "safety", "platform")
CITY_TOML = """\
# Simulated: the place names and the frame are Gimpo's, every facility is generated (haechi-testbed world gimpo).
id = "gimpo"
name = { ko = "김포시", zh = "金浦市", en = "Gimpo" }
country = "KR"
time_zone = "Asia/Seoul"
languages = ["ko", "zh", "en"]
domains = [DOMAINS]
simulated = true
frame = { west = 126.52, south = 37.57, east = 126.82, north = 37.76, srid = 4326 }
centre = [126.662, 37.647]
zoom = 13.0
"""
LAYERS = (
    ("land", "land"), ("water", "water"), ("boundary", "boundary"),
    ("building", "building"), ("roads", "road"), ("labels", "label"),
)  # fmt: skip
WATER_TOML = """\
# Telemetry of the water network: gateways publish each instrument on city/<gateway>/<instrument> or several in one
# payload ("samples", each with its "id"); concentrators of remote meters send all their meters so, once an hour.
adapter = "mqtt"
codec = "json"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = 1883
topic = "city/{device}/{channel}"
subscribe = ["city/{device}/commands/#"]

[codec_settings]
time = "ts"
samples = "samples"
channel = "id"

[[map]]
field = "pressure"
attribute = "pressure"
unit = "BAR"
types = ["WaterPressureSensor"]

[[map]]
field = "flow"
attribute = "flow"
unit = "G51"
types = ["WaterFlowMeter", "Pump"]

[[map]]
field = "level"
attribute = "level"
unit = "MTR"
types = ["Tank"]

[[map]]
field = "power"
attribute = "power"
unit = "KWT"
types = ["Pump"]

[[map]]
field = "running"
attribute = "running"
types = ["Pump"]

[[map]]
field = "commanded"
attribute = "commanded"
types = ["Pump"]

[[map]]
field = "volume"
attribute = "waterConsumption"
unit = "MTQ"
types = ["WaterConsumptionObserved"]
"""
AIR_HEAD = """\
# Air stations, stacks and weather stations over HJ 212-2017: what each factor code means comes from testbed/air.toml.
adapter = "hj212"
codec = "hj212"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = 8212

[codec_settings]
time_zone = "Asia/Seoul"
"""


def testbed_files(world: World, sensors: Sensors) -> dict[str, str]:
    """What the water twin reads beside the network file."""
    lines = [
        "# What the water twin shows and how its pumps are run; ids of nodes and links are those of water.inp.",
        "slice_s = 30                             # longest hydraulic step",
        "demand_spread = 0.03                     # slow random walk of a district's demand, standard deviation",
        "demand_memory_s = 1200",
        "utc_offset_h = 9.0",
        "",
        "[pumps]",
        "pump1 = { on = true, ramp_s = 1800 }       # its drive takes that long from standstill to full speed",
        'pump2 = { on = false, tank = "tank2", start_below = 2.6, stop_above = 4.6, ramp_s = 1800 }',
        "",
        "[tanks]",
        *(f'{tank.id} = {{ node = "{tank.id}" }}' for tank in world.network.plan.tanks),
        "",
        "[flow]",
        *(
            f'{name} = {{ link = "{world.network.inlets[area]}", area = "D{area + 1:02d}" }}'
            for name, area in sensors.flow.items()
        ),
        "",
        "[pressure]",
        *(
            f'{name} = {{ node = "{node}", area = "D{sensors.area_of[name] + 1:02d}" }}'
            for name, node in sensors.pressure.items()
        ),
        "",
        "[gateways]                               # what each carries",
        *(f"{name} = {_list(carried)}" for name, carried in sensors.gateways.items()),
    ]
    rows: list[tuple[str, ...]] = [("meter", "concentrator", "pattern", "demand_l_s", "volume_m3")]
    concentrators = {area: name for name, area in sensors.concentrators.items()}
    for meter in world.network.meters:
        area = world.network.junctions[meter.junction].area
        pattern = pattern_id(meter.category, area)
        rows.append((meter.id, concentrators[area], pattern, f"{meter.demand:.5f}", f"{meter.volume:.3f}"))
    return {"testbed/water.toml": "\n".join(lines) + "\n", "testbed/meters.csv": _csv(rows)}


def _list(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _csv(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def normal_bounds(testbed: Path) -> Bounds:
    """Lowest and highest of every instrument over undisturbed days, night flow from 01:00 to 04:30 apart."""
    twin = WaterTwin(testbed / "water.inp", load(testbed), 1, 0.0)
    found: dict[str, dict[str, float]] = {}
    for minute in range(NORMAL_DAYS * 1440):
        twin.step(60)
        night = 60 <= (minute + 1) % 1440 <= 270
        for name, values in twin.observe().items():
            value = float(values.get("pressure", values.get("flow", values.get("level", 0.0))))
            one = found.setdefault(name, {"low": value, "high": value, "night_high": 0.0})
            one["low"], one["high"] = min(one["low"], value), max(one["high"], value)
            one["night_high"] = max(one["night_high"], value if night else 0.0)
    twin.close()
    return {name: _rounded(name, one) for name, one in found.items()}


def _rounded(name: str, bounds: Mapping[str, float]) -> dict[str, float]:
    digits = 1 if name.startswith("tank") else 0
    return {key: round(value, digits) for key, value in bounds.items()}


def city_files(world: World, sensors: Sensors, trades: Sequence[Trade]) -> dict[str, str]:
    """city.toml, links and devices.csv."""
    domains = (*DOMAINS, *(domain for trade in trades for domain in trade.domains))
    city = CITY_TOML.replace("DOMAINS", ", ".join(f'"{domain}"' for domain in domains))
    rows = [*_devices(world, sensors), *(row for trade in trades for row in trade.devices)]
    for name, role in LAYERS:
        city += f'\n[[map]]\nid = "{name}"\nfile = "map/{name}.geojson"\nrole = "{role}"\nsynthetic = true\n'
        city += 'attribution = "Haechi testbed, simulated"\n'
    return {
        "city.toml": city,
        f"links/{WATER_LINK}.toml": WATER_TOML,
        f"links/{AIR_LINK}.toml": AIR_HEAD + _air_maps(world.air["factors"]),
        "devices.csv": _csv([("device", "channel", "link", "entity"), *rows]),
    } | {f"links/{name}.toml": text for trade in trades for name, text in trade.links.items()}


def _air_maps(factors: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    kinds = {"station": "AirQualityObserved", "source": "EmissionSource", "weather": "WeatherObserved"}
    text = ""
    for group, members in factors.items():
        for code, one in members.items():
            text += f'\n[[map]]\nfield = "{code}-Rtd"\nattribute = "{one["attribute"]}"\n'
            text += f'unit = "{one["unit"]}"\ntypes = ["{kinds[group]}"]\n'
    return text


def _devices(world: World, sensors: Sensors) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for gateway, carried in sensors.gateways.items():
        for name in carried:
            kind = next(kind for prefix, kind in KINDS.items() if name.startswith(prefix))
            rows.append((gateway, name, WATER_LINK, urn(kind, name)))
    concentrators = {area: name for name, area in sensors.concentrators.items()}
    for meter in world.network.meters:
        device = concentrators[world.network.junctions[meter.junction].area]
        rows.append((device, meter.id, WATER_LINK, urn("WaterConsumptionObserved", meter.id)))
    for site in (*world.air["station"], *world.air["source"], *world.air["weather"]):
        rows.append((site["mn"], "", AIR_LINK, site["entity"]))
    return rows
