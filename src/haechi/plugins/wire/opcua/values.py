"""Values of OPC UA variables to what JSON can say, and back into the type a variable has. Pure; used by the adapter."""

import math
from datetime import datetime

from asyncua import ua

from haechi.core.errors import InvalidData
from haechi.core.floats import shortest
from haechi.core.times import format_iso, to_us

INTEGERS = {f"{sign}Int{bits}": bits for sign in ("", "U") for bits in (16, 32, 64)} | {"SByte": 8, "Byte": 8}
Value = float | int | bool | str


def plain(value: object, kind: ua.VariantType | None) -> Value:
    """The value JSON can say; `InvalidData` for what is no single value (arrays, structures, bytes) or no number."""
    if type(value) is float and math.isfinite(value):  # what most are
        return shortest(value) if kind is ua.VariantType.Float else value
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidData(f"the server says {value}: it has no value", "not_a_number")
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, ua.LocalizedText):
        return str(value.Text or "")
    if isinstance(value, datetime):
        return format_iso(to_us(value))
    raise InvalidData("no single value" if value is not None else "no value", "not_scalar")


def typed(kind: ua.VariantType, value: object, what: str) -> ua.Variant:
    """The value in the type the variable has; `InvalidData` when it does not fit."""
    if kind is ua.VariantType.Boolean and (isinstance(value, bool) or value in (0, 1)):
        return ua.Variant(bool(value), kind)
    if kind is ua.VariantType.String and isinstance(value, str):
        return ua.Variant(value, kind)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if kind in (ua.VariantType.Double, ua.VariantType.Float):
            return ua.Variant(float(value), kind)
        if kind.name in INTEGERS and value == math.floor(value) and _fits(kind, int(value)):
            return ua.Variant(int(value), kind)
    raise InvalidData(f"{what}: {value!r} does not fit into {kind.name}", "bad_value")


def _fits(kind: ua.VariantType, value: int) -> bool:
    bits = INTEGERS[kind.name]
    if kind.name.startswith(("U", "Byte")):
        return 0 <= value < 1 << bits
    return -(1 << bits - 1) <= value < 1 << bits - 1
