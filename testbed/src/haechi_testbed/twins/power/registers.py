"""What relays and RTUs of the grid hold, register by register. Used by the part, which fills them, and by worlds.

Addresses count from 0, as on the wire. A maker's habits are kept on purpose: relays put the high word first, the
substation's RTU the low word, and small values are scaled integers.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

FORMATS: Mapping[str, str] = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f"}


@dataclass(frozen=True, slots=True)
class Field:
    """One register or bit: value = raw * scale. `unit` is the UN/CEFACT code of what it holds."""

    name: str
    table: str  # coil, holding or input
    address: int
    type: str
    unit: str = ""
    scale: float = 1.0
    word_order: str = "big"
    writable: bool = False

    @property
    def size(self) -> int:
        """Registers it takes (a coil: one bit)."""
        return 1 if self.type == "bit" else struct.calcsize(FORMATS[self.type]) // 2


RELAY = (
    Field("breaker", "coil", 0, "bit", writable=True),
    Field("bus", "input", 0, "f32", "KVT"),
    Field("current", "input", 2, "f32", "AMP"),
    Field("power", "input", 4, "i32", "KWT", 0.1),
    Field("reactive", "input", 6, "i32", "KVR", 0.1),
)
MAIN_SPAN, BANK_AT, TARGET_AT, STEPS_AT = 20, 60, 0, 10
MAIN = (
    Field("bus", "input", 0, "f32", "KVT", word_order="little"),
    Field("current", "input", 2, "f32", "AMP", word_order="little"),
    Field("power", "input", 4, "i32", "KWT", 0.1, "little"),
    Field("reactive", "input", 6, "i32", "KVR", 0.1, "little"),
    Field("loading", "input", 8, "u16", "P1", 0.1),
    Field("oil", "input", 9, "i16", "CEL", 0.1),
    Field("winding", "input", 10, "i16", "CEL", 0.1),
    Field("tap", "input", 11, "i16"),
)
STATION_SPAN = 10
STATION = (
    Field("voltage", "input", 0, "u16", "VLT", 0.1),
    Field("current", "input", 1, "u16", "AMP", 0.1),
    Field("power", "input", 2, "i32", "KWT", 0.01),
    Field("loading", "input", 4, "u16", "P1", 0.1),
    Field("oil", "input", 5, "i16", "CEL", 0.1),
)


def shifted(field: Field, by: int) -> Field:
    """The same further up in its table."""
    return Field(
        field.name,
        field.table,
        field.address + by,
        field.type,
        field.unit,
        field.scale,
        field.word_order,
        field.writable,
    )


def main_fields(index: int) -> tuple[Field, ...]:
    """Those of the substation's RTU for one of its transformers, the setpoint of its tap changer among them."""
    target = Field("target", "holding", TARGET_AT + 2 * index, "f32", "KVT", word_order="little", writable=True)
    return (*(shifted(one, MAIN_SPAN * index) for one in MAIN), target)


def bank_fields(index: int) -> tuple[Field, ...]:
    """Those of the substation's RTU for one capacitor bank."""
    return (
        Field("reactive", "input", BANK_AT + 2 * index, "i32", "KVR", 0.1, "little"),
        Field("steps", "holding", STEPS_AT + index, "u16", writable=True),
    )


def station_fields(slot: int) -> tuple[Field, ...]:
    """Those of a district's RTU for the transformer in one of its slots."""
    return tuple(shifted(one, STATION_SPAN * slot) for one in STATION)


def encode(field: Field, value: float) -> list[int]:
    """The registers that show a value; what does not fit shows the nearest that does."""
    if field.type == "f32":
        words = struct.unpack(">2H", struct.pack(">f", value))
    else:
        kind, size = FORMATS[field.type], 16 * field.size
        low, high = (-(2 ** (size - 1)), 2 ** (size - 1) - 1) if kind.islower() else (0, 2**size - 1)
        raw = min(high, max(low, round(value / field.scale)))
        words = struct.unpack(f">{field.size}H", struct.pack(">" + kind, raw))
    return list(words if field.word_order == "big" else words[::-1])


def decode(field: Field, words: list[int]) -> float:
    """The value that registers show; the inverse of `encode`."""
    ordered = words if field.word_order == "big" else words[::-1]
    (raw,) = struct.unpack(">" + FORMATS[field.type], struct.pack(f">{field.size}H", *ordered))
    return float(raw) * field.scale
