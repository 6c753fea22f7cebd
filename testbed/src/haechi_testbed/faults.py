"""Labelled disturbances: what goes wrong, where, when, and which alarms it should raise. For runner and score."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from haechi_testbed import twins
from haechi_testbed.clock import format_instant, parse_instant
from haechi_testbed.devices import faults as devices
from haechi_testbed.kinds import Kind


def _gathered() -> Mapping[str, Kind]:
    """Every kind of fault: those of any device and those of each twin's folder."""
    sources = {name: twins.faults(name) for name in twins.names()}
    found = dict(devices.kinds(tuple(rule for one in sources.values() for rule in one.DRIFTS)))
    for name, source in sources.items():
        assert not found.keys() & source.KINDS.keys(), f"twins/{name}/faults.py names a kind that another twin has"
        found |= source.KINDS
    return found


KINDS: Mapping[str, Kind] = _gathered()


@dataclass(frozen=True, slots=True)
class Fault:
    """One labelled disturbance. `entities`: what should show it, URNs; empty means anything."""

    id: str
    kind: str
    target: str
    started_at: int
    ended_at: int | None = None
    severity: float = 1.0
    entities: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line of the ground truth."""
        ended = None if self.ended_at is None else format_instant(self.ended_at)
        return {
            "id": self.id,
            "fault": f"{self.kind}@{self.target}",
            "severity": self.severity,
            "started_at": format_instant(self.started_at),
            "ended_at": ended,
            "entities": list(self.entities),
        }


def from_json(line: Mapping[str, Any]) -> Fault:
    """The fault of one line of ground truth."""
    kind, target = parse_name(str(line["fault"]))
    ended = line.get("ended_at")
    return Fault(
        str(line["id"]),
        kind,
        target,
        parse_instant(str(line["started_at"])),
        None if ended is None else parse_instant(str(ended)),
        float(line.get("severity", 1.0)),
        tuple(line.get("entities", ())),
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """From when to when a run went; None: nobody wrote it down."""

    from_us: int | None = None
    to_us: int | None = None


def read_truth(lines: Iterable[str]) -> tuple[list[Fault], Ran]:
    """The faults of a ground-truth file, and from when to when the run went."""
    found = [json.loads(line) for line in lines if line.strip()]
    runs = [one["run"] for one in found if "run" in one]
    begun = min((parse_instant(str(one["from"])) for one in runs), default=None)
    ended = max((parse_instant(str(one["to"])) for one in runs), default=None)
    return [from_json(one) for one in found if "fault" in one], Ran(begun, ended)


def parse_name(text: str) -> tuple[str, str]:
    """Kind and target of `burst@pipe17`; ValueError names the kinds there are."""
    kind, at, target = text.partition("@")
    if kind not in KINDS or not at or not target:
        raise ValueError(f"{text!r} is no fault; write <kind>@<target> with one of {', '.join(KINDS)}")
    return kind, target


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that will begin at an instant and end after a span (None: when it is told to)."""

    at_us: int
    kind: str
    target: str
    severity: float = 1.0
    for_s: float | None = None


class Board:
    """Which faults are planned, going on and over; the runner asks it at every tick."""

    def __init__(self) -> None:
        """Empty."""
        self.planned: list[Planned] = []
        self.active: dict[str, tuple[Fault, int | None]] = {}
        self.over: list[Fault] = []
        self._count = 0

    def plan(self, planned: Planned) -> None:
        """Adds one fault to come."""
        self.planned.append(planned)
        self.planned.sort(key=lambda one: one.at_us)

    def due(self, now_us: int) -> tuple[list[Planned], list[Fault]]:
        """What begins now and what ends now; both are taken off."""
        begins = [one for one in self.planned if one.at_us <= now_us]
        self.planned = [one for one in self.planned if one.at_us > now_us]
        ends = [fault for fault, end in self.active.values() if end is not None and end <= now_us]
        return begins, ends

    def begin(self, planned: Planned, now_us: int, entities: Iterable[str]) -> Fault:
        """The fault has been applied."""
        self._count += 1
        fault = Fault(
            f"F{self._count:03d}", planned.kind, planned.target, now_us, None, planned.severity, tuple(entities)
        )
        end = None if planned.for_s is None else planned.at_us + int(planned.for_s * 1_000_000)
        self.active[fault.id] = (fault, end)
        return fault

    def end(self, fault: Fault, now_us: int) -> Fault:
        """The fault has been taken away."""
        del self.active[fault.id]
        ended = replace(fault, ended_at=now_us)
        self.over.append(ended)
        return ended

    def all(self) -> list[Fault]:
        """Every fault that began, by its number."""
        return sorted([*self.over, *(fault for fault, _ in self.active.values())], key=lambda one: one.id)
