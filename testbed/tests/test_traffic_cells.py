"""The cell transmission model against the theory it discretises: speeds, capacity, shock waves, conservation."""

import numpy as np
import pytest
from traffic_roads import MODEL, SHAPE, SPEED, run

from haechi_testbed.twins.traffic.cells import Cells, diagram
from haechi_testbed.twins.traffic.config import Road
from haechi_testbed.twins.traffic.nodes import GRAIN

LANES = 2
CAPACITY = SHAPE.capacity * LANES * MODEL.slice_s  # vehicles a slice


def road(length: float = 4000.0, drop: float = 0.0) -> Cells:
    model = MODEL if not drop else type(MODEL)(9.0, 5.0, 60.0, 1800.0, 150.0, 6.5, drop, 4.0, (0.0, 0.0), 1800.0)
    return Cells({"a": Road("a", "n1", "n2", length, LANES, SPEED)}, model)


def test_the_diagram_is_a_triangle_through_its_three_corners() -> None:
    assert pytest.approx(25.0) == SHAPE.critical * 1000, "1800 vehicles an hour at 72 km/h"
    assert SHAPE.wave * (SHAPE.jam - SHAPE.critical) == pytest.approx(SHAPE.capacity)
    assert 3.0 < SHAPE.wave < 6.0, "jams grow backwards with 11 to 22 km/h"


def test_in_free_flow_what_enters_leaves_after_the_time_it_takes_to_drive() -> None:
    cells = road(2000.0)
    left = run(cells, 60, 0.5 * CAPACITY, 1e6)
    drive = round(2000.0 / SPEED / MODEL.slice_s)
    assert left[:drive].sum() == 0.0
    assert left[drive:] == pytest.approx(0.5 * CAPACITY, rel=1e-4)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_steady_states_lie_on_the_triangle(share: float) -> None:
    free = road()
    run(free, 120, share * CAPACITY, 1e6)
    assert free.count / free.length / LANES == pytest.approx(share * SHAPE.capacity / SPEED, rel=1e-3)
    jammed = road()
    run(jammed, 1200, 1e6, share * CAPACITY)
    density = SHAPE.jam - share * SHAPE.capacity / SHAPE.wave
    assert jammed.count[10:] / jammed.length[10:] / LANES == pytest.approx(density, rel=1e-2)


def test_no_more_passes_than_the_capacity() -> None:
    cells = road()
    left = run(cells, 400, 1e6, 1e6)
    assert left.max() <= CAPACITY
    assert left[-50:] == pytest.approx(CAPACITY, rel=1e-4)


@pytest.mark.parametrize(("flow", "rest"), [(0.6, 0.0), (0.6, 0.3), (0.9, 0.5)])
def test_a_jam_grows_with_the_speed_of_the_shock_wave(flow: float, rest: float) -> None:
    """Rankine-Hugoniot: the tail moves with the difference of flows over the difference of densities."""
    cells = road(8000.0)
    run(cells, 100, flow * CAPACITY, 1e6)
    before = SHAPE.capacity * flow / SPEED
    behind = SHAPE.jam - SHAPE.capacity * rest / SHAPE.wave
    theory = SHAPE.capacity * (flow - rest) / (behind - before)

    def tail() -> float:
        """Length of the jam from the stop line, by its vehicles above those of free flow."""
        extra = (cells.count / LANES - before * cells.length).sum()
        return float(extra / (behind - before))

    run(cells, 40, flow * CAPACITY, rest * CAPACITY)
    first = tail()
    run(cells, 100, flow * CAPACITY, rest * CAPACITY)
    assert (tail() - first) / (100 * MODEL.slice_s) == pytest.approx(theory, rel=0.01)
    jammed = (cells.count / cells.length / LANES > 0.9 * behind).sum() * cells.length[0]
    assert jammed == pytest.approx(tail(), abs=3 * cells.length[0]), "and the tail is sharp"


def test_a_queue_dissolves_with_the_wave_speed() -> None:
    cells = road()
    run(cells, 600, 1e6, 0.0)
    assert cells.count.sum() == pytest.approx(cells.room.sum(), rel=1e-2)
    run(cells, 100, 0.0, 1e6)
    moving = (cells.count < 0.9 * cells.room).sum() * cells.length[0]
    assert moving == pytest.approx(SHAPE.wave * 100 * MODEL.slice_s, abs=5 * cells.length[0])


def test_an_accident_lets_only_its_share_through_and_the_jam_stands_upstream_of_it() -> None:
    cells = road()
    run(cells, 100, 0.6 * CAPACITY, 1e6)
    cells.open[20] = 0.35
    left = run(cells, 100, 0.6 * CAPACITY, 1e6)
    assert left[-20:] == pytest.approx(0.35 * CAPACITY, rel=1e-3)
    density = cells.count / cells.length / LANES
    assert density[18:20] == pytest.approx(SHAPE.jam - 0.35 * SHAPE.capacity / SHAPE.wave, rel=0.05)
    assert density[22:] == pytest.approx(0.35 * SHAPE.critical, rel=0.01)
    cells.open[20] = 1.0
    assert run(cells, 60, 0.6 * CAPACITY, 1e6).max() == pytest.approx(CAPACITY, rel=1e-3), "a queue leaves at capacity"


def test_with_a_capacity_drop_a_queue_leaves_slower_than_free_traffic() -> None:
    cells = road(drop=0.1)
    run(cells, 300, 1e6, 0.3 * CAPACITY)
    assert run(cells, 60, 1e6, 1e6)[-20:] == pytest.approx(0.9 * CAPACITY, rel=1e-3)
    free = road(drop=0.1)
    assert run(free, 120, 0.97 * CAPACITY, 1e6)[-20:] == pytest.approx(0.97 * CAPACITY, rel=1e-3)


def test_not_a_vehicle_is_lost_between_cells_to_the_last_bit() -> None:
    cells, rng = road(), np.random.default_rng(3)
    entered = left = 0.0
    for _ in range(2000):
        sending, taking = cells.demand(), cells.supply()
        out = np.floor(np.minimum(sending[cells.last], rng.uniform(0, CAPACITY)) / GRAIN) * GRAIN
        into = np.floor(np.minimum(taking[cells.first], rng.uniform(0, CAPACITY)) / GRAIN) * GRAIN
        cells.apply(cells.inside(sending, taking), out, into)
        entered, left = entered + float(into[0]), left + float(out[0])
        assert cells.count.min() >= 0.0
        assert (cells.count <= cells.room + 1e-9).all()
    assert entered - left == cells.count.sum()


def test_a_road_shorter_than_a_slice_of_driving_is_one_slower_cell() -> None:
    cells = Cells({"a": Road("a", "n1", "n2", 60.0, 1, SPEED)}, MODEL)
    assert len(cells.count) == 1
    assert diagram(MODEL, 12.0).speed == 60.0 / MODEL.slice_s
    assert run(cells, 20, 1.0, 1e6)[-1] == pytest.approx(1.0)
