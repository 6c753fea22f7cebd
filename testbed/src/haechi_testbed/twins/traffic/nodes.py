"""What passes a junction in a slice of time: the node model of Tampère et al. 2011, for all junctions at once. Pure.

C. M. J. Tampère, R. Corthout, D. Cattrysse, L. H. Immers, "A generic class of first order node models for dynamic
macroscopic simulation of traffic flows", Transportation Research B 45 (2011) 289-309: flows are maximised for each
approach, first in first out on it, what is scarce downstream is shared in proportion to capacity (oriented by turn).
Daganzo's merge and diverge (Transportation Research B 29 (1995) 79-93) are its cases with one exit or one approach.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GRAIN = 2.0**-20  # vehicles: multiples of a power of two add without any rounding, so that not a vehicle is lost


def whole(flow: Floats) -> Floats:
    """Rounded down to the grain."""
    return np.floor(flow / GRAIN) * GRAIN


def transfer(wanted: Floats, capacity: Floats, supply: Floats) -> Floats:
    """Vehicles from each approach to each exit of each junction: an array like `wanted`, in grains.

    `wanted` (junctions, approaches, exits): what could leave each approach, split by turn, at most its capacity.
    `capacity` (junctions, approaches). `supply` (junctions, exits): what each exit can take.
    """
    total = wanted.sum(axis=2)
    share = wanted / np.where(total > 0, total, 1.0)[:, :, None]
    weight = share * capacity[:, :, None]
    waiting = wanted > 0
    passed, left = np.zeros_like(wanted), supply.astype(np.float64)
    every = np.arange(len(wanted))
    for _ in range(wanted.shape[1]):  # each round settles at least one approach of every junction
        if not waiting.any():
            break
        load = np.einsum("nio,nio->no", weight, waiting)
        ratio = np.where(load > 0, left / np.where(load > 0, load, 1.0), np.inf)
        tight = ratio.argmin(axis=1)
        scale = ratio[every, tight]
        scale = np.where(np.isfinite(scale), scale, 0.0)
        users = waiting[every, :, tight]
        free = users & (total <= scale[:, None] * capacity)
        held = users & ~free.any(axis=1)[:, None]
        passed += np.where(free[:, :, None], wanted, 0.0) + np.where(
            held[:, :, None], scale[:, None, None] * weight, 0.0
        )
        left = np.maximum(0.0, supply - passed.sum(axis=1))
        waiting &= ~(free | held)[:, :, None]
    return whole(passed)
