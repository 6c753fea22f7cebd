"""What `testbed/air.toml` of a city says: sites, stacks, background, factor codes. Used by the twin and the runner."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLLUTANTS = ("PM2.5", "PM10", "SO2", "NO2", "NOx", "CO")
METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor code of HJ 212 as an instrument sends it."""

    code: str
    quantity: str  # as the twin names it
    attribute: str  # of the entity
    unit: str  # UN/CEFACT, on the wire
    decimals: int


@dataclass(frozen=True, slots=True)
class Site:
    """A station, a stack or a weather station; x east and y north of the origin in metres."""

    id: str
    mn: str
    st: str
    entity: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Stack:
    """A source: where it is and what leaves it in normal operation, grams a second in the order of POLLUTANTS."""

    site: Site
    height_m: float
    diameter_m: float
    exit_speed_m_s: float
    exit_k: float
    emission_g_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Wind:
    """The wind as a random walk around a mean; direction is where it comes from."""

    speed_m_s: float
    direction_deg: float
    speed_spread: float
    direction_spread_deg: float
    memory_s: float


@dataclass(frozen=True, slots=True)
class AirConfig:
    """The whole file. `factors` by kind: station, source, weather."""

    stations: tuple[Site, ...]
    stacks: tuple[Stack, ...]
    weather: tuple[Site, ...]
    wind: Wind
    background: Mapping[str, float]  # µg/m3, daily means
    factors: Mapping[str, tuple[Factor, ...]]
    utc_offset_h: float
    day_of_year: int
    puff_interval_s: float
    puff_life_s: float

    def sites(self) -> dict[str, tuple[str, Site]]:
        """Every site with its kind, by id."""
        found = {one.id: ("station", one) for one in self.stations}
        found |= {one.site.id: ("source", one.site) for one in self.stacks}
        return found | {one.id: ("weather", one) for one in self.weather}


def load(path: Path) -> AirConfig:
    """Reads air.toml; ValueError names what is missing."""
    try:
        return _config(tomllib.loads(path.read_text("utf-8")))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error} is missing or wrong; the format is in twins/air/README.md") from error


def _config(given: Mapping[str, Any]) -> AirConfig:
    model = given["model"]
    origin = (float(model["origin"][0]), float(model["origin"][1]))
    return AirConfig(
        stations=tuple(_site(one, origin) for one in given["station"]),
        stacks=tuple(_stack(one, origin) for one in given["source"]),
        weather=tuple(_site(one, origin) for one in given["weather"]),
        wind=Wind(**model["wind"]),
        background={name: float(value) for name, value in model["background"].items()},
        factors={kind: _factors(members) for kind, members in given["factors"].items()},
        utc_offset_h=float(model["utc_offset_h"]),
        day_of_year=int(model["start_day_of_year"]),
        puff_interval_s=float(model["puff_interval_s"]),
        puff_life_s=float(model["puff_life_s"]),
    )


def _factors(members: Mapping[str, Mapping[str, Any]]) -> tuple[Factor, ...]:
    return tuple(Factor(code, **one) for code, one in members.items())


def _site(one: Mapping[str, Any], origin: tuple[float, float]) -> Site:
    lon, lat = one["location"]
    x = (lon - origin[0]) * METRES_PER_DEGREE * math.cos(math.radians(origin[1]))
    return Site(one["id"], one["mn"], one["st"], one["entity"], x, (lat - origin[1]) * METRES_PER_DEGREE)


def _stack(one: Mapping[str, Any], origin: tuple[float, float]) -> Stack:
    stack, emission = one["stack"], one["emission_g_s"]
    return Stack(
        _site(one, origin),
        float(stack["height_m"]),
        float(stack["diameter_m"]),
        float(stack["exit_speed_m_s"]),
        float(stack["exit_temperature_k"]),
        tuple(float(emission.get(name, 0.0)) for name in POLLUTANTS),
    )
