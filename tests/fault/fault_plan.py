"""What a seed means: which devices send what and when, and which faults happen. Pure; used by the fault runs.

The same seed is the same plan on every machine; `describe` prints it for whoever has to repeat a failure.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fault_kinds import Fault, faults_of

LIMIT, NORMAL_MOST, HIGH_LEAST = 900.0, 500, 950  # the rule's threshold, and values far from it on both sides
BEFORE_MS = 900_000  # observations begin that long before the run: none is ever ahead of the platform's clock
LATE_MS = 2 * 86_400_000  # late ones are two days old: history keeps them, context and alarms must not care
DOORS = dict.fromkeys(("P-1", "P-2", "P-3", "P-4"), "mqtt") | dict.fromkeys(("P-5", "P-6"), "push") | {"A-1": "hj212"}
DEVICES = {
    "P-1": "RTU-1", "P-2": "RTU-1", "P-3": "RTU-3", "P-4": "RTU-3", "P-5": "RTU-2", "P-6": "RTU-2", "A-1": "ENV-1",
}  # fmt: skip
CONNECTIONS = {
    "P-1": ("a",), "P-2": ("b",), "P-3": ("c",), "P-4": ("c", "d"), "P-5": ("e",), "P-6": ("f",), "A-1": ("g",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Send:
    """One message of a device. `shape`: whole, malformed, half, wrong_secret; a late one is whole and old."""

    at_ms: int  # since the run began
    connection: str
    series: str
    offset_ms: int  # of the observation, to the run's beginning
    value: float
    shape: str = "whole"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `alarms`: how many transitions each series' one alarm makes (0: it raises none)."""

    seed: int
    burst_ms: int
    sends: tuple[Send, ...]
    faults: tuple[Fault, ...]
    alarms: tuple[tuple[str, int], ...]
    notes_ms: tuple[int, ...]  # when the operator writes a note into the incident
    setpoints_ms: tuple[int, ...] = ()  # when the operator asks the PLC for a value
    durability: str = "disk"

    def has(self, target: str) -> bool:
        """Whether a fault wants this: "disk", "clock"."""
        return any(one.target == target for one in self.faults)


BURST_MS = 9_000


def plan_of(seed: int, burst_ms: int = BURST_MS, most_a_series: int = 250) -> Plan:
    """The plan of a seed."""
    rng = random.Random(seed)
    sends: list[Send] = []
    alarms = []
    for series, door in DOORS.items():
        transitions = rng.choice((0, 1, 2)) if len(CONNECTIONS[series]) == 1 else rng.choice((0, 1))
        transitions = transitions if door != "hj212" else 0  # no rule is about it
        most = most_a_series if door == "mqtt" else most_a_series // 4
        sends += _series(rng, series, transitions, rng.randint(most // 2, most), burst_ms)
        alarms.append((series, transitions))
    notes = tuple(sorted(rng.randrange(burst_ms) for _ in range(rng.randint(4, 8))))
    asked = tuple(sorted(rng.randrange(burst_ms) for _ in range(rng.randint(3, 6))))
    faults = faults_of(rng, burst_ms)
    lazy = rng.random() < 0.25 and not any(one.kind in ("unplug", "read_only") for one in faults)
    return Plan(seed, burst_ms, tuple(sorted(sends)), faults, tuple(alarms), notes, asked, "os" if lazy else "disk")


def without_faults(plan: Plan) -> Plan:
    """The same messages on a quiet day."""
    return replace(plan, faults=())


def _series(rng: random.Random, series: str, transitions: int, count: int, burst_ms: int) -> list[Send]:
    """Rises over the limit at a third of the way and, with two transitions, returns at two thirds."""
    high = range(count // 3 if transitions else count, 2 * count // 3 if transitions == 2 else count)
    sends = []
    for index, at_ms in enumerate(sorted(rng.randrange(burst_ms) for _ in range(count))):
        value = float(rng.randint(HIGH_LEAST, 1500) if index in high else rng.randint(200, NORMAL_MOST))
        connection = rng.choice(CONNECTIONS[series])
        sends.append(Send(at_ms, connection, series, index * 1000 - BEFORE_MS, value))
    return [one for send in _reordered(rng, sends) for one in _disturbed(rng, send)]


def _reordered(rng: random.Random, sends: Sequence[Send]) -> list[Send]:
    """Now and then two neighbours come the other way round; the phases of a series are longer than that by far."""
    mixed = list(sends)
    for index in range(1, len(mixed) - 1, 2):
        if rng.random() < 0.15:
            first, second = mixed[index], mixed[index + 1]
            mixed[index], mixed[index + 1] = (
                replace(first, at_ms=second.at_ms, connection=second.connection),
                replace(second, at_ms=first.at_ms, connection=first.connection),
            )
    return mixed


def _disturbed(rng: random.Random, send: Send) -> list[Send]:
    """The message, and what else the device does around it."""
    sends, dice = [send], rng.random()
    if dice < 0.10:
        sends.append(replace(send, at_ms=send.at_ms + rng.randint(0, 800)))  # sent again
    elif dice < 0.15:  # an hour's backlog of an old day, beyond the limit: no alarm may come of it
        sends.append(replace(send, offset_ms=send.offset_ms - LATE_MS, value=float(rng.randint(200, 1500))))
    elif dice < 0.18 and DOORS[send.series] != "hj212":  # its door answers nothing to what is no frame
        sends.append(replace(send, offset_ms=send.offset_ms + 1, shape="malformed"))
    elif dice < 0.20:
        sends.append(replace(send, offset_ms=send.offset_ms + 2, value=1501.0, shape="half"))
    elif dice < 0.21:
        sends.append(replace(send, offset_ms=send.offset_ms + 3, value=1502.0, shape="wrong_secret"))
    return sends


def describe(plan: Plan) -> str:
    """For people: what this seed does."""
    shapes: dict[str, int] = {}
    for one in plan.sends:
        shapes[one.shape] = shapes.get(one.shape, 0) + 1
    lines = [
        f"seed {plan.seed}, burst {plan.burst_ms} ms, durability {plan.durability}: "
        + ", ".join(f"{count} {shape}" for shape, count in sorted(shapes.items()))
    ]
    for fault in plan.faults:
        size = f" {fault.amount:+d} s" if fault.kind == "jump" else f" for {fault.for_ms} ms" if fault.for_ms else ""
        lines.append(f"  {fault.at_ms:>6} ms {fault.kind} {fault.target}{size}")
    lines.append("  alarm transitions: " + ", ".join(f"{series} {count}" for series, count in plan.alarms))
    return "\n".join(lines)
