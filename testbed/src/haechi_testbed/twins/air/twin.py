"""The air twin: stacks emit puffs, the wind carries them, stations breathe them on a background. For the runner.

Everything random comes from one seeded generator: the same seed and the same steps give the same air.
"""

import math

import numpy as np

from haechi_testbed.twins.air.config import POLLUTANTS, AirConfig, Stack
from haechi_testbed.twins.air.dispersion import MIXING_M, Floats, rise, share, stability, widths

DAY_S = 86_400.0
INLET_M = 3.0  # height of a station's inlet
RESPONSE_S = 120.0  # a station shows the mean of about that long
FIRST_WIDTH_M = 8.0
FAR_M = 30_000.0
SPIN_UP_S = 3600.0
STUCK_OPEN = 2.5  # an exceedance of severity 1 adds this many times the normal emission
Values = dict[str, dict[str, float]]


class Walk:
    """Ornstein-Uhlenbeck: a value that wanders around 0 with a standard deviation of 1 and a memory."""

    def __init__(self, memory_s: float, size: int, rng: np.random.Generator) -> None:
        """Begins anywhere it could be."""
        self._memory_s, self._rng = memory_s, rng
        self.value: Floats = rng.standard_normal(size)

    def step(self, dt_s: float) -> None:
        """Exact for any length of step."""
        keep = math.exp(-dt_s / self._memory_s)
        self.value = self.value * keep + math.sqrt(1 - keep * keep) * self._rng.standard_normal(self.value.size)


