"""Roads cut into cells, and what moves from cell to cell: the cell transmission model. Used by the twin.

C. F. Daganzo, "The cell transmission model", Transportation Research B 28 (1994) 269-287 and 29 (1995) 79-93: the
Godunov scheme of Lighthill, Whitham (1955) and Richards (1956) with a triangular fundamental diagram (Newell 1993).
What moves is the least of what can be sent (demand) and what can be taken (supply); it is counted in grains of 2^-20
vehicle, so that the sum over all cells, queues and exits stays exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haechi_testbed.twins.traffic.config import Model, Road
from haechi_testbed.twins.traffic.nodes import whole

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Diagram:
    """A triangular fundamental diagram of one lane: metres and seconds."""

    speed: float
    capacity: float  # vehicles a second
    jam: float  # vehicles a metre

    @property
    def critical(self) -> float:
        """Density at capacity, vehicles a metre."""
        return self.capacity / self.speed

    @property
    def wave(self) -> float:
        """Speed at which a jam grows against the traffic, metres a second."""
        return self.capacity / (self.jam - self.critical)


def diagram(model: Model, speed: float) -> Diagram:
    """Of a road with that free-flow speed."""
    return Diagram(speed, model.saturation_h / 3600.0, model.jam_km / 1000.0)


class Cells:
    """All cells of all roads in one row, those of a road in the direction of travel."""

    def __init__(self, roads: Mapping[str, Road], model: Model) -> None:
        """Empty roads. A cell is as long as a vehicle drives in a slice, or longer."""
        dt = model.slice_s
        self.dt_s = dt
        first: list[int] = []
        columns: list[Sequence[float]] = []
        for road in roads.values():
            count = max(1, int(road.length / (road.speed * dt)))
            length = road.length / count
            shape = diagram(model, min(road.speed, length / dt))
            first.append(len(columns))
            columns += [(length, road.lanes, shape.speed, shape.capacity, shape.jam, shape.wave)] * count
        length, lanes, speed, capacity, jam, wave = np.array(columns).T
        self.length: Floats = length
        self.lanes: Floats = lanes
        self.first: Ints = np.array(first)
        self.last: Ints = np.array([*first[1:], len(columns)]) - 1
        self.capacity: Floats = capacity * lanes * dt  # vehicles a slice
        self.room: Floats = jam * lanes * length
        self._send: Floats = speed * dt / length
        self._take: Floats = wave * dt / length
        self._drop = 1.0 - model.capacity_drop
        self.count: Floats = np.zeros(len(columns))
        self.open: Floats = np.ones(len(columns))  # share of the capacity an accident leaves
        self.out: Floats = np.zeros(len(columns))  # what left each cell in the last slice
        self.before: Floats = np.zeros(len(columns))  # what was in each at its beginning
        self._inner = np.ones(len(columns) - 1, dtype=bool)
        self._inner[self.last[:-1]] = False

    def demand(self) -> Floats:
        """What each cell could send, vehicles a slice; out of a queue a little less with a capacity drop."""
        limit = self.capacity * self.open
        queued = self._send * self.count > self.capacity
        return np.minimum(self._send * self.count, np.where(queued, limit * self._drop, limit))

    def supply(self) -> Floats:
        """What each cell could take, vehicles a slice."""
        return np.maximum(0.0, np.minimum(self.capacity, self._take * (self.room - self.count)))

    def inside(self, demand: Floats, supply: Floats) -> Floats:
        """What leaves each cell for the next one of the same road; nothing at the end of a road."""
        moved = np.zeros_like(self.count)
        moved[:-1] = np.where(self._inner, np.minimum(demand[:-1], supply[1:]), 0.0)
        return whole(moved)

    def apply(self, moved: Floats, left: Floats, entered: Floats) -> None:
        """Moves vehicles: `moved` inside the roads, `left` and `entered` at their ends and beginnings, by road."""
        moved[self.last] = left
        change = -moved
        change[1:] += np.where(self._inner, moved[:-1], 0.0)
        change[self.first] += entered
        self.before = self.count
        self.count = self.count + change
        self.out = moved
