"""32-bit floats of devices as the decimals they stand for. Pure; used by the adapters whose protocols carry them."""

import numpy as np


def shortest(raw: float) -> float:
    """The shortest decimal a 32-bit float stands for: 22.6, which its maker meant, and not 22.600000381469727."""
    return float(str(np.float32(raw)))
