"""How much customers draw and panels give: by kind, hour, day of the week and weather. Used by the twin and by worlds.

Shapes are typical of Korean low-voltage customers: homes peak in the evening, shops by day, public buildings in office
hours. Heating adds below 16 degrees, cooling above 25.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
THURSDAY = 3  # 1970-01-01
CATEGORIES = ("res", "com", "pub", "light")
POWER_FACTOR: Mapping[str, float] = {"res": 0.97, "com": 0.93, "pub": 0.92, "light": 0.95}
HEATING: Mapping[str, float] = {"res": 0.010, "com": 0.014, "pub": 0.018, "light": 0.0}  # share per degree below 16
COOLING: Mapping[str, float] = {"res": 0.055, "com": 0.045, "pub": 0.040, "light": 0.0}  # share per degree above 25
Floats = NDArray[np.float64]


def _hours(*values: float) -> Floats:
    return np.asarray(np.array(values) / np.mean(values))


_RES = _hours(62, 55, 50, 48, 48, 52, 68, 92, 94, 80, 76, 76, 82, 79, 76, 78, 90, 114, 138, 152, 156, 152, 132, 95)
_COM = _hours(
    42, 39, 38, 37, 37, 40, 50, 66, 92, 120, 132, 136, 138, 138, 140, 140, 138, 136, 132, 126, 116, 98, 74, 52
)
_PUB = _hours(38, 36, 35, 35, 35, 37, 48, 78, 130, 168, 178, 180, 170, 176, 178, 174, 158, 118, 82, 66, 58, 52, 46, 41)
WEEKDAY: Mapping[str, Floats] = {"res": _RES, "com": _COM, "pub": _PUB}
WEEKEND: Mapping[str, Floats] = {
    "res": 1.10
    * _hours(
        66, 58, 52, 49, 48, 50, 58, 74, 92, 104, 108, 108, 112, 110, 106, 104, 108, 120, 136, 148, 150, 144, 126, 96
    ),
    "com": 0.82 * _COM,
    "pub": 0.45
    * _hours(80, 78, 77, 77, 77, 79, 85, 95, 110, 120, 124, 125, 124, 124, 123, 120, 116, 110, 104, 98, 94, 90, 86, 83),
}


def is_weekend(local_s: float) -> bool:
    """Whether that second since 1970, local time, lies on a Saturday or Sunday."""
    return (int(local_s // DAY_S) + THURSDAY) % 7 >= 5


def factor(category: str, local_s: float, temperature_c: float) -> float:
    """Present draw of a kind of customer over its mean, straight between the hours. Lights: `lights`."""
    shape = (WEEKEND if is_weekend(local_s) else WEEKDAY)[category]
    position = local_s % DAY_S / 3600.0
    hour, share = int(position) % 24, position - int(position)
    weather = (
        1.0 + HEATING[category] * max(0.0, 16.0 - temperature_c) + COOLING[category] * max(0.0, temperature_c - 25.0)
    )
    return float(shape[hour] * (1 - share) + shape[(hour + 1) % 24] * share) * weather


def day_length_h(latitude: float, day_of_year: int) -> float:
    """Hours between sunrise and sunset, from the sun's declination."""
    declination = math.radians(23.44) * math.sin(2 * math.pi * (day_of_year - 81) / 365.25)
    cosine = -math.tan(math.radians(latitude)) * math.tan(declination)
    return 24.0 / math.pi * math.acos(max(-1.0, min(1.0, cosine)))


def sun(latitude: float, day_of_year: int, local_s: float) -> float:
    """Clear-sky power of a panel over its peak: 0 at night, up to 0.9. Solar noon is taken at 12:30 local time."""
    hour = local_s % DAY_S / 3600.0
    declination = math.radians(23.44) * math.sin(2 * math.pi * (day_of_year - 81) / 365.25)
    angle = math.radians(15.0 * (hour - 12.5))
    lat = math.radians(latitude)
    height = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(angle)
    tilted = 0.35 * math.cos(angle) * math.cos(declination) + 0.65 * height  # a roof tilted to the south
    return max(0.0, 0.95 * tilted) if height > 0 else 0.0


def lights(latitude: float, day_of_year: int, local_s: float) -> float:
    """Street lights over their power: on from sunset to sunrise, over ten minutes; four tenths from 1 to 5 o'clock."""
    hour = local_s % DAY_S / 3600.0
    half = day_length_h(latitude, day_of_year) / 2
    into_night = max(hour - (12.5 + half), (12.5 - half) - hour)
    on = min(1.0, max(0.0, into_night * 6.0))
    return on * (0.4 if 1.0 <= hour < 5.0 else 1.0)
