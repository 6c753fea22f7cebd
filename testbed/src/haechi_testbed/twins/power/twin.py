"""Electricity of a city, step by step: customers, sun and weather, tap changers, breakers and heat over the grid.

Used by the part and by tests. The same seed and the same steps give the same course.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haechi_testbed.clock import SECOND
from haechi_testbed.twins.power import profiles
from haechi_testbed.twins.power.config import PowerConfig
from haechi_testbed.twins.power.grid import PHASE_V, Grid, State
from haechi_testbed.twins.power.thermal import Heat

Floats = NDArray[np.float64]
Values = dict[str, dict[str, float | bool | int]]
SLICE_S = 10.0
TAP_S = 30.0  # how long the voltage must be off before the changer moves a step
DEAD_KV = 0.2  # and by how much: a little more than half a step of 1.25 %
FOREIGN_W = 8.5e6  # what a feeder takes over at an overload of severity 1
WEAK_PU = 0.5  # resistance of a burnt terminal at severity 1, over the transformer's rating


class PowerTwin:
    """One city's grid. Voltages of customers in volts between phase and neutral, powers in kW, currents in ampere."""

    def __init__(self, config: PowerConfig, seed: int, start_us: int) -> None:
        """At that instant as it would be after hours of the same: oil warm, taps in place."""
        self.config = config
        self.grid = Grid(config)
        self._rng = np.random.default_rng([seed, 229])
        self._climate = config.settings["climate"]
        self._local_s = start_us / SECOND + 3600.0 * float(config.settings["utc_offset_h"])
        self._take_over(config)
        self._walk = 0.25 * self._rng.standard_normal(len(config.loads))
        self._area = 0.04 * self._rng.standard_normal(len(config.stations))
        self._cloud, self._air = self._rng.standard_normal(2)
        self._ordered = dict.fromkeys(config.feeders, True)
        self._tripped: set[str] = set()
        self._weak: dict[str, float] = {}
        self.targets_kv = {name: float(one["target_kv"]) for name, one in config.mains.items()}
        self._off_s = np.zeros(len(config.mains))
        banks = config.banks.values()
        nothing = np.zeros(len(self.grid.load_nodes))
        self.state = State(
            p=nothing.copy(),
            q=nothing.copy(),
            pv=nothing.copy(),
            closed=np.ones(len(config.feeders), bool),
            whole=np.ones(len(config.stations), bool),
            taps=np.zeros(len(config.mains), np.int8),
            steps=np.array([one["on"] for one in banks], np.int64),
            foreign_w=np.zeros(len(config.feeders)),
        )
        self._draw()
        self.flow = self.grid.solve(self.state)
        for _ in range(16):
            self._off_s[:] = TAP_S
            if not self._regulate(0.0):
                break
            self.flow = self.grid.solve(self.state)
        self.heat, self.main_heat = Heat(self.flow.station["load"]), Heat(self.flow.main["load"])

    def _take_over(self, config: PowerConfig) -> None:
        loads = config.loads
        nodes = {name: index for index, name in enumerate(self.grid.load_nodes)}
        stations = {one.id: index for index, one in enumerate(config.stations)}
        self._node = np.array([nodes[one.node] for one in loads])
        self._station = np.array([stations[one.station] for one in loads])
        self._kind = np.array([profiles.CATEGORIES.index(one.category) for one in loads])
        self._mean_w = np.array([1e3 * one.kw for one in loads])
        self._panel_w = np.array([1e3 * one.pv_kw for one in loads])
        angle = [math.tan(math.acos(profiles.POWER_FACTOR[name])) for name in profiles.CATEGORIES]
        self._reactive = np.array(angle)[self._kind]
        self._lamp = self._kind == profiles.CATEGORIES.index("light")
        self.meters = {one.meter: index for index, one in enumerate(loads) if one.meter}
        self._import = np.array([3.6e6 * one.import_kwh for one in loads])  # joules
        self._export = np.array([3.6e6 * one.export_kwh for one in loads])
        self.net_w = np.zeros(len(loads))  # drawn minus given, as the meter sees it

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Advances by that many seconds, in slices of at most ten."""
        left = dt_s
        while left > 1e-9:
            slice_s = min(left, SLICE_S)
            self._advance(slice_s)
            left -= slice_s

    def _advance(self, dt_s: float) -> None:
        self._local_s += dt_s
        self._wander(dt_s)
        self._draw()
        self._regulate(dt_s)
        self.flow = self.grid.solve(self.state)
        self.heat.step(self.flow.station["load"], dt_s)
        self.main_heat.step(self.flow.main["load"], dt_s)
        volts = self.flow.load_pu[self._node]
        alive = volts > 0
        self.net_w = (self._drawn_w * volts - self._given_w) * alive
        self._import += np.maximum(self.net_w, 0.0) * dt_s
        self._export += np.maximum(-self.net_w, 0.0) * dt_s

    def _wander(self, dt_s: float) -> None:
        """Moves everything random on: customers (quarter of an hour), neighbourhoods (an hour), clouds, the air."""
        rng = self._rng
        for value, memory_s, spread in ((self._walk, 900.0, 0.25), (self._area, 3600.0, 0.04)):
            keep = math.exp(-dt_s / memory_s)
            value[:] = value * keep + spread * math.sqrt(1 - keep * keep) * rng.standard_normal(value.size)
        keep, slow = math.exp(-dt_s / 1200.0), math.exp(-dt_s / 18_000.0)
        self._cloud = self._cloud * keep + math.sqrt(1 - keep * keep) * rng.standard_normal()
        self._air = self._air * slow + math.sqrt(1 - slow * slow) * rng.standard_normal()

    @property
    def day_of_year(self) -> int:
        """1 to 366, local time."""
        return datetime.fromtimestamp(self._local_s, UTC).timetuple().tm_yday

    @property
    def air_c(self) -> float:
        """Temperature of the open air."""
        mean, season, daily = (float(self._climate[name]) for name in ("mean_c", "season_c", "daily_c"))
        year = math.cos(2 * math.pi * (self.day_of_year - 20) / 365.0)
        day = math.sin(2 * math.pi * (self._local_s / profiles.DAY_S - 0.375))
        return mean - season * year + daily * day + 1.5 * float(self._air)

    def _draw(self) -> None:
        """What customers would draw at rated voltage now, and what their panels give."""
        latitude, day = float(self._climate["latitude"]), self.day_of_year
        shown = [profiles.factor(name, self._local_s, self.air_c) for name in ("res", "com", "pub")]
        shown.append(profiles.lights(latitude, day, self._local_s))
        wander = np.where(self._lamp, 1.0, np.exp(self._walk - 0.03) * (1 + self._area[self._station]))
        self._drawn_w = self._mean_w * np.array(shown)[self._kind] * wander
        sky = 1.0 / (1.0 + math.exp(-1.2 - 1.4 * float(self._cloud)))  # mostly clear, sometimes dark
        self._given_w = self._panel_w * profiles.sun(latitude, day, self._local_s) * sky
        count = len(self.grid.load_nodes)
        self.state.p[:] = np.bincount(self._node, self._drawn_w, count)
        self.state.q[:] = np.bincount(self._node, self._drawn_w * self._reactive, count)
        self.state.pv[:] = np.bincount(self._node, self._given_w, count)

    def _regulate(self, dt_s: float) -> bool:
        """The tap changers: a step when the bar has been off its target for half a minute. Whether one moved."""
        moved = False
        for index, (name, one) in enumerate(self.config.mains.items()):
            off_kv = float(self.flow.main["kv"][index]) - self.targets_kv[name]
            self._off_s[index] = self._off_s[index] + dt_s if abs(off_kv) > DEAD_KV else 0.0
            if self._off_s[index] >= TAP_S:
                wanted = int(self.state.taps[index]) + (1 if off_kv > 0 else -1)
                if abs(wanted) <= one["taps"]:
                    self.state.taps[index] = wanted
                    self._off_s[index], moved = 0.0, True
        return moved

    # --- what can be seen -------------------------------------------------------------------------------------------

    def observe(self) -> Values:
        """True values of every feeder, main transformer, bank and distribution transformer, by id."""
        flow, found = self.flow, Values()
        for index, name in enumerate(self.config.feeders):
            found[name] = {"breaker": self.is_closed(name), **_powers(flow.feeder, index)}
        oil, hot = self.main_heat.oil(self.air_c), self.main_heat.hot_spot(self.air_c)
        for index, name in enumerate(self.config.mains):
            found[name] = {"tap": int(self.state.taps[index]), "target": self.targets_kv[name]}
            found[name] |= {"oil": float(oil[index]), "winding": float(hot[index]), **_powers(flow.main, index)}
            found[name]["loading"] = 100.0 * float(flow.main["load"][index])
        for index, name in enumerate(self.config.banks):
            found[name] = {"steps": int(self.state.steps[index]), "reactive": float(flow.bank_q[index]) / 1e3}
        oil = self.heat.oil(self.air_c)
        for index, station in enumerate(self.config.stations):
            found[station.id] = {
                "voltage": float(flow.station["volts"][index]),
                "current": float(flow.station["amps"][index]),
                "power": float(flow.station["p"][index]) / 1e3,
                "loading": 100.0 * float(flow.station["load"][index]),
                "oil": float(oil[index]),
            }
        return found

    def meter(self, name: str) -> tuple[float, float, float, float]:
        """What a smart meter shows: kWh drawn, kWh given, kW now (negative: given), volts."""
        index = self.meters[name]
        drawn, given = float(self._import[index]), float(self._export[index])
        return drawn / 3.6e6, given / 3.6e6, float(self.net_w[index]) / 1e3, self.volts(name)

    def volts(self, meter: str) -> float:
        """Between phase and neutral at a smart meter; 0 without supply."""
        return float(self.flow.load_pu[self._node[self.meters[meter]]]) * PHASE_V

    def is_closed(self, feeder: str) -> bool:
        """Whether its breaker is."""
        return self._ordered[feeder] and feeder not in self._tripped

    # --- what can be done -------------------------------------------------------------------------------------------

    def switch(self, feeder: str, closed: bool) -> None:
        """Opens or closes a feeder's breaker; while what tripped it lasts, closing it does not help."""
        self._ordered[feeder] = closed
        self._breakers()

    def _breakers(self) -> None:
        self.state.closed[:] = [self.is_closed(name) for name in self.config.feeders]

    def set_target(self, main: str, kv: float) -> None:
        """The voltage the tap changer holds; ValueError outside what it may be told."""
        low, high = self.config.mains[main]["target_range"]
        if not low <= kv <= high:
            raise ValueError(f"{main} holds {low} to {high} kV, not {kv}")
        self.targets_kv[main] = kv

    def set_steps(self, bank: str, steps: int) -> None:
        """Switches a capacitor bank; ValueError when it has fewer steps."""
        if not 0 <= steps <= self.config.banks[bank]["steps"]:
            raise ValueError(f"{bank} has 0 to {self.config.banks[bank]['steps']} steps, not {steps}")
        self.state.steps[self.grid.banks.index(bank)] = steps

    def apply(self, fault: str, target: str, on: bool, severity: float = 1.0) -> None:
        """`feeder_overload` and `outage` of a feeder, `outage` and `voltage_drop` of a transformer; else ValueError."""
        stations = [one.id for one in self.config.stations]
        if fault == "feeder_overload" and target in self.grid.feeders:
            self.state.foreign_w[self.grid.feeders.index(target)] = FOREIGN_W * severity * on
        elif fault == "outage" and target in self.grid.feeders:
            (self._tripped.add if on else self._tripped.discard)(target)
            self._breakers()
        elif fault == "outage" and target in stations:
            self.state.whole[stations.index(target)] = not on
        elif fault == "voltage_drop" and target in stations:
            self._weak.pop(target, None)
            self._weak |= {target: WEAK_PU * severity} if on else {}
            self.grid = Grid(self.config, self._weak)
        else:
            raise ValueError(f"power knows feeder_overload, outage and voltage_drop, not {fault}@{target}")


def _powers(flow: Mapping[str, Any], index: int) -> dict[str, float | bool | int]:
    return {
        "bus": float(flow["kv"][index]),
        "current": float(flow["amps"][index]),
        "power": float(flow["p"][index]) / 1e3,
        "reactive": float(flow["q"][index]) / 1e3,
    }
