"""The node model: Daganzo's merge and diverge as its simple cases, and what Tampère et al. ask of every node."""

import numpy as np
import pytest

from haechi_testbed.twins.traffic.nodes import GRAIN, Floats, transfer


def one(wanted: list[list[float]], capacity: list[float], supply: list[float]) -> Floats:
    """A single junction."""
    return transfer(np.array([wanted]), np.array([capacity]), np.array([supply]))[0]


def test_where_there_is_room_everyone_passes() -> None:
    assert one([[3.0, 1.0], [0.0, 2.0]], [5.0, 5.0], [9.0, 9.0]).tolist() == [[3.0, 1.0], [0.0, 2.0]]


def test_a_diverge_is_first_in_first_out() -> None:
    """Daganzo 1995: who is held back for one exit holds back those behind who want the other."""
    passed = one([[4.0, 4.0]], [10.0], [9.0, 1.0])
    assert passed[0].tolist() == pytest.approx([1.0, 1.0], abs=2 * GRAIN)


def test_a_merge_shares_what_is_scarce_by_capacity() -> None:
    """Daganzo 1995: the middle of demand, priority and what the other leaves."""
    assert one([[6.0], [6.0]], [6.0, 12.0], [9.0])[:, 0] == pytest.approx([3.0, 6.0], abs=2 * GRAIN)
    assert one([[1.0], [9.0]], [6.0, 12.0], [9.0])[:, 0] == pytest.approx([1.0, 8.0], abs=2 * GRAIN)
    assert one([[9.0], [2.0]], [12.0, 12.0], [9.0])[:, 0] == pytest.approx([7.0, 2.0], abs=2 * GRAIN)


def test_red_lets_nobody_pass() -> None:
    assert one([[0.0, 0.0], [1.0, 0.0]], [0.0, 5.0], [2.0, 2.0]).tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_what_every_node_model_must_keep_holds_for_a_thousand_random_junctions() -> None:
    rng = np.random.default_rng(7)
    capacity = rng.uniform(1.0, 10.0, (1000, 4))
    share = rng.dirichlet(np.ones(4), (1000, 4))
    wanted = share * (capacity * rng.uniform(0.0, 1.0, (1000, 4)))[:, :, None]
    supply = rng.uniform(0.5, 8.0, (1000, 4))
    passed = transfer(wanted, capacity, supply)
    assert (passed >= 0).all()
    assert (passed <= wanted).all(), "no more than wants to"
    assert (passed.sum(axis=1) <= supply + 1e-9).all(), "no more than there is room for"
    out, total = passed.sum(axis=2), wanted.sum(axis=2)
    turns = passed / np.maximum(out, 1e-3)[:, :, None]
    assert np.abs(turns - share)[out > 1e-3].max() < 4 * GRAIN / 1e-3, "turning shares stay as they are"
    assert (np.modf(passed / GRAIN)[0] == 0).all(), "in whole grains"
    full = (supply - passed.sum(axis=1)) < 1e-4
    uses = (wanted > 0) & full[:, None, :]
    held = out < total - 1e-4
    assert uses.any(axis=2)[held].all(), "who is held back wants an exit that is full"
    smaller = transfer(wanted, capacity, np.minimum(supply, passed.sum(axis=1) + 1e-3))
    assert np.abs(smaller - passed).max() < 2e-2, "invariance: room nobody could use does not matter"
