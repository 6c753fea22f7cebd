"""The JSON codec: what each shape of payload becomes, and with which reason it is refused."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.plugins.codecs.json import create

NOON = 1_763_809_200_000_000  # 2025-11-22T11:00:00Z


def decode(payload: Any, **settings: Any) -> list[Sample]:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return list(create(settings).decode(Message("link", "P-017", "a", body, 1)))


def pairs(payload: Any, **settings: Any) -> list[tuple[str, Any]]:
    return [(one.field, one.value) for one in decode(payload, **settings)]


def reason(payload: Any, **settings: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        decode(payload, **settings)
    return caught.value.reason


def test_a_flat_object_becomes_its_fields_in_order() -> None:
    assert pairs({"pressure": 412.3, "state": "ok", "open": True}) == [
        ("pressure", 412.3),
        ("state", "ok"),
        ("open", True),
    ]


def test_nested_objects_become_dotted_names_and_numbers_in_strings_stay_strings() -> None:
    assert pairs({"a": {"b": {"c": "1.5"}}, "d": 2}) == [("a.b.c", "1.5"), ("d", 2)]


def test_a_list_is_one_value_and_null_is_none() -> None:
    assert pairs({"spectrum": [1, [2, {"x": 3}]], "gone": None}) == [("spectrum", [1, [2, {"x": 3}]])]


@pytest.mark.parametrize("key", ["unit", "unitCode"])
def test_a_value_with_unit_is_one_sample_with_that_unit(key: str) -> None:
    assert decode({"p": {"value": 4.1, key: "BAR"}}) == [Sample("p", 4.1, unit="BAR")]


def test_value_beside_other_keys_is_an_ordinary_object() -> None:
    assert pairs({"p": {"value": 4.1, "unit": "BAR", "state": 1}}) == [
        ("p.value", 4.1),
        ("p.unit", "BAR"),
        ("p.state", 1),
    ]


@pytest.mark.parametrize(("body", "value"), [(b"23.5", 23.5), (b'"open"', "open"), (b"true", True)])
def test_a_bare_scalar_is_the_field_value(body: bytes, value: Any) -> None:
    assert decode(body) == [Sample("value", value)]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("iso", "2025-11-22T20:00:00+09:00"),
        ("iso", "2025-11-22T11:00:00Z"),
        ("epoch_s", 1_763_809_200),
        ("epoch_s", 1_763_809_200.0),
        ("epoch_ms", 1_763_809_200_000),
    ],
)
def test_the_instant_is_read_in_each_format_and_is_no_field(form: str, value: Any) -> None:
    assert decode({"v": 1, "meta": {"ts": value}}, time="meta.ts", time_format=form) == [Sample("v", 1, NOON)]


def test_fractions_of_seconds_are_kept() -> None:
    assert decode({"v": 1, "ts": 1_763_809_200.25}, time="ts", time_format="epoch_s")[0].observed_at == NOON + 250_000


def test_a_payload_without_the_time_counts_from_its_arrival() -> None:
    assert decode({"online": False}, time="ts") == [Sample("online", False)]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("iso", "yesterday"),
        ("iso", "2025-11-22T11:00:00"),
        ("iso", 17),
        ("iso", "0001-01-01T00:00:00+23:00x"),
        ("epoch_s", "1763809200"),
        ("epoch_s", True),
        ("epoch_s", -1),
        ("epoch_ms", 1e300),
        ("epoch_s", {"s": 1}),
    ],
)
def test_a_wrong_time_is_refused(form: str, value: Any) -> None:
    assert reason({"v": 1, "ts": value}, time="ts", time_format=form) == "bad_time"


def test_records_carry_their_own_time_and_take_what_they_lack_from_around_them() -> None:
    payload = {
        "ts": 10,
        "gateway": 7,
        "battery": 3.1,
        "batch": {"rows": [{"ts": 20, "sub": "S1", "v": 1}, {"sub": 2, "v": 2, "ch": "x"}]},
    }
    found = decode(payload, time="ts", time_format="epoch_s", samples="batch.rows", device="sub", channel="ch")
    assert found == [
        Sample("gateway", 7, 10_000_000),
        Sample("battery", 3.1, 10_000_000),
        Sample("v", 1, 20_000_000, device="S1"),
        Sample("v", 2, 10_000_000, device="2", channel="x"),
    ]


def test_a_payload_that_is_a_list_holds_records() -> None:
    assert pairs([{"v": 1}, {"v": 2}]) == [("v", 1), ("v", 2)]


def test_named_fields_are_all_that_is_taken() -> None:
    assert pairs({"v": 1, "noise": 2}, fields=["v"]) == [("v", 1)]
    assert pairs({"noise": 2}, fields=["v"]) == []


def test_a_key_with_a_dot_is_found_by_its_whole_name() -> None:
    assert decode({"a.ts": 1, "v": 2}, time="a.ts", time_format="epoch_s") == [Sample("v", 2, 1_000_000)]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "malformed"),
        (b'{"v": NaN}', "malformed"),
        (b'{"v": 1e999}', "malformed"),
        (b'{"v": 1', "malformed"),
        (b'{"v": "\xff"}', "malformed"),
        (b"[" * 5000, "malformed"),
        (b"null", "empty"),
        (b"{}", "empty"),
        (b"[]", "empty"),
        (b'{"v": null}', "empty"),
        (b"[1, 2]", "bad_records"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"p": {"value": 1, "unit": 5}}', "bad_unit"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_stable_reason(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


def test_a_sub_device_or_record_list_of_the_wrong_kind_is_refused() -> None:
    assert reason({"v": 1, "sub": [1]}, device="sub") == "bad_device"
    assert reason({"v": 1, "ch": 1.5}, channel="ch") == "bad_channel"
    assert reason({"rows": {"v": 1}}, samples="rows") == "bad_records"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tiem": "ts"}, "tiem"),
        ({"time_format": "unix"}, "time_format"),
        ({"time": 3}, "time"),
        ({"fields": "v"}, "fields"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        create(settings)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_invalid_data(body: bytes) -> None:
    codec = create({"time": "a.t", "samples": "b", "device": "d"})
    try:
        codec.decode(Message("link", "d", "c", body, 1))
    except InvalidData as error:
        assert error.reason


words = st.text("ab.7\u00e9", max_size=4)
floats = st.floats(allow_nan=False, allow_infinity=False)
leaf = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | floats | words
tree = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(["a", "b", "d", "ts", "value", "unit"]), tree))
def test_no_json_raises_anything_but_invalid_data(payload: dict[str, Any]) -> None:
    codec = create({"time": "ts", "time_format": "epoch_ms", "samples": "b", "device": "d", "channel": "a.value"})
    try:
        assert all(isinstance(one, Sample) for one in codec.decode(Message("link", "d", "c", orjson.dumps(payload), 1)))
    except InvalidData as error:
        assert error.reason
