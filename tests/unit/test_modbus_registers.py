"""Registers to values and back: types, orders, scaling, and which requests read them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.plugins.adapters.modbus.registers import BITS_MAX, WORDS_MAX, decode, encode, spans
from haechi.plugins.adapters.modbus.settings import Block, Register, read


def value(register: Register, words: list[int]) -> Any:
    return decode(register, spans([register], ())[0], words)


@pytest.mark.parametrize(
    ("changes", "words", "wanted"),
    [
        ({"type": "u16"}, [65_535], 65_535),
        ({"type": "i16"}, [0xFFFE], -2),
        ({"type": "u32"}, [0x0001, 0x0002], 0x0001_0002),
        ({"type": "u32", "word_order": "little"}, [0x0001, 0x0002], 0x0002_0001),
        ({"type": "u32", "byte_order": "little"}, [0x0001, 0x0002], 0x0100_0200),
        ({"type": "u32", "byte_order": "little", "word_order": "little"}, [0x0001, 0x0002], 0x0200_0100),
        ({"type": "i32"}, [0xFFFF, 0xFFFF], -1),
        ({"type": "f32"}, [0x42F6, 0xE979], 123.456),
        ({"type": "f32", "scale": 10}, [0x41B4, 0xCCCD], 226.0),
        ({"type": "f64"}, [0x4009, 0x21FB, 0x5444, 0x2D18], math.pi),
        ({"type": "u64"}, [1, 0, 0, 0], 1 << 48),
        ({"type": "i64", "word_order": "little"}, [0xFFFD, 0xFFFF, 0xFFFF, 0xFFFF], -3),
        ({"type": "bit", "bit": 15}, [0x8000], True),
        ({"type": "bit", "bit": 0}, [0x8000], False),
        ({"type": "string", "words": 3}, [0x4142, 0x4320, 0x0000], "ABC"),
        ({"type": "string", "words": 2, "byte_order": "little"}, [0x4241, 0x4443], "ABCD"),
        ({"scale": 0.1}, [3], 0.3),
        ({"type": "i16", "scale": 0.01, "offset": -40}, [4_321], 3.21),
    ],
)
def test_a_register_shows_the_value_its_makers_meant(changes: dict[str, Any], words: list[int], wanted: Any) -> None:
    assert value(Register("x", 0, **changes), words) == wanted


@pytest.mark.parametrize(
    ("changes", "words", "reason"),
    [
        ({"type": "f32"}, [0x7FC0, 0x0000], "not_a_number"),
        ({"type": "f64"}, [0x7FF0, 0, 0, 0], "not_a_number"),
        ({"type": "string", "words": 1}, [0xFFFF], "not_text"),
    ],
)
def test_what_is_no_value_is_said_to_be_none(changes: dict[str, Any], words: list[int], reason: str) -> None:
    with pytest.raises(InvalidData) as refused:
        value(Register("x", 0, **changes), words)
    assert refused.value.reason == reason


ORDERS = st.sampled_from(["big", "little"])
RANGES = {"u16": (0, 2**16), "i16": (-(2**15), 2**15), "u32": (0, 2**32), "i32": (-(2**31), 2**31)}
RANGES |= {"u64": (0, 2**64), "i64": (-(2**63), 2**63)}


@given(st.data(), st.sampled_from(sorted(RANGES)), ORDERS, ORDERS)
def test_a_whole_number_that_was_written_reads_back_as_itself(data: Any, kind: str, bytes_: str, words: str) -> None:
    low, high = RANGES[kind]
    wanted = data.draw(st.integers(low, high - 1))
    register = Register("x", 0, kind, byte_order=bytes_, word_order=words, writable=True)
    written = encode(register, wanted)
    assert isinstance(written, list) and len(written) == register.size
    assert value(register, written) == wanted


@given(
    st.integers(-32_768, 32_767), st.sampled_from([0.1, 0.01, 0.5, 2.0, -0.1]), st.sampled_from([0.0, -40.0, 273.15])
)
def test_a_scaled_value_that_was_shown_can_be_written_again(raw: int, scale: float, offset: float) -> None:
    register = Register("x", 0, "i16", scale=scale, offset=offset, writable=True)
    words = [raw & 0xFFFF]
    assert encode(register, value(register, words)) == words


@given(st.floats(allow_nan=False, allow_infinity=False), ORDERS, ORDERS)
def test_a_float_that_was_written_reads_back_as_itself(wanted: float, bytes_: str, words: str) -> None:
    register = Register("x", 0, "f64", byte_order=bytes_, word_order=words, writable=True)
    written = encode(register, wanted)
    assert isinstance(written, list)
    assert value(register, written) == wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"type": "u16"}, -1),
        ({"type": "u16", "scale": 0.1}, 6_553.6),
        ({"type": "i16"}, 40_000),
        ({"type": "f32"}, 1e300),
        ({"type": "u16"}, True),
        ({"type": "u16"}, "7"),
        ({"type": "f32"}, math.nan),
        ({"type": "bit", "table": "coil"}, 2),
        ({"type": "string", "words": 1}, "ABC"),
    ],
)
def test_a_value_a_register_cannot_hold_is_never_written(changes: dict[str, Any], wanted: Any) -> None:
    with pytest.raises(InvalidData):
        encode(Register("x", 0, writable=True, **changes), wanted)


def asked(registers: list[Register], *blocks: Block) -> list[str]:
    return [str(one) for one in spans(registers, blocks)]


def test_neighbours_are_read_together_and_gaps_only_inside_a_block() -> None:
    registers = [
        Register("a", 0),
        Register("b", 1, "f32"),
        Register("c", 6),
        Register("d", 3, table="coil", type="bit"),
    ]
    assert asked(registers) == ["coil 3-3", "holding 0-2", "holding 6-6"]
    assert asked(registers, Block("holding", 0, 10)) == ["coil 3-3", "holding 0-6"]
    assert asked(registers, Block("holding", 0, 6)) == ["coil 3-3", "holding 0-2", "holding 6-6"], "it ends too early"
    assert asked(registers, Block("input", 0, 10)) == ["coil 3-3", "holding 0-2", "holding 6-6"]


def test_no_request_asks_for_more_than_the_standard_allows() -> None:
    words = spans([Register(f"r{at}", at) for at in range(300)], ())
    assert [one.count for one in words] == [WORDS_MAX, WORDS_MAX, 50]
    bits = spans([Register(f"b{at}", at, "bit", "coil") for at in range(0, 4_001, 2)], [Block("coil", 0, 5_000)])
    assert all(one.count <= BITS_MAX for one in bits)
    assert sum(len(one.registers) for one in bits) == 2_001


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["u16", "u32", "f64"])), min_size=1, max_size=60))
def test_every_register_is_in_exactly_one_request_that_covers_it(drawn: list[tuple[int, str]]) -> None:
    registers = [Register(f"r{n}", at, kind) for n, (at, kind) in enumerate(drawn)]
    found = spans(registers, [Block("holding", 100, 200)])
    assert sorted(one.field for span in found for one in span.registers) == sorted(one.field for one in registers)
    for span in found:
        assert span.count <= WORDS_MAX
        assert all(
            span.start <= one.address and one.address + one.size <= span.start + span.count for one in span.registers
        )


def settings(**changes: Any) -> Any:
    return read({"device": [{"id": "PLC-1"}], "register": [{"field": "a", "address": 0}], **changes})


def test_registers_are_those_whose_pattern_fits_the_device() -> None:
    found = settings(
        device=[{"id": "PLC-1"}, {"id": "RTU-1", "period_s": 60, "framing": "rtu"}],
        register=[{"field": "a", "address": 0}, {"field": "b", "address": 1, "device": "PLC-*"}],
    )
    assert [one.field for one in found.registers("PLC-1")] == ["a", "b"]
    assert [one.field for one in found.registers("RTU-1")] == ["a"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"register": [{"address": 0}]}, "register.0.field"),
        ({"register": [{"field": "a"}]}, "register.0.address"),
        ({"register": [{"field": "a", "address": 65_535, "type": "f32"}]}, "register.0.address"),
        ({"register": [{"field": "a", "address": 0, "type": "u8"}]}, "register.0.type"),
        ({"register": [{"field": "a", "address": 0, "word_order": "middle"}]}, "register.0.word_order"),
        ({"register": [{"field": "a", "address": 0, "table": "coil"}]}, "register.0.type"),
        ({"register": [{"field": "a", "address": 0, "type": "string"}]}, "register.0.words"),
        ({"register": [{"field": "a", "address": 0, "words": 2}]}, "register.0.words"),
        ({"register": [{"field": "a", "address": 0, "scale": 0}]}, "register.0.scale"),
        ({"register": [{"field": "a", "address": 0, "table": "input", "writable": True}]}, "register.0.writable"),
        ({"register": [{"field": "a", "address": 0, "type": "bit", "writable": True}]}, "register.0.writable"),
        ({"register": [{"field": "a", "address": 0}, {"field": "a", "address": 1}]}, "twice"),
        ({"register": [{"field": "a", "address": 0, "device": "X"}]}, "device.0.id"),
        ({"register": {"field": "a"}}, "register"),
        ({"device": [{"id": "A"}, {"id": "A"}]}, "device.1.id"),
        ({"device": [{"id": "A", "unit": 256}]}, "device.0.unit"),
        ({"device": [{"id": "A", "host": 7}]}, "device.0.host"),
        ({"block": [{"table": "holding", "start": 65_535, "count": 2}]}, "block.0.count"),
        ({"period_s": 0}, "period_s"),
        ({"framing": ""}, "framing"),
    ],
)
def test_a_wrong_register_map_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        settings(**changes)
