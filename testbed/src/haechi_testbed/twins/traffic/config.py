"""What `testbed/traffic.toml` and `traffic-turns.csv` of a city say: roads, signals, detectors. For twin and part."""

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haechi_testbed.twins.traffic.demand import PURPOSES


@dataclass(frozen=True, slots=True)
class Road:
    """One direction between two junctions. Metres, metres a second."""

    id: str
    start: str
    end: str
    length: float
    lanes: int
    speed: float


@dataclass(frozen=True, slots=True)
class Turn:
    """Vehicles an hour at the peak of each purpose from one road into another; a zone is written `@<junction>`."""

    source: str
    target: str
    flows: tuple[float, ...]  # in the order of PURPOSES


@dataclass(frozen=True, slots=True)
class Signal:
    """A controller: the roads of each stage and, by plan, the share of each stage of the green and the offset."""

    id: str
    junction: str
    stages: tuple[tuple[str, ...], ...]
    shares: Mapping[int, tuple[float, ...]]
    offsets: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Detector:
    """A loop across all lanes of a road, at a share of its length from its start."""

    id: str
    road: str
    at: float


@dataclass(frozen=True, slots=True)
class Model:
    """Numbers of the model. Flows an hour and lane, densities a kilometre and lane; `loop_m` is vehicle plus loop."""

    utc_offset_h: float
    slice_s: float
    period_s: float
    saturation_h: float
    jam_km: float
    loop_m: float
    capacity_drop: float
    lost_s: float
    spread: tuple[float, float]
    memory_s: float


@dataclass(frozen=True, slots=True)
class TrafficConfig:
    """Everything. `cycles` by plan in seconds; `workday` and `day_off`: the plan of each hour."""

    model: Model
    roads: Mapping[str, Road]
    turns: Sequence[Turn]
    signals: Mapping[str, Signal]
    detectors: Mapping[str, Detector]
    stations: Mapping[str, tuple[str, str]]  # road -> its detectors up and down the road
    gateways: Mapping[str, tuple[str, ...]]  # gateway -> the stations it speaks for
    cycles: Mapping[int, float]
    workday: tuple[int, ...]
    day_off: tuple[int, ...]


def load(testbed: Path) -> TrafficConfig:
    """Reads both files; ValueError names what is missing."""
    file = testbed / "traffic.toml"
    try:
        with (testbed / "traffic-turns.csv").open(encoding="utf-8", newline="") as lines:
            turns = tuple(
                Turn(row["from"], row["to"], tuple(float(row[one]) for one in PURPOSES))
                for row in csv.DictReader(lines)
            )
        return _config(tomllib.loads(file.read_text("utf-8")), turns)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: {error} is missing or wrong; see twins/traffic/README.md") from error


def _config(given: Mapping[str, Any], turns: Sequence[Turn]) -> TrafficConfig:
    model = {**given["model"], "spread": tuple(given["model"]["spread"])}
    roads = {
        name: Road(
            name, one["from"], one["to"], float(one["length"]), int(one["lanes"]), float(one["speed_km_h"]) / 3.6
        )
        for name, one in given["roads"].items()
    }
    stations = {name: (one["up"], one["down"]) for name, one in given["stations"].items()}
    return TrafficConfig(
        Model(**model),
        roads,
        turns,
        {name: _signal(name, one) for name, one in given["signals"].items()},
        {name: Detector(name, one["road"], float(one["at"])) for name, one in given["detectors"].items()},
        stations,
        {name: tuple(members) for name, members in given["gateways"].items()},
        {int(number): float(cycle) for number, cycle in given["plans"]["cycles"].items()},
        tuple(given["plans"]["workday"]),
        tuple(given["plans"]["day_off"]),
    )


def _signal(name: str, one: Mapping[str, Any]) -> Signal:
    return Signal(
        name,
        one["junction"],
        tuple(tuple(stage) for stage in one["stages"]),
        {number: tuple(shares) for number, shares in enumerate(one["shares"], 1)},
        {number: float(offset) for number, offset in enumerate(one["offsets"], 1)},
    )