class AirTwin:
    """`observe` answers for every id of air.toml; stations in µg/m3, stacks in mg/m3 (gas at 0 °C)."""

    def __init__(self, config: AirConfig, seed: int, second_of_day: float = 0.0) -> None:
        """Starts at that local time with an hour of emissions already under way."""
        self._config = config
        self._rng = np.random.default_rng(seed)
        self._second = (second_of_day - SPIN_UP_S) % DAY_S
        self._wind = Walk(config.wind.memory_s, 2, self._rng)
        self._region = Walk(6 * 3600.0, len(config.background), self._rng)
        self._weather = Walk(5 * 3600.0, 3, self._rng)  # temperature, humidity, pressure
        self._plant = Walk(1800.0, 2 * len(config.stacks), self._rng)  # load and abatement of each stack
        self._local = self._rng.uniform(-1.0, 1.0, len(config.weather))
        self._street = self._rng.uniform(0.88, 1.14, len(config.stations))  # how much traffic a station sees
        self._nearby = Walk(2 * 3600.0, len(config.stations), self._rng)
        self._rain_mm_h, self._rain_mm = 0.0, 0.0
        self._exceeding: dict[str, float] = {}
        self._at = np.array([(one.x, one.y) for one in config.stations])
        self._puffs = np.zeros((0, 7))  # x, y, height, width, depth, way, age
        self._mass = np.zeros((0, len(POLLUTANTS)))  # grams
        self._held = np.zeros((len(config.stacks), len(POLLUTANTS)))
        self._held_s = 0.0
        self._plumes = np.zeros((len(config.stations), len(POLLUTANTS)))
        self.step(SPIN_UP_S)

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Advances by that many seconds."""
        left = dt_s
        while left > 1e-9:
            slice_s = min(left, self._config.puff_interval_s)
            self._advance(slice_s)
            left -= slice_s

    def _advance(self, dt_s: float) -> None:
        hour_before = int(self._second / 3600)
        self._second = (self._second + dt_s) % DAY_S
        for walk in (self._wind, self._region, self._weather, self._plant, self._nearby):
            walk.step(dt_s)
        self._rain(dt_s, new_hour=int(self._second / 3600) != hour_before)
        speed, direction = self.wind()
        klass = stability(self._second / 3600, speed)
        self._carry(dt_s, speed, direction, klass)
        self._emit(dt_s, speed, klass)
        keep = math.exp(-dt_s / RESPONSE_S)
        self._plumes = keep * self._plumes + (1 - keep) * self._breathe()

    def wind(self) -> tuple[float, float]:
        """Speed in m/s (stronger in the afternoon) and the direction it comes from, degrees."""
        wind = self._config.wind
        daily = 1.0 + 0.25 * math.sin(2 * math.pi * (self._second / DAY_S - 0.375))
        speed = wind.speed_m_s * daily + wind.speed_spread * float(self._wind.value[0])
        direction = wind.direction_deg + wind.direction_spread_deg * float(self._wind.value[1])
        return max(0.4, speed), direction % 360.0

    def _rain(self, dt_s: float, new_hour: bool) -> None:
        dry_s, wet_s = 30 * 3600.0, 2 * 3600.0
        change = self._rng.random() < dt_s / (wet_s if self._rain_mm_h else dry_s)
        if change:
            self._rain_mm_h = 0.0 if self._rain_mm_h else float(self._rng.exponential(1.8))
        self._rain_mm = (0.0 if new_hour else self._rain_mm) + self._rain_mm_h * dt_s / 3600.0

    # --- puffs ------------------------------------------------------------------------------------------------------

    def _carry(self, dt_s: float, speed: float, direction: float, klass: str) -> None:
        """Moves and widens every puff; the width grows by what Briggs gives for the way travelled in this class."""
        puffs = self._puffs
        way = speed * dt_s
        toward = math.radians(direction + 180.0)
        puffs[:, 0] += way * math.sin(toward)
        puffs[:, 1] += way * math.cos(toward)
        side_before, up_before = widths(puffs[:, 5], klass)
        puffs[:, 5] += way
        side, up = widths(puffs[:, 5], klass)
        puffs[:, 3] += side - side_before
        puffs[:, 4] = np.minimum(puffs[:, 4] + np.maximum(up - up_before, 0.0), 0.8 * MIXING_M[klass])
        puffs[:, 6] += dt_s
        if self._rain_mm_h:  # washed out: a scavenging coefficient of 1e-4/s at 1 mm/h for particles
            self._mass[:, :2] *= math.exp(-1e-4 * self._rain_mm_h**0.8 * dt_s)
        stay = (puffs[:, 6] < self._config.puff_life_s) & (np.abs(puffs[:, :2]).max(axis=1, initial=0.0) < FAR_M)
        self._puffs, self._mass = puffs[stay], self._mass[stay]

    def _emit(self, dt_s: float, speed: float, klass: str) -> None:
        for index, stack in enumerate(self._config.stacks):
            self._held[index] += np.array(self._rates(index, stack)) * dt_s
        self._held_s += dt_s
        if self._held_s < self._config.puff_interval_s - 1e-6:
            return
        air_k = self.temperature() + 273.15
        born = []
        for index, stack in enumerate(self._config.stacks):
            load = self._load(index)
            climb = rise(stack.exit_speed_m_s * load, stack.diameter_m, (stack.exit_k, air_k), speed, klass)
            born.append((stack.site.x, stack.site.y, stack.height_m + climb, FIRST_WIDTH_M, FIRST_WIDTH_M, 1.0, 0.0))
        self._puffs = np.vstack([self._puffs, np.array(born)])
        self._mass = np.vstack([self._mass, self._held])
        self._held = np.zeros_like(self._held)
        self._held_s = 0.0

    def _breathe(self) -> Floats:
        """µg/m3 of each pollutant at each station, from the puffs."""
        if not len(self._puffs):
            return np.zeros_like(self._plumes)
        offsets = self._at[:, None, :] - self._puffs[None, :, :2]
        return np.asarray(share(offsets, self._puffs[:, 3:5], self._puffs[:, 2], INLET_M) @ self._mass * 1e6)

    # --- stacks -----------------------------------------------------------------------------------------------------

    def _load(self, index: int) -> float:
        return float(np.clip(0.9 + 0.05 * self._plant.value[2 * index], 0.7, 1.05))

    def _rates(self, index: int, stack: Stack) -> tuple[float, ...]:
        """Grams a second now: with the load, with how well the cleaning works, and with an exceedance."""
        slip = float(np.clip(1.0 + 0.08 * self._plant.value[2 * index + 1], 0.75, 1.25))
        slip *= 1.0 + STUCK_OPEN * self._exceeding.get(stack.site.id, 0.0)
        return tuple(rate * self._load(index) * slip for rate in stack.emission_g_s)

    def _stack_values(self, index: int, stack: Stack) -> dict[str, float]:
        section = math.pi * stack.diameter_m**2 / 4
        flow = stack.exit_speed_m_s * self._load(index) * section * 273.15 / stack.exit_k
        rates = dict(zip(POLLUTANTS, self._rates(index, stack), strict=True))
        return {
            "SO2": rates["SO2"] * 1000 / flow,
            "NOx": rates["NOx"] * 1000 / flow,
            "particulate": rates["PM10"] * 1000 / flow,
            "flow": flow,
            "temperature": stack.exit_k - 273.15 + 20.0 * (self._load(index) - 0.9),
        }

    # --- what can be seen -------------------------------------------------------------------------------------------

    def observe(self) -> Values:
        """True values of every station, stack and weather station, by id."""
        found = {site.id: self._station_values(index) for index, site in enumerate(self._config.stations)}
        found |= {one.site.id: self._stack_values(index, one) for index, one in enumerate(self._config.stacks)}
        return found | {site.id: self._weather_values(index) for index, site in enumerate(self._config.weather)}

    def background(self) -> dict[str, float]:
        """µg/m3 that come with the air mass: a daily course, slow drift, less dust in rain."""
        hour = self._second / 3600
        rush = math.exp(-(((hour - 8.5) / 2.0) ** 2)) + 0.8 * math.exp(-(((hour - 18.5) / 2.5) ** 2))
        sun = max(0.0, math.sin(math.pi * (hour - 7.0) / 12.0))
        course = {"PM2.5": 0.9 + 0.25 * rush, "PM10": 0.9 + 0.3 * rush, "SO2": 0.9 + 0.3 * rush}
        course |= {"NO2": 0.65 + 0.7 * rush, "CO": 0.8 + 0.45 * rush, "O3": 0.55 + 1.05 * sun}
        washed = math.exp(-0.25 * min(self._rain_mm_h, 6.0))
        found = {}
        for index, (name, mean) in enumerate(self._config.background.items()):
            drift = math.exp(0.22 * float(self._region.value[index]))
            found[name] = mean * course.get(name, 1.0) * drift * (washed if name.startswith("PM") else 1.0)
        found["PM2.5"] = min(found["PM2.5"], 0.85 * found["PM10"])
        return found

    def _station_values(self, index: int) -> dict[str, float]:
        plume = dict(zip(POLLUTANTS, self._plumes[index], strict=True))
        street = float(self._street[index]) * math.exp(0.06 * float(self._nearby.value[index]))
        found = {
            name: value * (1 / street if name == "O3" else street) + float(plume.get(name, 0.0))
            for name, value in self.background().items()
        }
        fresh_no = max(0.0, float(plume["NOx"] - plume["NO2"]))  # takes ozone away, as NO2 that both become
        taken = min(0.6 * fresh_no, 0.8 * found.get("O3", 0.0))
        return found | {"O3": found.get("O3", 0.0) - taken, "NO2": found.get("NO2", 0.0) + 0.96 * taken}

    def temperature(self) -> float:
        """°C of the open air."""
        season = 12.5 - 14.0 * math.cos(2 * math.pi * (self._config.day_of_year - 20) / 365.0)
        return (
            season + 4.5 * math.sin(2 * math.pi * (self._second / DAY_S - 0.375)) + 1.5 * float(self._weather.value[0])
        )

    def _weather_values(self, index: int) -> dict[str, float]:
        speed, direction = self.wind()
        local = float(self._local[index])
        daily = math.sin(2 * math.pi * (self._second / DAY_S - 0.375))
        damp = 62.0 - 14.0 * daily + 9.0 * float(self._weather.value[1]) + (22.0 if self._rain_mm_h else 0.0)
        return {
            "temperature": self.temperature() + 0.5 * local,
            "humidity": min(100.0, max(15.0, damp - 2.0 * local)),
            "pressure": 1016.0 + 5.0 * float(self._weather.value[2]) - 0.4 * local,
            "wind_speed": speed * (1.0 + 0.1 * local),
            "wind_direction": (direction + 6.0 * local) % 360.0,
            "rain": self._rain_mm,
        }

    # --- faults -----------------------------------------------------------------------------------------------------

    @property
    def stacks(self) -> tuple[str, ...]:
        """Every stack, which is what can exceed its limits."""
        return tuple(one.site.id for one in self._config.stacks)

    def apply(self, fault: str, target: str, on: bool, severity: float = 1.0) -> None:
        """`exceedance` at a stack: its gas cleaning fails; ValueError names the stacks there are."""
        if fault != "exceedance" or target not in self.stacks:
            raise ValueError(f"air knows exceedance@<{'|'.join(self.stacks)}>, not {fault}@{target}")
        if on:
            self._exceeding[target] = severity
        else:
            self._exceeding.pop(target, None)
