"""How a puff spreads and rises: Pasquill-Gifford classes, Briggs' widths and plume rise. Pure; used by the twin.

Sources: Pasquill 1961, Gifford 1961 (classes); Briggs 1973 (widths in open country), 1975 (rise).
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GRAVITY = 9.80665
# (a, b) of sigma_y = a x (1 + 0.0001 x)^-1/2 and (a, b, exponent) of sigma_z = a x (1 + b x)^exponent; x in metres.
_SIDE = {"A": 0.22, "B": 0.16, "C": 0.11, "D": 0.08, "E": 0.06, "F": 0.04}
_UP = {
    "A": (0.20, 0.0, 0.0),
    "B": (0.12, 0.0, 0.0),
    "C": (0.08, 0.0002, -0.5),
    "D": (0.06, 0.0015, -0.5),
    "E": (0.03, 0.0003, -1.0),
    "F": (0.016, 0.0003, -1.0),
}
_STABLE = {"E": 0.020, "F": 0.035}  # K/m
MIXING_M = {"A": 1500.0, "B": 1300.0, "C": 1000.0, "D": 700.0, "E": 350.0, "F": 250.0}


def stability(hour: float, speed_m_s: float) -> str:
    """Class A (very unstable) to F (stable) of an hour of the local day (0–24) at a wind speed, under a fair sky."""
    sun = math.sin(math.pi * (hour - 7.0) / 11.0) if 7.0 < hour < 18.0 else 0.0
    if sun <= 0.15:
        return "F" if speed_m_s < 2 else "E" if speed_m_s < 4 else "D"
    if speed_m_s < 2:
        return "A" if sun > 0.6 else "B"
    if speed_m_s < 4:
        return "B" if sun > 0.6 else "C"
    return "C" if sun > 0.6 and speed_m_s < 6 else "D"


def widths(distance_m: Floats, klass: str) -> tuple[Floats, Floats]:
    """Briggs' sigma_y and sigma_z in metres after a way through air of one class."""
    a, b, exponent = _UP[klass]
    side = _SIDE[klass] * distance_m / np.sqrt(1.0 + 0.0001 * distance_m)
    return side, a * distance_m * (1.0 + b * distance_m) ** exponent


def rise(
    exit_speed_m_s: float, diameter_m: float, temperatures_k: tuple[float, float], speed_m_s: float, klass: str
) -> float:
    """Briggs' final rise in metres of a warm plume; temperatures of the gas and of the air."""
    gas, air = temperatures_k
    buoyancy = GRAVITY * exit_speed_m_s * diameter_m**2 / 4 * max(0.0, gas - air) / gas  # m4/s3
    wind = max(1.0, speed_m_s)
    if klass in _STABLE:
        stiffness = GRAVITY / air * _STABLE[klass]
        return 2.6 * math.pow(buoyancy / (wind * stiffness), 1 / 3)
    reach = 49.0 * math.pow(buoyancy, 0.625) if buoyancy < 55 else 119.0 * math.pow(buoyancy, 0.4)
    return 1.6 * math.pow(buoyancy, 1 / 3) * math.pow(reach, 2 / 3) / wind


def share(offsets: Floats, widths_m: Floats, heights_m: Floats, receptor_m: float) -> Floats:
    """Concentration per mass (1/m3) of each puff at each receptor, the ground reflecting.

    `offsets` (receptors, puffs, 2): metres east and north; `widths_m` (puffs, 2): horizontal, vertical.
    """
    side, up = widths_m[:, 0], widths_m[:, 1]
    level = np.exp(-np.square(offsets).sum(axis=2) / (2.0 * side**2))
    above = np.exp(-np.square(receptor_m - heights_m) / (2.0 * up**2))
    mirrored = np.exp(-np.square(receptor_m + heights_m) / (2.0 * up**2))
    return np.asarray(level * (above + mirrored) / ((2.0 * np.pi) ** 1.5 * side**2 * up))
