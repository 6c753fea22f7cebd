"""Reads what the power twin needs of a city's testbed folder: power.toml and three tables. For the twin and worlds."""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """A three-phase line between two nodes; resistance and reactance of its whole length, ohms a phase."""

    id: str
    feeder: str
    start: str
    end: str
    kv: float
    r_ohm: float
    x_ohm: float
    rated_a: float


@dataclass(frozen=True, slots=True)
class Station:
    """A distribution transformer 22.9 kV / 398 V; `rtu` and `slot` (from 0) say who measures it."""

    id: str
    feeder: str
    mv_node: str
    lv_node: str
    kva: float
    rtu: str
    slot: int


@dataclass(frozen=True, slots=True)
class Load:
    """A customer or a station's street lights: mean kW over a year, kW of its solar panels; the meter may be empty."""

    id: str
    node: str
    station: str
    category: str  # res, com, pub or light
    kw: float
    pv_kw: float
    meter: str
    concentrator: str
    import_kwh: float
    export_kwh: float


@dataclass(frozen=True, slots=True)
class PowerConfig:
    """The whole grid. `settings` is power.toml: main, bank, feeder (tables by id), relays, rtu, climate, source."""

    settings: Mapping[str, Any]
    lines: tuple[Line, ...]
    stations: tuple[Station, ...]
    loads: tuple[Load, ...]

    @property
    def feeders(self) -> Mapping[str, Mapping[str, Any]]:
        """By id: `main` (transformer), `line` (first, behind the breaker), `end` (last node), `rated_a`, `relay`."""
        found: Mapping[str, Mapping[str, Any]] = self.settings["feeder"]
        return found

    @property
    def mains(self) -> Mapping[str, Mapping[str, Any]]:
        """Main transformers by id: `node`, `mva`, `uk`, `pk_kw`, `p0_kw`, `i0`, `taps`, `tap_size`, `target_kv`."""
        found: Mapping[str, Mapping[str, Any]] = self.settings["main"]
        return found

    @property
    def banks(self) -> Mapping[str, Mapping[str, Any]]:
        """Capacitor banks by id: `node`, `step_kvar`, `steps`, `on`."""
        found: Mapping[str, Mapping[str, Any]] = self.settings["bank"]
        return found


def load(testbed: Path) -> PowerConfig:
    """Everything of a city's testbed folder."""
    settings = tomllib.loads((testbed / "power.toml").read_text("utf-8"))
    lines = tuple(
        Line(row["line"], row["feeder"], row["from"], row["to"], *_floats(row, "kv", "r_ohm", "x_ohm", "rated_a"))
        for row in _rows(testbed / "power-lines.csv")
    )
    stations = tuple(
        Station(
            row["transformer"],
            row["feeder"],
            row["mv_node"],
            row["lv_node"],
            float(row["kva"]),
            row["rtu"],
            int(row["slot"]),
        )
        for row in _rows(testbed / "power-transformers.csv")
    )
    loads = tuple(_load(row) for row in _rows(testbed / "power-loads.csv"))
    return PowerConfig(settings, lines, stations, loads)


def _load(row: Mapping[str, str]) -> Load:
    kw, pv_kw, imported, exported = _floats(row, "kw", "pv_kw", "import_kwh", "export_kwh")
    words = row["load"], row["node"], row["transformer"], row["category"]
    return Load(*words, kw, pv_kw, row["meter"], row["concentrator"], imported, exported)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _floats(row: Mapping[str, str], *names: str) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in names)
