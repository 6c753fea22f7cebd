"""Traffic signals of a city, all at once: plans by the hour, setpoints, transitions, flashing. Used by the twin.

A change of plan, cycle or offset takes effect when the running cycle ends; an offset is reached by cycles that are up
to a fifth longer, as controllers do (FHWA, Signal Timing Manual 2015, 7.6: dwell and lengthening).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haechi_testbed.twins.traffic.config import TrafficConfig
from haechi_testbed.twins.traffic.demand import is_day_off

Floats = NDArray[np.float64]
FLASH_SHARE = 0.45  # of an approach's capacity while all directions flash and drivers take turns: all-way stop
LONGER = 0.2
CYCLES_S = (60.0, 240.0)
BY_HOUR = 0  # the plan setpoint that leaves the choice to the hour


@dataclass(slots=True)
class Controller:
    """One junction's controller. Setpoints: None or BY_HOUR leaves it to the plan."""

    plan_setpoint: int = BY_HOUR
    cycle_setpoint: float | None = None
    offset_setpoint: float | None = None
    flashing: bool = False
    plan: int = 1
    cycle: float = 120.0  # of the running cycle, transition included
    begun: float = 0.0  # local seconds at which the running cycle began


class Signals:
    """Every controller of the city in the order of the configuration."""

    def __init__(self, config: TrafficConfig, local_s: float) -> None:
        """As if they had run since midnight."""
        self._config = config
        self.names = tuple(config.signals)
        self.controllers = {name: Controller() for name in self.names}
        for name in self.names:
            one = self.controllers[name]
            one.plan = self._plan(one, local_s)
            one.cycle = self._cycle(one)
            one.begun = local_s - (local_s - self._offset(name, one)) % one.cycle
        self.approaches: tuple[tuple[str, int, int], ...] = tuple(
            (road, number, stage)
            for number, signal in enumerate(config.signals.values())
            for stage, roads in enumerate(signal.stages)
            for road in roads
        )
        self._of = np.array([number for _, number, _ in self.approaches])
        self._edges = np.zeros((len(self.approaches), 2))  # begin and end of each approach's green within the cycle
        for number in range(len(self.names)):
            self._lay_out(number)

    def _plan(self, one: Controller, local_s: float) -> int:
        if one.plan_setpoint != BY_HOUR:
            return one.plan_setpoint
        day = int(local_s // 86_400)
        hours = self._config.day_off if is_day_off(day) else self._config.workday
        return hours[int(local_s % 86_400 // 3600)]

    def _cycle(self, one: Controller) -> float:
        return one.cycle_setpoint or self._config.cycles[one.plan]

    def _offset(self, name: str, one: Controller) -> float:
        return self._config.signals[name].offsets[one.plan] if one.offset_setpoint is None else one.offset_setpoint

    def _renew(self, name: str, one: Controller) -> None:
        """Begins the next cycle, longer when that brings it nearer to its offset."""
        one.begun += one.cycle
        one.plan = self._plan(one, one.begun)
        cycle = self._cycle(one)
        late = (self._offset(name, one) - one.begun) % cycle
        one.cycle = cycle + min(late, LONGER * cycle)

    def greens(self, local_s: float, slice_s: float) -> Floats:
        """Share of the slice that begins then in which each of the `approaches` may move."""
        for number, one in enumerate(self.controllers.values()):
            while local_s >= one.begun + one.cycle:
                self._renew(self.names[number], one)
                self._lay_out(number)
        if not len(self._of):
            return np.zeros(0)
        state = np.array([(local_s - one.begun, one.cycle, one.flashing) for one in self.controllers.values()])
        at, cycle, flashing = state[self._of].T
        share = np.zeros(len(at))
        for turn in (0.0, 1.0):  # this cycle and the next
            low = np.maximum(at, self._edges[:, 0] + turn * cycle)
            high = np.minimum(at + slice_s, self._edges[:, 1] + turn * cycle)
            share += np.maximum(0.0, high - low) / slice_s
        return np.where(flashing > 0, FLASH_SHARE, share)

    def _lay_out(self, number: int) -> None:
        stages = self._stages(self.names[number])
        for index in np.nonzero(self._of == number)[0]:
            self._edges[index] = stages[self.approaches[index][2]]

    def _stages(self, name: str) -> list[tuple[float, float]]:
        one = self.controllers[name]
        shares, lost = self._config.signals[name].shares[one.plan], self._config.model.lost_s
        free, at, found = one.cycle - len(shares) * lost, 0.0, []
        for share in shares:
            found.append((at, at + free * share))
            at += free * share + lost
        return found

    def stage(self, name: str, local_s: float) -> int:
        """Number of the stage that is green or clearing, from 1; 0 while it flashes."""
        one = self.controllers[name]
        if one.flashing:
            return 0
        at = (local_s - one.begun) % one.cycle
        return sum(begin <= at for begin, _ in self._stages(name))

    def show(self, name: str, local_s: float) -> Mapping[str, float]:
        """What its controller says of itself."""
        one = self.controllers[name]
        return {
            "mode": 2 if one.flashing else 3 if one.plan_setpoint != BY_HOUR or one.cycle_setpoint else 1,
            "stage": self.stage(name, local_s),
            "plan": one.plan,
            "cycle": self._cycle(one),
            "offset": self._offset(name, one),
        }

    def set(self, name: str, field: str, value: float | None) -> None:
        """A setpoint: `plan` (0: by the hour), `cycle` in seconds (0: the plan's), `offset` (None: the plan's).

        ValueError when the controller does not take it.
        """
        one = self.controllers[name]
        if field == "offset" and (value is None or 0 <= value <= CYCLES_S[1]):
            one.offset_setpoint = value
        elif field == "plan" and value is not None and (value == BY_HOUR or value in self._config.cycles):
            one.plan_setpoint = int(value)
        elif field == "cycle" and value is not None and (value == 0 or CYCLES_S[0] <= value <= CYCLES_S[1]):
            one.cycle_setpoint = value or None
        else:
            raise ValueError(f"{name} takes no {field} = {value}")
