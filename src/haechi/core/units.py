"""Units by their UN/CEFACT Recommendation 20 common codes, and linear conversion between units of one kind. Used by
ingest (what a device sends into what its type says), by the city check and by faces that answer in another unit.

The table holds what cities send; factors are exact fractions, so that 1 bar is 100 kPa and not 99.99999999999999.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from haechi.core.errors import InvalidData


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: `base = value * factor + offset` in the base unit of its kind."""

    code: str
    symbol: str
    kind: str
    factor: Fraction
    offset: Fraction = Fraction(0)


# kind: (code, symbol, factor to the kind's base unit[, offset])
_TABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "ratio": (("C62", "", "1"), ("P1", "%", "1/100"), ("59", "ppm", "1/1000000"), ("61", "ppb", "1/1000000000")),
    "pressure": (
        ("PAL", "Pa", "1"),
        ("A97", "hPa", "100"),
        ("MBR", "mbar", "100"),
        ("KPA", "kPa", "1000"),
        ("MPA", "MPa", "1000000"),
        ("BAR", "bar", "100000"),
        ("ATM", "atm", "101325"),
        ("N23", "mH₂O", "9806.65"),
        ("PS", "psi", "6894.757293168"),
    ),
    "length": (("MTR", "m", "1"), ("CMT", "cm", "1/100"), ("MMT", "mm", "1/1000"), ("KMT", "km", "1000")),
    "area": (("MTK", "m²", "1"), ("KMK", "km²", "1000000")),
    "volume": (("MTQ", "m³", "1"), ("LTR", "L", "1/1000"), ("MLT", "mL", "1/1000000")),
    "flow": (
        ("MQS", "m³/s", "1"),
        ("MQH", "m³/h", "1/3600"),
        ("G52", "m³/d", "1/86400"),
        ("G51", "L/s", "1/1000"),
        ("L2", "L/min", "1/60000"),
        ("E32", "L/h", "1/3600000"),
        ("LD", "L/d", "1/86400000"),
    ),
    "temperature": (("KEL", "K", "1"), ("CEL", "°C", "1", "273.15"), ("FAH", "°F", "5/9", "45967/180")),
    "energy": (
        ("JOU", "J", "1"),
        ("KJO", "kJ", "1000"),
        ("WHR", "Wh", "3600"),
        ("KWH", "kWh", "3600000"),
        ("MWH", "MWh", "3600000000"),
    ),
    "power": (("WTT", "W", "1"), ("KWT", "kW", "1000"), ("MAW", "MW", "1000000")),
    "apparent_power": (("D46", "VA", "1"), ("KVA", "kVA", "1000"), ("MVA", "MVA", "1000000")),
    "reactive_power": (("D44", "var", "1"), ("KVR", "kvar", "1000"), ("MAR", "Mvar", "1000000")),
    "voltage": (("VLT", "V", "1"), ("KVT", "kV", "1000")),
    "current": (("AMP", "A", "1"), ("4K", "mA", "1/1000"), ("B22", "kA", "1000")),
    "frequency": (("HTZ", "Hz", "1"), ("RPS", "r/s", "1"), ("RPM", "r/min", "1/60")),
    "mass": (("KGM", "kg", "1"), ("GRM", "g", "1/1000"), ("TNE", "t", "1000")),
    "mass_flow": (
        ("KGS", "kg/s", "1"),
        ("E93", "kg/h", "1/3600"),
        ("F29", "g/s", "1/1000"),
        ("F27", "g/h", "1/3600000"),
        ("F30", "kg/d", "1/86400"),
    ),
    "concentration": (
        ("KMQ", "kg/m³", "1"),
        ("A93", "g/m³", "1/1000"),
        ("M1", "mg/L", "1/1000"),
        ("GP", "mg/m³", "1/1000000"),
        ("GQ", "µg/m³", "1/1000000000"),
    ),
    "speed": (("MTS", "m/s", "1"), ("KMH", "km/h", "5/18"), ("KNT", "kn", "1852/3600")),
    "rainfall": (("H67", "mm/h", "1"),),
    "angle": (("C81", "rad", "1"), ("DD", "°", repr(math.pi / 180))),
    "time": (
        ("SEC", "s", "1"),
        ("C26", "ms", "1/1000"),
        ("MIN", "min", "60"),
        ("HUR", "h", "3600"),
        ("DAY", "d", "86400"),
    ),
    "conductivity": (("D10", "S/m", "1"), ("H61", "mS/cm", "1/10"), ("G42", "µS/cm", "1/10000")),
    "irradiance": (("D54", "W/m²", "1"),),
    "illuminance": (("LUX", "lx", "1"),),
    "level": (("2N", "dB", "1"),),
    "acidity": (("Q30", "pH", "1"),),
    "memory": (("AD", "B", "1"), ("4L", "MB", "1000000"), ("E34", "GB", "1000000000")),
    "turbidity": (("NTU", "NTU", "1"),),
}


def _fraction(text: str) -> Fraction:
    above, _, below = text.partition("/")
    return Fraction(above) / Fraction(below or "1")


UNITS: dict[str, Unit] = {
    code: Unit(code, symbol, kind, _fraction(factor), _fraction(offset[0]) if offset else Fraction(0))
    for kind, rows in _TABLE.items()
    for code, symbol, factor, *offset in rows
}


def unit(code: str) -> Unit:
    """The unit of a common code; `InvalidData` (reason `unknown_unit`) when the table has none."""
    found = UNITS.get(code)
    if found is None:
        raise InvalidData(
            f"{code!r} is no UN/CEFACT common code that Haechi knows; use one of haechi.core.units, e.g. KPA, MQH, CEL",
            "unknown_unit",
        )
    return found


def symbol(code: str | None) -> str:
    """As people write it: "kV" for KVT. The code itself where the table has none, "" for no unit."""
    return UNITS[code].symbol if code in UNITS else code or ""


@cache
def factor_offset(source: str, target: str) -> tuple[float, float]:
    """(factor, offset) with `target_value = source_value * factor + offset`, for whole columns at a time.

    `InvalidData` with reason `unknown_unit` or `unit_mismatch` (another kind of quantity).
    """
    start, end = unit(source), unit(target)
    if start.kind != end.kind:
        raise InvalidData(
            f"{source} measures {start.kind}, {target} measures {end.kind}: they do not convert; mend the link's unit",
            "unit_mismatch",
        )
    return float(start.factor / end.factor), float((start.offset - end.offset) / end.factor)


def convert(value: float, source: str, target: str) -> float:
    """The value in another unit of the same kind; errors as in `factor_offset`."""
    if source == target:
        return value
    factor, offset = factor_offset(source, target)
    return value * factor + offset
