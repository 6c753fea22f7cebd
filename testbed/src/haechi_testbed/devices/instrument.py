"""What a real instrument does to the truth: noise, resolution, gaps, and the faults stuck, drifting and silent."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Make:
    """One make of instrument. `factor` turns the twin's unit into the one it sends; the others are in the unit sent."""

    field: str
    factor: float
    spread: float  # standard deviation of the noise
    relative: float  # and its share of the value
    digits: int
    drift_per_s: float  # how fast a drifting one drifts at severity 1
    period_s: int = 10
    gap: float = 0.001  # share of values that never come


class Instrument:
    """One instrument; the same seed shows the same values."""

    def __init__(self, name: str, make: Make, seed: int) -> None:
        """`name` is its id in the city."""
        self.name, self.make = name, make
        self._rng = random.Random(f"{name} {make.field} {seed}")  # noqa: S311 - a simulation, not a secret
        self.phase_us = self._rng.randrange(make.period_s) * 1_000_000  # when in its period it speaks
        self._faults: dict[str, float] = {}
        self._bias = 0.0
        self._last: float | None = None

    def apply(self, fault: str, on: bool, severity: float = 1.0) -> None:
        """Begins or ends stuck, drifting or silent; a drift that ends leaves no bias (it was recalibrated)."""
        if on:
            self._faults[fault] = severity
        else:
            self._faults.pop(fault, None)
            self._bias = 0.0 if fault == "drifting" else self._bias

    def show(self, truth: float, dt_s: float) -> float | None:
        """What it sends for this true value, None when nothing; `dt_s` since it was last asked."""
        make = self.make
        noise = self._rng.gauss(0.0, make.spread + make.relative * abs(truth * make.factor))
        gap = self._rng.random() < make.gap
        self._bias += self._faults.get("drifting", 0.0) * make.drift_per_s * dt_s
        if "silent" in self._faults or gap:
            return None
        if "stuck" not in self._faults or self._last is None:
            self._last = round(truth * make.factor + noise + self._bias, make.digits)
        return self._last


PRESSURE = Make("pressure", 0.01, 0.004, 0.0, 4, 0.0003)  # kPa -> bar
FLOW = Make("flow", 1 / 3.6, 0.03, 0.006, 3, 0.005)  # m3/h -> L/s
LEVEL = Make("level", 1.0, 0.003, 0.0, 3, 0.0005, 30)  # m
POWER = Make("power", 1.0, 0.2, 0.003, 2, 0.02)  # kW
