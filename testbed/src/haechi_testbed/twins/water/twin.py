"""The water network as physics: EPANET solved step by step over an endless day. Used by the runner and by worlds.

Demands follow the daily patterns of the network's file, interpolated between hours, with a slow random walk per
district; the second pump follows the tank level. A burst is an emitter at the pipe's end, a failed pump a closed link.
"""

import math
import os
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epanet import toolkit as en

KPA_PER_M = 9.80665
ALMOST_ZERO = 1e-6  # EPANET 2.3.5 keeps the last emitter flow when the coefficient becomes 0
SLOWEST = 0.80  # of full speed: below it a pump moves nothing against the network's head
ENDLESS_S = 1_000_000_000
DAY_S = 86_400
Values = dict[str, dict[str, float | bool]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A daily course: EPANET's index, the hourly factors and the district it belongs to."""

    index: int
    hours: tuple[float, ...]
    area: str

    def at(self, second: float) -> float:
        """The factor at a second of the day, straight between the hours."""
        position = second / 3600.0
        hour = int(position) % 24
        share = position - int(position)
        return self.hours[hour] * (1 - share) + self.hours[(hour + 1) % 24] * share


class WaterTwin:
    """One network. `config` is what `testbed/water.toml` says; times in seconds, pressures in kPa, flows in m3/h."""

    def __init__(self, network: Path, config: Mapping[str, Any], seed: int, second_of_day: float = 0.0) -> None:
        """Opens the network at rest at that local time of day; the same seed gives the same course."""
        self._config = config
        self._rng = random.Random(f"water {seed}")  # noqa: S311 - a simulation, not a secret
        self._second = second_of_day
        self._ph = en.createproject()
        en.open(self._ph, str(network), os.devnull, "")
        self._patterns = self._take_over_patterns()
        self._walk = {one.area: 0.0 for one in self._patterns.values()}
        self._used = dict.fromkeys(self._patterns, 0.0)  # integral of each factor over time
        self._bursts: dict[str, dict[str, float]] = {}  # node -> pipe -> coefficient
        self._failed: set[str] = set()
        self._commanded = {name: bool(pump.get("on", True)) for name, pump in config["pumps"].items()}
        self._speed = {name: 1.0 if on else SLOWEST for name, on in self._commanded.items()}
        for key in (en.DURATION, en.PATTERNSTEP, en.REPORTSTEP):
            en.settimeparam(self._ph, key, ENDLESS_S)
        en.openH(self._ph)
        en.initH(self._ph, 0)
        self._nodes = {one["node"]: en.getnodeindex(self._ph, one["node"]) for one in config["pressure"].values()}
        self._advance(1)

    def _take_over_patterns(self) -> dict[str, Pattern]:
        found: dict[str, Pattern] = {}
        for index in range(1, en.getcount(self._ph, en.PATCOUNT) + 1):
            name = en.getpatternid(self._ph, index)
            hours = tuple(en.getpatternvalue(self._ph, index, hour) for hour in range(1, 25))
            found[name] = Pattern(index, hours, name.partition("@")[2])
            single = en.doubleArray(1)
            single[0] = hours[0]
            en.setpattern(self._ph, index, single, 1)
        return found

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Advances by that many seconds (whole ones), in slices of at most `slice_s`."""
        left = round(dt_s)
        while left > 0:
            slice_s = min(left, int(self._config.get("slice_s", 30)))
            self._drive(slice_s)
            self._advance(slice_s)
            left -= slice_s

    def _drive(self, slice_s: int) -> None:
        """Moves demands and pump commands on to the next slice."""
        self._second = (self._second + slice_s) % DAY_S
        keep = math.exp(-slice_s / float(self._config.get("demand_memory_s", 1200)))
        spread = float(self._config.get("demand_spread", 0.03)) * math.sqrt(1 - keep * keep)
        for area, value in self._walk.items():
            self._walk[area] = value * keep + spread * self._rng.gauss(0, 1)
        for name, pattern in self._patterns.items():
            factor = pattern.at(self._second) * (1 + self._walk[pattern.area])
            en.setpatternvalue(self._ph, pattern.index, 1, factor)
            self._used[name] += factor * slice_s
        for name, pump in self._config["pumps"].items():
            self._control(name, pump, slice_s)

    def _control(self, name: str, pump: Mapping[str, Any], slice_s: int) -> None:
        """What the station's controller and its drives do: start and stop by level, slowly, so that nothing jumps."""
        if "tank" in pump:
            level = self._level(pump["tank"])
            if level < pump["start_below"]:
                self._commanded[name] = True
            elif level > pump["stop_above"]:
                self._commanded[name] = False
        step = (1.0 - SLOWEST) * slice_s / float(pump.get("ramp_s", 600))
        speed = self._speed[name] + (step if self._commanded[name] else -step)
        self._speed[name] = min(1.0, max(SLOWEST, speed))
        index, running = en.getlinkindex(self._ph, name), self._running(name)
        en.setlinkvalue(self._ph, index, en.STATUS, float(running))
        if running:
            en.setlinkvalue(self._ph, index, en.SETTING, self._speed[name])

    def _running(self, name: str) -> bool:
        return name not in self._failed and (self._commanded[name] or self._speed[name] > SLOWEST)

    def _advance(self, seconds: int) -> None:
        left = seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # EPANET warns of low pressure and cut-off nodes: here they are the point
            while left > 0:
                en.settimeparam(self._ph, en.HYDSTEP, left)
                en.runH(self._ph)
                done = en.nextH(self._ph)
                assert done > 0, "the network's duration is endless"
                left -= done

    def _level(self, tank: str) -> float:
        node = en.getnodeindex(self._ph, tank)  # EN_TANKLEVEL would say the level at the start
        return float(en.getnodevalue(self._ph, node, en.HEAD)) - float(en.getnodevalue(self._ph, node, en.ELEVATION))

    # --- what can be seen -------------------------------------------------------------------------------------------

    def observe(self) -> Values:
        """True values of every sensor, tank and pump, by its id in the configuration."""
        found: Values = {}
        for name, one in self._config["pressure"].items():
            head_m = float(en.getnodevalue(self._ph, self._nodes[one["node"]], en.PRESSURE))
            found[name] = {"pressure": max(0.0, head_m) * KPA_PER_M}
        for name, one in self._config["flow"].items():
            found[name] = {"flow": self._flow(one["link"])}
        for name in self._config["tanks"]:
            found[name] = {"level": self._level(name)}
        for name in self._config["pumps"]:
            power = float(en.getlinkvalue(self._ph, en.getlinkindex(self._ph, name), en.ENERGY))
            running = self._running(name)
            found[name] = {
                "flow": max(0.0, self._flow(name)),
                "power": power if running else 0.0,
                "running": running,
                "commanded": self._commanded[name],
            }
        return found

    def _flow(self, link: str) -> float:
        return float(en.getlinkvalue(self._ph, en.getlinkindex(self._ph, link), en.FLOW)) * 3.6

    def consumption(self) -> dict[str, float]:
        """What every customer's meter shows: cubic metres since it was set."""
        used = self._used
        return {
            name: one["volume"] + one["demand"] * used[one["pattern"]] / 1000.0
            for name, one in self._config["meters"].items()
        }

    # --- faults -----------------------------------------------------------------------------------------------------

    def apply(self, fault: str, target: str, on: bool, severity: float = 1.0) -> None:
        """`burst` of a pipe (severity 1: a hole of a seventh of its section), `pump_failure`; else ValueError."""
        if fault == "burst":
            self._burst(target, on, severity)
        elif fault == "pump_failure" and target in self._config["pumps"]:
            (self._failed.add if on else self._failed.discard)(target)
        else:
            pumps = "|".join(self._config["pumps"])
            raise ValueError(f"water knows burst@<pipe> and pump_failure@<{pumps}>, not {fault}@{target}")

    @property
    def pipes(self) -> tuple[str, ...]:
        """Every pipe of the network, which is what can burst."""
        links = range(1, en.getcount(self._ph, en.LINKCOUNT) + 1)
        return tuple(en.getlinkid(self._ph, one) for one in links if en.getlinktype(self._ph, one) <= en.PIPE)

    def _link(self, pipe: str) -> int:
        try:
            return int(en.getlinkindex(self._ph, pipe))
        except Exception as error:
            raise ValueError(f"the network has no pipe {pipe!r}; see facilities/water-network.ndjson") from error

    def area_of(self, pipe: str) -> str:
        """The district a pipe lies in (`D01`), empty for a trunk main; ValueError when there is no such pipe."""
        for node in en.getlinknodes(self._ph, self._link(pipe)):
            if en.getnodetype(self._ph, node) == en.JUNCTION and en.getnumdemands(self._ph, node):
                pattern = en.getdemandpattern(self._ph, node, 1)
                if pattern:
                    return str(en.getpatternid(self._ph, pattern)).partition("@")[2]
        return ""

    def _burst(self, pipe: str, on: bool, severity: float) -> None:
        link = self._link(pipe)
        diameter_m = float(en.getlinkvalue(self._ph, link, en.DIAMETER)) / 1000.0
        section = math.pi * diameter_m**2 / 4
        coefficient = 0.6 * section * 0.14 * severity * math.sqrt(2 * 9.81) * 1000.0  # litres a second at one metre
        start, end = en.getlinknodes(self._ph, link)
        node = end if en.getnodetype(self._ph, end) == en.JUNCTION else start
        holes = self._bursts.setdefault(en.getnodeid(self._ph, node), {})
        if on:
            holes[pipe] = coefficient
        else:
            holes.pop(pipe, None)
        en.setnodevalue(self._ph, node, en.EMITTER, sum(holes.values()) or ALMOST_ZERO)

    def close(self) -> None:
        """Gives EPANET's memory back."""
        if self._ph is not None:
            en.closeH(self._ph)
            en.close(self._ph)
            en.deleteproject(self._ph)
            self._ph = None
