"""How warm a transformer gets: the top-oil and hot-spot equations of IEC 60076-7:2018, clause 8.2. Used by the twin."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Table 4 of the standard, distribution transformers, natural cooling (ONAN).
LOSS_RATIO = 5.0  # load losses over no-load losses
OIL_RISE_K = 55.0  # top oil at rated load
GRADIENT_K = 23.0  # hot spot over top oil at rated load
OIL_EXPONENT, WINDING_EXPONENT = 0.8, 1.6
OIL_S, WINDING_S = 180 * 60.0, 4 * 60.0


def oil_rise(load: Floats) -> Floats:
    """Top oil over the air once it is steady, kelvin; `load` is the current over the rated one."""
    return np.asarray(OIL_RISE_K * ((1 + LOSS_RATIO * load**2) / (1 + LOSS_RATIO)) ** OIL_EXPONENT)


class Heat:
    """Temperatures of many transformers that follow their load with the standard's time constants."""

    def __init__(self, load: Floats) -> None:
        """Steady at that load."""
        self._oil = oil_rise(load)
        self._winding = GRADIENT_K * load**WINDING_EXPONENT

    def step(self, load: Floats, dt_s: float) -> None:
        """Moves on; exact for a load that stays the same over the step."""
        self._oil += (oil_rise(load) - self._oil) * -np.expm1(-dt_s / OIL_S)
        self._winding += (GRADIENT_K * load**WINDING_EXPONENT - self._winding) * -np.expm1(-dt_s / WINDING_S)

    def oil(self, air_c: float) -> Floats:
        """Top oil, degrees Celsius."""
        return air_c + self._oil

    def hot_spot(self, air_c: float) -> Floats:
        """Hottest place of the winding, degrees Celsius."""
        return air_c + self._oil + self._winding
