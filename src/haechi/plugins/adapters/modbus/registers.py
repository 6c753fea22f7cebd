"""Registers to values and back, and which requests read them. Pure; used by the poller of a device.

Clauses are of the Modbus Application Protocol Specification V1.1b3.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from haechi.core.errors import InvalidData
from haechi.core.floats import shortest
from haechi.plugins.adapters.modbus.settings import Block, Register

WORDS_MAX, BITS_MAX = 125, 2000  # in one request: 6.3, 6.4 and 6.1, 6.2
_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "u64": "Q", "i64": "q", "f64": "d"}
_ORDERS = {"big": ">", "little": "<"}
Value = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Span:
    """One read request and the registers it answers."""

    table: str
    start: int
    count: int
    registers: tuple[Register, ...]

    def halves(self) -> tuple["Span", "Span"]:
        """Two smaller requests that leave out what lies between; for a device that refuses the whole."""
        middle = len(self.registers) // 2
        return _around(self.registers[:middle]), _around(self.registers[middle:])

    def __str__(self) -> str:
        return f"{self.table} {self.start}-{self.start + self.count - 1}"


def spans(registers: Sequence[Register], blocks: Sequence[Block]) -> list[Span]:
    """The fewest requests that read all registers: neighbours together, gaps only inside a block, within limits."""
    found: list[Span] = []
    ordered = sorted(registers, key=lambda one: (one.table, one.address, one.size))
    for one in ordered:
        last = found[-1] if found else None
        if last is not None and last.table == one.table and _joins(last, one, blocks):
            found[-1] = _around((*last.registers, one))
        else:
            found.append(_around((one,)))
    return found


def _around(registers: tuple[Register, ...]) -> Span:
    start = min(one.address for one in registers)
    end = max(one.address + one.size for one in registers)
    return Span(registers[0].table, start, end - start, registers)


def _joins(span: Span, one: Register, blocks: Sequence[Block]) -> bool:
    end, last = span.start + span.count, one.address + one.size
    if max(end, last) - span.start > (BITS_MAX if one.is_bits else WORDS_MAX):
        return False
    gap_is_known = any(
        block.table == one.table and block.start <= end and last <= block.start + block.count for block in blocks
    )
    return one.address <= end or gap_is_known


def decode(register: Register, span: Span, content: Sequence[int] | Sequence[bool]) -> Value:
    """The value of one register of a span that was read; `InvalidData` when it holds no value (NaN, no text)."""
    at = register.address - span.start
    if register.is_bits:
        return bool(content[at])
    words = [int(one) for one in content[at : at + register.size]]
    if register.type == "bit":
        return bool(words[0] >> register.bit & 1)
    if register.type == "string":
        return _text(register, words)
    in_order = words if register.word_order == "big" else words[::-1]
    (raw,) = struct.unpack(">" + _FORMATS[register.type], _to_bytes(register, in_order))
    return _scaled(register, raw) if isinstance(raw, int) else _finite(register, raw)


def _to_bytes(register: Register, words: Sequence[int]) -> bytes:
    return struct.pack(f"{_ORDERS[register.byte_order]}{len(words)}H", *words)


def _text(register: Register, words: Sequence[int]) -> str:
    raw = _to_bytes(register, words)
    try:
        return raw.split(b"\0", 1)[0].decode("utf-8").rstrip()
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{register.field}: no UTF-8 text in {raw[:20]!r}; mend address or words", "not_text"
        ) from error


def _finite(register: Register, raw: float) -> float:
    value = (shortest(raw) if register.type == "f32" else raw) * register.scale + register.offset
    if not math.isfinite(value):
        raise InvalidData(f"{register.field}: the device says {value}: it has no value", "not_a_number")
    return value


def _scaled(register: Register, raw: int) -> int | float:
    """Exact, so that 3 × 0.1 is 0.3."""
    if register.scale == 1 and register.offset == 0:
        return raw
    exact = raw * Fraction(str(register.scale)) + Fraction(str(register.offset))
    return exact.numerator / exact.denominator


def encode(register: Register, value: object) -> list[int] | bool:
    """What to write so that the register shows `value` (rounded to its step); `InvalidData` when it cannot hold it."""
    if register.type == "bit":
        if not isinstance(value, bool) and value not in (0, 1):
            raise InvalidData(f"{register.field}: write true or false, not {value!r}", "bad_value")
        return bool(value)
    if register.type == "string":
        return _from_text(register, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidData(f"{register.field}: write a number, not {value!r}", "bad_value")
    exact = (Fraction(str(value)) - Fraction(str(register.offset))) / Fraction(str(register.scale))
    raw: float | int = float(exact) if register.type.startswith("f") else round(exact)
    try:
        packed = struct.pack(">" + _FORMATS[register.type], raw)
    except (struct.error, OverflowError) as error:
        raise InvalidData(
            f"{register.field}: {value} does not fit into {register.type}: {error}", "bad_value"
        ) from error
    return _from_bytes(register, packed, reverse=register.word_order == "little")


def _from_bytes(register: Register, packed: bytes, *, reverse: bool) -> list[int]:
    words = [int(one) for (one,) in struct.iter_unpack(_ORDERS[register.byte_order] + "H", packed)]
    return words[::-1] if reverse else words


def _from_text(register: Register, value: object) -> list[int]:
    raw = value.encode() if isinstance(value, str) else b""
    if not isinstance(value, str) or len(raw) > 2 * register.words:
        raise InvalidData(f"{register.field}: write a text of at most {2 * register.words} bytes", "bad_value")
    return _from_bytes(register, raw.ljust(2 * register.words, b"\0"), reverse=False)
