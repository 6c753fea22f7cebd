"""Smart meters and their concentrators: quarter-hourly profiles, last gasps, faults. Used by the part.

A meter counts kWh both ways and shows kW and volts. Without supply it says so once, with its last charge, and is then
silent; when supply returns it says that at once.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from haechi_testbed.clock import SECOND
from haechi_testbed.devices.carrier import Carrier
from haechi_testbed.twins.power.twin import PowerTwin

PROFILE_S = 900
STAGGER_S = 40  # between two concentrators
DEAD_V = 11.0  # EN 50160:2010, 3.23: an interruption is less than 5 % of the reference voltage


class Meters:
    """All smart meters of a city."""

    def __init__(self, twin: PowerTwin, carriers: Mapping[str, Carrier], start_us: int, seed: int) -> None:
        """`carriers` are the concentrators with credentials; meters of the others stay out."""
        self.twin, self._carriers = twin, carriers
        self._rng = random.Random(f"meters {seed}")  # noqa: S311 - a simulation, not a secret
        self._of: dict[str, list[str]] = {name: [] for name in carriers}
        for one in twin.config.loads:
            if one.meter and one.concentrator in self._of:
                self._of[one.concentrator].append(one.meter)
        self._due = {name: start_us + (5 + STAGGER_S * index) * SECOND for index, name in enumerate(self._of)}
        self._dead: set[str] = set()
        self._faults: dict[str, str] = {}
        self._last: dict[str, dict[str, Any]] = {}

    @property
    def names(self) -> Sequence[str]:
        """Every meter that speaks."""
        return [name for members in self._of.values() for name in members]

    def apply(self, kind: str, meter: str, on: bool) -> None:
        """`stuck`, `silent` or `drifting` (shows three volts more with every profile)."""
        if on:
            self._faults[meter] = kind
        else:
            self._faults.pop(meter, None)

    def step(self, now_us: int, dt_s: float) -> None:
        """Sends what is due and what has lost or has voltage again."""
        for name, carrier in self._carriers.items():
            carrier.tick(now_us, dt_s)
            events = [one for one in (self._event(meter) for meter in self._of[name]) if one]
            if events:
                carrier.send("event", now_us, {"samples": events})
            if now_us >= self._due[name]:
                self._due[name] += PROFILE_S * SECOND
                shown = [self._profile(meter) for meter in self._of[name] if meter not in self._dead]
                samples = [one for one in shown if one]
                if samples:
                    carrier.send("profile", now_us, {"samples": samples})

    def _event(self, meter: str) -> dict[str, Any] | None:
        volts = self.twin.volts(meter)
        if (volts < DEAD_V) == (meter in self._dead):
            return None
        (self._dead.add if volts < DEAD_V else self._dead.discard)(meter)
        if meter in self._faults:
            return None
        return {"id": meter, "voltage": round(volts, 2), "power": 0.0} if volts < DEAD_V else self._profile(meter)

    def _profile(self, meter: str) -> dict[str, Any] | None:
        kind = self._faults.get(meter)
        if kind == "silent":
            return None
        if kind == "stuck" and meter in self._last:
            return self._last[meter]
        drawn, given, kw, volts = self.twin.meter(meter)
        noisy = volts + self._rng.gauss(0.0, 0.3)
        if kind == "drifting":
            noisy = max(noisy, self._last.get(meter, {}).get("voltage", 0.0)) + 3.0
        shown = {"id": meter, "import": round(drawn, 2), "power": round(kw, 3), "voltage": round(noisy, 2)}
        if given > 0:
            shown["export"] = round(given, 2)
        self._last[meter] = shown
        return shown
