"""What detectors and signal controllers make of the truth, faults included. Used by the part."""

import math
import random
from collections.abc import Mapping, Sequence

from haechi_testbed.devices.modbus.bank import Unit
from haechi_testbed.twins.traffic.registers import AS_PLANNED, CONTROLLER
from haechi_testbed.twins.traffic.signals import Signals

GAP = 0.001  # share of minutes a detector says nothing
SPREAD_KM_H = 4.0  # between the speeds of single vehicles
OCCUPANCY_SPREAD = 0.01  # of the value


class Loop:
    """One detector; the same seed shows the same values."""

    def __init__(self, name: str, seed: int) -> None:
        """Sound."""
        self._rng = random.Random(f"{name} {seed}")  # noqa: S311 - a simulation, not a secret
        self.faults: set[str] = set()
        self._last: dict[str, float] = {}

    def show(self, truth: Mapping[str, float]) -> dict[str, float]:
        """`count`, `speed` (km/h; left out when nobody came), `occupancy` (%) of a minute; empty: it says nothing."""
        one, spread, gap = self._rng.gauss(0.0, 1.0), self._rng.gauss(0.0, 1.0), self._rng.random() < GAP
        if "silent" in self.faults or (gap and "stuck" not in self.faults):
            return {}
        if "stuck" in self.faults and self._last:
            return self._last
        if "detector_dead" in self.faults:
            return {"count": 0, "occupancy": 0.0}
        count = truth["count"]
        occupancy = max(0.0, truth["occupancy"] * (1.0 + OCCUPANCY_SPREAD * spread))
        shown = {"count": int(count), "occupancy": round(min(1.0, occupancy) * 100.0, 1)}
        if count:
            speed = truth["speed"] + min(SPREAD_KM_H, 0.15 * truth["speed"]) / math.sqrt(count) * one
            shown["speed"] = round(max(0.0, speed), 1)
        if "speed" in shown or not self._last:
            self._last = shown
        return shown


class Cabinet:
    """A signal controller as a Modbus unit: shows what runs, takes setpoints."""

    def __init__(self, name: str, number: int, signals: Signals) -> None:
        """`number` is its unit address."""
        self.name, self._signals = name, signals
        self._holding = {one.address: one.field.removesuffix("_set") for one in CONTROLLER if one.writable}
        self._set = {"plan": 0, "cycle": 0, "offset": AS_PLANNED}
        self.unit = Unit(number, {"holding": len(CONTROLLER)}, self._written)

    def fill(self, local_s: float) -> None:
        """Puts what runs now into the registers."""
        now = self._signals.show(self.name, local_s)
        held = {f"{field}_set": value for field, value in self._set.items()} | {"flashing": now["mode"] == 2}
        for one in CONTROLLER:
            value = held[one.field] if one.field in held else now[one.field]
            self.unit.show("holding", one.address, [round(value)])

    def _written(self, table: str, address: int, words: Sequence[int]) -> None:
        fields = [self._holding.get(address + step) for step in range(len(words))] if table == "holding" else [None]
        if None in fields:
            raise ValueError(f"{self.name} has nothing to write at {table} {address}")
        for step, (field, word) in enumerate(zip(fields, words, strict=True)):
            assert field is not None
            self._signals.set(self.name, field, None if field == "offset" and word == AS_PLANNED else word)
            self._set[field] = word
            self.unit.show("holding", address + step, [word])
