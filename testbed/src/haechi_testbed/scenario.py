"""Reads a scenario file: when it starts, how long and how fast it runs, and what goes wrong in it. For `cli`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haechi_testbed.clock import SECOND, parse_instant, parse_span
from haechi_testbed.faults import Planned, parse_name

KEYS = {"name", "start", "duration", "seed", "speed", "fault"}
FAULT_KEYS = {"fault", "after", "for", "severity"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. Faults are sorted by when they begin."""

    name: str
    start_us: int
    duration_s: float
    seed: int
    speed: float
    faults: tuple[Planned, ...]


def read(file: Path) -> Scenario:
    """The scenario; ValueError names what is wrong and what to write."""
    values = tomllib.loads(file.read_text("utf-8"))
    _only(values, KEYS, str(file))
    missing = {"start", "duration"} - values.keys()
    if missing:
        raise ValueError(f"{file}: {', '.join(sorted(missing))} is missing; write start = 2026-11-22T00:00:00+09:00")
    start = values["start"]
    start_us = parse_instant(start if isinstance(start, str) else start.isoformat())
    faults = [_fault(one, start_us, f"{file}: fault {index}") for index, one in enumerate(values.get("fault", ()), 1)]
    return Scenario(
        str(values.get("name", file.stem)),
        start_us,
        parse_span(values["duration"]),
        int(values.get("seed", 1)),
        float(values.get("speed", 60)),
        tuple(sorted(faults, key=lambda one: one.at_us)),
    )


def _fault(values: dict[str, Any], start_us: int, where: str) -> Planned:
    _only(values, FAULT_KEYS, where)
    kind, target = parse_name(str(values.get("fault", "")))
    after_s = parse_span(values.get("after", "0s"))
    for_s = parse_span(values["for"]) if "for" in values else None
    return Planned(start_us + int(after_s * SECOND), kind, target, float(values.get("severity", 1.0)), for_s)


def _only(values: dict[str, Any], known: set[str], where: str) -> None:
    unknown = values.keys() - known
    if unknown:
        raise ValueError(f"{where}: {', '.join(sorted(unknown))} is no setting; there are {', '.join(sorted(known))}")
