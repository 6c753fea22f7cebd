"""Values of OPC UA variables, what a codec makes of them, and setpoints in the type a variable has."""

import math
import struct
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import orjson
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from haechi import registry
from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message
from haechi.plugins.wire.opcua.values import INTEGERS, plain, typed

NOW = 1_795_000_000_000_000


class Switch(IntEnum):
    ON = 1


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.5, 1.5),
        (2**64 - 1, 2**64 - 1),
        (True, True),
        ("세종", "세종"),
        (ua.LocalizedText("밸브", "ko"), "밸브"),
        (Switch.ON, 1),
        (datetime(2026, 11, 22, 9, tzinfo=UTC), "2026-11-22T09:00:00Z"),
    ],
)
def test_a_value_is_what_json_can_say(value: Any, wanted: Any) -> None:
    assert plain(value, None) == wanted


def test_a_32_bit_float_is_the_decimal_it_stands_for() -> None:
    sent = struct.unpack("<f", struct.pack("<f", 22.6))[0]
    assert sent != 22.6
    assert plain(sent, ua.VariantType.Float) == 22.6
    assert plain(sent, ua.VariantType.Double) == sent


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "not_a_number"),
        (-math.inf, "not_a_number"),
        ([1.0], "not_scalar"),
        (b"x", "not_scalar"),
    ],
)
def test_what_is_no_single_value_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InvalidData) as refused:
        plain(value, None)
    assert refused.value.reason == reason


def test_no_value_is_refused() -> None:
    with pytest.raises(InvalidData, match="no value"):
        plain(None, None)


@given(st.sampled_from(sorted(INTEGERS)), st.integers(-(2**65), 2**65))
def test_a_whole_number_is_written_exactly_where_it_fits(kind: str, value: int) -> None:
    unsigned = kind.startswith("U") or kind == "Byte"
    low, high = (
        (0, 2 ** INTEGERS[kind] - 1) if unsigned else (-(2 ** (INTEGERS[kind] - 1)), 2 ** (INTEGERS[kind] - 1) - 1)
    )
    if low <= value <= high:
        assert typed(ua.VariantType[kind], value, "x").Value == value
    else:
        with pytest.raises(InvalidData, match="does not fit"):
            typed(ua.VariantType[kind], value, "x")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Boolean", 2),
        ("Boolean", "true"),
        ("String", 1),
        ("Double", True),
        ("Double", math.inf),
        ("Double", "1"),
        ("Int16", 1.5),
        ("ByteString", b"x"),
    ],
)
def test_what_does_not_fit_the_variable_is_not_written(kind: str, value: Any) -> None:
    with pytest.raises(InvalidData, match="does not fit"):
        typed(ua.VariantType[kind], value, "x")


def test_the_codec_takes_rows_and_what_is_told_of_the_server_and_nothing_else() -> None:
    codec = registry.create("codec", "opcua")({})

    def decoded(payload: bytes) -> Any:
        return codec.decode(Message("plant", "S-1", "", payload, NOW))

    good, doubtful = decoded(orjson.dumps([["", "a", 1, NOW, 0, None], ["c", "b", "x", None, 0x40000000, NOW]]))
    assert (good.field, good.value, good.observed_at, good.doubt, good.channel) == ("a", 1, NOW, False, "")
    assert (doubtful.observed_at, doubtful.doubt, doubtful.channel) == (None, True, "c")
    assert [(one.field, one.value) for one in decoded(b'{"online":true}')] == [("online", True)]
    for torn in (b"[", b"[1]", b"[[1,2,3,4,5,6]]", b'[["","a",1,"now",0,null]]', b"7"):
        with pytest.raises(InvalidData, match="adapter"):
            decoded(torn)
    with pytest.raises(InvalidSettings, match=r"codec_settings\.x"):
        registry.create("codec", "opcua")({"x": 1})
