"""Small roads for the tests of the traffic twin: a corridor, with a signal or without."""

from dataclasses import replace

import numpy as np

from haechi_testbed.twins.traffic.cells import Cells, diagram
from haechi_testbed.twins.traffic.config import Detector, Model, Road, Signal, TrafficConfig, Turn
from haechi_testbed.twins.traffic.nodes import Floats

MODEL = Model(9.0, 5.0, 60.0, 1800.0, 150.0, 6.5, 0.0, 4.0, (0.0, 0.0), 1800.0)
SPEED = 20.0  # metres a second: a cell is 100 m
SHAPE = diagram(MODEL, SPEED)


def corridor(flow: float, lanes: tuple[int, int] = (2, 2), drop: float = 0.0) -> TrafficConfig:
    """Two kilometres, twice: `a` from n1 to n2 and `b` on to n3; `flow` vehicles an hour at the peak of any purpose."""
    roads = {"a": Road("a", "n1", "n2", 2000.0, lanes[0], SPEED), "b": Road("b", "n2", "n3", 2000.0, lanes[1], SPEED)}
    flows = (0.0, 0.0, flow)
    turns = (Turn("@n1", "a", flows), Turn("a", "b", flows), Turn("b", "@n3", flows))
    loops = {name: Detector(name, name[0], share) for name, share in (("a1", 0.25), ("a2", 0.9), ("b1", 0.5))}
    model = replace(MODEL, capacity_drop=drop)
    return TrafficConfig(model, roads, turns, {}, loops, {"a": ("a1", "a2")}, {}, {1: 120.0}, (1,) * 24, (1,) * 24)


def crossroads(share: float) -> TrafficConfig:
    """The corridor with a signal at n2 where `a` has that share of the green and nobody comes from the side."""
    plain = corridor(3000.0)
    side = Road("s", "n4", "n2", 1000.0, 1, SPEED)
    signal = Signal("TS-01", "n2", (("a",), ("s",)), {1: (share, 1.0 - share)}, {1: 0.0})
    return replace(plain, roads={**plain.roads, "s": side}, signals={"TS-01": signal})


def run(cells: Cells, slices: int, inflow: float, outflow: float) -> Floats:
    """Steps cells of one road alone: so many vehicles wait to get in each slice, so many may leave; what left when."""
    left = []
    for _ in range(slices):
        sending, taking = cells.demand(), cells.supply()
        inside = cells.inside(sending, taking)
        out = sending[cells.last].clip(max=outflow)
        cells.apply(inside, out, taking[cells.first].clip(max=inflow))
        left.append(float(out[0]))
    return np.array(left)
