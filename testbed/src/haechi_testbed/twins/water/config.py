"""Reads what the water twin needs from a city's testbed folder, water.toml and meters.csv. For runner and worlds."""

import csv
import tomllib
from pathlib import Path
from typing import Any


def load(testbed: Path) -> dict[str, Any]:
    """The configuration with `meters`: id -> concentrator, pattern, demand (litres a second), volume (m3)."""
    config = tomllib.loads((testbed / "water.toml").read_text("utf-8"))
    with (testbed / "meters.csv").open(encoding="utf-8", newline="") as lines:
        config["meters"] = {
            row["meter"]: {
                "concentrator": row["concentrator"],
                "pattern": row["pattern"],
                "demand": float(row["demand_l_s"]),
                "volume": float(row["volume_m3"]),
            }
            for row in csv.DictReader(lines)
        }
    return config
