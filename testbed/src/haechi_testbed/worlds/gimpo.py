"""Generates `cities/gimpo`: a simulated district laid over Gimpo's real frame. Used by `haechi-testbed world`.

Everything except place names and the frame is invented; one seed gives one city, byte for byte.
"""

import math
import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haechi_testbed.worlds import basemap, facilities, inp, power, settings, traffic_city
from haechi_testbed.worlds.network import Network, Plan, Tank, build
from haechi_testbed.worlds.streets import Frame, Point, Streets, lay
from haechi_testbed.worlds.trade import Trade

SEED = 26
FRAME = Frame(126.66, 37.645)
PLACES = ("gurae",) * 2 + ("masan",) * 2 + ("janggibon",) * 3 + ("janggi",) * 2 + ("unyang",) * 3
CENTRES: tuple[Point, ...] = (
    (-3150, -350), (-2750, 550), (-2050, -900), (-1150, -500), (-150, 250), (200, 1150),
    (700, 300), (700, -1050), (1650, -750), (1700, 700), (2600, 300), (2650, 1250),
)  # fmt: skip
TRUNK = (
    (11, 9, 500), (11, 10, 400), (9, 6, 400), (10, 8, 300), (8, 7, 300), (6, 4, 400), (6, 5, 300), (5, 4, 300),
    (7, 3, 300), (4, 3, 400), (3, 2, 300), (2, 0, 300), (0, 1, 250), (3, 1, 300), (7, 4, 250),
)  # fmt: skip
TANKS = (
    Tank("tank1", (1150.0, 1750.0), 50.0, 24.0, 0.5, 6.0, 4.0, 5),
    Tank("tank2", (-1900.0, -1750.0), 50.0, 20.0, 0.5, 6.0, 4.0, 2),
)


@dataclass(frozen=True, slots=True)
class World:
    """All that is generated, before it is written."""

    frame: Frame
    streets: Streets
    network: Network
    places: tuple[str, ...]  # place of each district
    air: Mapping[str, Any]
    seed: int


TRADES: tuple[Callable[[World], Trade], ...] = (power.build, traffic_city.build)
"""What the city has beside water, air and cameras: each is made from the world alone, with a seed of its own."""


def elevation(at: Point) -> float:
    """Metres above the sea: two low hills on flat land that rises a little to the west."""
    east, north = at
    west_hill = 9 * math.exp(-((east + 2200) ** 2 + (north - 200) ** 2) / 9e5)
    mid_hill = 7 * math.exp(-((east - 900) ** 2 + (north + 300) ** 2) / 7e5)
    return 6 + west_hill + mid_hill + 0.0006 * max(0.0, -east)


def generate(air: Mapping[str, Any], seed: int = SEED) -> World:
    """The world of a seed; `air` is the city's testbed/air.toml, whose sites become facilities."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    streets = lay(CENTRES, 180.0, 640.0, 17.0, rng)
    plan = Plan(CENTRES, TRUNK, (3700.0, 1550.0), 8.0, 11, (165.0, 58.0), TANKS, elevation)
    return World(FRAME, streets, build(streets, plan, rng), PLACES, air, seed)


def write(out: Path, seed: int = SEED) -> dict[str, int]:
    """Writes the whole package below `out` (which holds testbed/air.toml already); returns how many of each type."""
    air = tomllib.loads((out / "testbed" / "air.toml").read_text("utf-8"))
    world = generate(air, seed)
    texts: dict[str, str] = {"testbed/water.inp": inp.write(world.network, "Simulated water network over Gimpo")}
    sensors = facilities.place_sensors(world)
    texts |= settings.testbed_files(world, sensors)
    _write(out, texts)
    bounds = settings.normal_bounds(out / "testbed")
    trades = [make(world) for make in TRADES]
    entities = facilities.all_entities(world, sensors, bounds)
    for trade in trades:
        entities |= {name: list(members) for name, members in trade.entities.items()}
    texts = {f"facilities/{name}.ndjson": facilities.ndjson(members) for name, members in entities.items()}
    texts |= {f"testbed/{name}": text for trade in trades for name, text in trade.testbed.items()}
    texts |= settings.city_files(world, sensors, trades) | basemap.layers(world)
    _write(out, texts)
    counts: dict[str, int] = {}
    for members in entities.values():
        for one in members:
            counts[one["type"]] = counts.get(one["type"], 0) + 1
    return counts


def _write(out: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, "utf-8", newline="\n")
