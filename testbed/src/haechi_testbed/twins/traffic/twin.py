"""The traffic twin: vehicles on the main roads of a city, hour by hour. Used by the part, by worlds and by tests.

Everything random comes from one seeded generator: the same seed and the same steps give the same traffic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haechi_testbed.twins.traffic import demand
from haechi_testbed.twins.traffic.cells import Cells, Floats, Ints
from haechi_testbed.twins.traffic.config import TrafficConfig
from haechi_testbed.twins.traffic.nodes import transfer
from haechi_testbed.twins.traffic.signals import Signals

SPIN_UP_S = 3600.0
WALK_S = 60.0  # turns and origins follow the hour in such steps
FLOOR = 0.02  # of all purposes together, so that every approach knows where to turn at any hour
ENDLESS = 1e6
LEAST_S = 1.0  # a road on which nobody spent that long was empty
ORIGIN_H = 900.0  # vehicles an hour that one side street can send at least
# Share of a road's capacity left by the number of its lanes, and of those blocked: HCM 2010, exhibit 10-17; with all
# lanes blocked traffic is waved past one by one.
LEFT: Mapping[int, tuple[float, ...]] = {
    1: (1.0, 0.10),
    2: (1.0, 0.35, 0.08),
    3: (1.0, 0.49, 0.17, 0.06),
    4: (1.0, 0.58, 0.25, 0.13, 0.05),
}
Values = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Junctions:
    """Where roads and zones meet, as indices into arrays (junctions, approaches or exits); -1 is nothing there."""

    names: tuple[str, ...]
    approaches: Ints  # road arriving, or zone's origin: len(roads) + junction
    exits: Ints  # road leaving, or zone's sink: len(roads) + junction


class TrafficTwin:
    """One city's roads. Times in local seconds since 1970; metres, vehicles."""

    def __init__(self, config: TrafficConfig, seed: int, local_s: float) -> None:
        """Starts at that local time with an hour of traffic already on the roads."""
        self._config, self.model = config, config.model
        self._rng = np.random.default_rng(seed)
        self._roads = list(config.roads)
        self._index = {name: number for number, name in enumerate(self._roads)}
        self.cells = Cells(config.roads, config.model)
        self.now_s = local_s - SPIN_UP_S
        self.signals = Signals(config, self.now_s)
        self._signalled = np.array([self._index[road] for road, _, _ in self.signals.approaches], dtype=np.intp)
        self.junctions = self._meet()
        self._flows = self._turns()
        self._walk = demand.Walk(len(self.junctions.names), config.model.spread, config.model.memory_s, self._rng)
        self._walked_at = -np.inf
        self._shares: Floats = np.zeros(0)
        self._arrivals: Floats = np.zeros(0)
        self.queued: Floats = np.zeros(len(self.junctions.names))  # waiting in the side streets of each zone
        self.entered, self.left = 0.0, 0.0  # vehicles since the start, queues included
        self._accidents: dict[str, float] = {}
        self._held_s = 0.0
        self._period_s = 0.0
        places = [self._cell(one.road, one.at) for one in config.detectors.values()]
        self._places = np.array(places, dtype=np.intp)
        self._sums = np.zeros((3, len(places)))  # passed, metres driven, seconds spent
        self._road_sums = np.zeros((2, len(self._roads)))  # metres driven, seconds spent
        self._carry: Floats = np.zeros(len(places))
        self.periods = 0
        self._shown: Values = {}
        self.step(SPIN_UP_S)

    # --- how it hangs together ----------------------------------------------------------------------------------------

    def _meet(self) -> Junctions:
        names = tuple(sorted({end for road in self._config.roads.values() for end in (road.start, road.end)}))
        zone = len(self._roads)
        arriving: list[list[int]] = [[zone + number] for number in range(len(names))]
        leaving: list[list[int]] = [[zone + number] for number in range(len(names))]
        for number, road in enumerate(self._config.roads.values()):
            arriving[names.index(road.end)].append(number)
            leaving[names.index(road.start)].append(number)
        return Junctions(names, _padded(arriving), _padded(leaving))

    def _turns(self) -> Floats:
        """Vehicles an hour at the peak of each purpose: (purposes, junctions, approaches, exits)."""
        meet, zone = self.junctions, len(self._roads)
        found = np.zeros((len(demand.PURPOSES), *meet.approaches.shape, meet.exits.shape[1]))
        number_of = {name: number for number, name in enumerate(meet.names)}
        for turn in self._config.turns:
            at = turn.source[1:] if turn.source.startswith("@") else self._config.roads[turn.source].end
            junction = number_of[at]
            source = zone + junction if turn.source.startswith("@") else self._index[turn.source]
            target = zone + junction if turn.target.startswith("@") else self._index[turn.target]
            (approach,) = np.nonzero(meet.approaches[junction] == source)[0]
            (way,) = np.nonzero(meet.exits[junction] == target)[0]
            found[:, junction, approach, way] = turn.flows
        return found

    def _cell(self, road: str, at: float) -> int:
        first, last = self.cells.first[self._index[road]], self.cells.last[self._index[road]]
        return int(min(last, first + int(at * (last - first + 1))))

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Advances by that many seconds; what is left of a slice waits for the next call."""
        self._held_s += dt_s
        while self._held_s >= self.model.slice_s:
            self._held_s -= self.model.slice_s
            self._slice()

    def _follow_the_hour(self) -> None:
        """Where people turn and how many set out, once a minute."""
        self._walk.step(WALK_S)
        self._walked_at = self.now_s
        weights = demand.weights(self.now_s)
        now = sum(weights[one] * self._flows[number] for number, one in enumerate(demand.PURPOSES))
        flows = np.asarray(now + FLOOR * self._flows.sum(axis=0))
        total = flows.sum(axis=2, keepdims=True)
        self._shares = flows / np.where(total > 0, total, 1.0)
        origins = np.asarray(now)[:, 0, :].sum(axis=1) * self._walk.factors()
        self._arrivals = origins * self.model.slice_s / 3600.0

    def _slice(self) -> None:
        if self.now_s - self._walked_at >= WALK_S:
            self._follow_the_hour()
        cells, zone = self.cells, len(self._roads)
        arrived = self._rng.poisson(self._arrivals).astype(np.float64)
        self.queued += arrived
        self.entered += float(arrived.sum())
        sending, taking = cells.demand(), cells.supply()
        inside = cells.inside(sending, taking)
        limit = cells.capacity[cells.last] * cells.open[cells.last]
        limit[self._signalled] *= self.signals.greens(self.now_s, self.model.slice_s)
        side = np.maximum(ORIGIN_H / 3600.0 * self.model.slice_s, 1.5 * self._arrivals)
        passed = self._cross(
            np.concatenate((np.minimum(sending[cells.last], limit), np.minimum(self.queued, side), [0.0])),
            np.concatenate((limit, side, [0.0])),
            np.concatenate((taking[cells.first], np.full(len(self.queued), ENDLESS), [0.0])),
        )
        out, into = self._ends(passed)
        cells.apply(inside, out[:zone], into[:zone])
        self.queued -= out[zone:-1]
        self.left += float(into[zone:-1].sum())
        self.now_s += self.model.slice_s
        self._watch()

    def _cross(self, sending: Floats, limit: Floats, taking: Floats) -> Floats:
        meet = self.junctions
        wanted = self._shares * sending[meet.approaches][:, :, None]
        return transfer(wanted, limit[meet.approaches], taking[meet.exits])

    def _ends(self, passed: Floats) -> tuple[Floats, Floats]:
        """What left each road and zone and what entered each; the last place stands for nothing."""
        size = len(self._roads) + len(self.queued) + 1
        out, into = np.zeros(size), np.zeros(size)
        np.add.at(out, self.junctions.approaches, passed.sum(axis=2))
        np.add.at(into, self.junctions.exits, passed.sum(axis=1))
        return out, into

    # --- what can be seen ---------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Edie's sums over the period: vehicles passed, metres driven and seconds spent (Edie 1963)."""
        cells, dt = self.cells, self.model.slice_s
        driven, spent = cells.out * cells.length, cells.before * dt
        here = self._places
        self._sums += np.stack((cells.out[here], driven[here], spent[here]))
        self._road_sums += np.stack((np.add.reduceat(driven, cells.first), np.add.reduceat(spent, cells.first)))
        self._period_s += dt
        if self._period_s >= self.model.period_s:
            self._show()
            self._period_s = 0.0
            self._sums[:] = 0.0
            self._road_sums[:] = 0.0

    def _show(self) -> None:
        cells, period = self.cells, self._period_s
        passed, driven, spent = self._sums
        heard = passed + self._carry
        count = np.floor(heard)
        self._carry = heard - count
        speed = np.where(spent > 0, driven / np.where(spent > 0, spent, 1.0), 0.0)
        density = spent / period / cells.length[self._places] / cells.lanes[self._places]
        occupancy = np.minimum(1.0, density * self.model.loop_m)
        self._shown = {
            name: {
                "count": float(count[number]),
                "speed": float(speed[number]) * 3.6,
                "occupancy": float(occupancy[number]),
            }
            for number, name in enumerate(self._config.detectors)
        }
        self.periods += 1
        self._travel = self._road_sums.copy()

    def observe(self) -> Values:
        """What each loop saw in the last full period: vehicles, km/h (0: none came), share of the time covered."""
        return self._shown

    def road(self, name: str) -> dict[str, float]:
        """Mean speed (km/h) over the last full period, vehicles and share of its room taken now, of a whole road."""
        number = self._index[name]
        mine = slice(int(self.cells.first[number]), int(self.cells.last[number]) + 1)
        driven, spent = self._travel[:, number]
        count = float(self.cells.count[mine].sum())
        free = self._config.roads[name].speed
        speed = driven / spent if spent > LEAST_S else free
        return {
            "speed": min(free, speed) * 3.6,
            "vehicles": count,
            "fullness": count / float(self.cells.room[mine].sum()),
        }

    @property
    def on_the_way(self) -> float:
        """Vehicles on the roads and waiting to get on them."""
        return float(self.cells.count.sum() + self.queued.sum())

    # --- faults -------------------------------------------------------------------------------------------------------

    def apply(self, fault: str, target: str, on: bool, severity: float = 1.0) -> None:
        """`accident` on a road (severity: share of its lanes blocked), `signal_failure`; else ValueError."""
        if fault == "accident" and target in self._index:
            road = self._config.roads[target]
            blocked = min(road.lanes, max(1, round(severity * road.lanes)))
            self.cells.open[self._cell(target, 0.5)] = LEFT[min(road.lanes, 4)][blocked] if on else 1.0
        elif fault == "signal_failure" and target in self.signals.controllers:
            self.signals.controllers[target].flashing = on
        else:
            raise ValueError(f"traffic knows accident@<road> and signal_failure@<signal>, not {fault}@{target}")


def _padded(rows: Sequence[Sequence[int]]) -> Ints:
    """Rows of one length; -1 is the last place of what they index."""
    width = max(len(row) for row in rows)
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.intp)
