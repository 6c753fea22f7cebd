"""CSV payloads become samples: wide and long, times, texts, and everything that must be refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import parse_iso
from haechi.plugins.codecs.csv import create


def samples(table: str | bytes, **settings: Any) -> list[Sample]:
    payload = table if isinstance(table, bytes) else table.encode()
    return list(create(settings).decode(Message("push", "gateway", "", payload, 0)))


def refused(table: str | bytes, **settings: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        samples(table, **settings)
    return caught.value.reason


def test_a_wide_table_gives_a_sample_per_cell_in_order() -> None:
    text = "ts,id,pm25,wd\n2026-11-22T09:00:00Z,AS-01,12.5,NNW\n2026-11-22T10:00:00Z,AS-02,13,\n"
    nine, ten = parse_iso("2026-11-22T09:00:00Z"), parse_iso("2026-11-22T10:00:00Z")
    assert samples(text, time="ts", device="id") == [
        Sample("pm25", 12.5, nine, device="AS-01"),
        Sample("wd", "NNW", nine, device="AS-01"),
        Sample("pm25", 13.0, ten, device="AS-02"),
    ]


def test_a_long_table_names_field_value_and_unit_in_columns() -> None:
    text = "name;v;u;ch\npressure;3.2;BAR;in\nlevel;7;;\n"
    found = samples(text, layout="long", field="name", value="v", unit="u", channel="ch", delimiter=";")
    assert found == [Sample("pressure", 3.2, unit="BAR", channel="in"), Sample("level", 7.0)]


@pytest.mark.parametrize(
    ("cell", "settings"),
    [
        ("2026-11-22T18:00:00+09:00", {}),
        ("2026-11-22 18:00", {"time_zone": "Asia/Seoul"}),
        ("22/11/2026 18:00", {"time_format": "%d/%m/%Y %H:%M", "time_zone": "Asia/Seoul"}),
        ("1795338000", {"time_format": "epoch_s"}),
        ("1795338000.0", {"time_format": "epoch_s"}),
        ("1795338000000", {"time_format": "epoch_ms"}),
    ],
)
def test_an_instant_may_be_written_in_many_ways(cell: str, settings: dict[str, str]) -> None:
    assert samples(f"t,a\n{cell},1\n", time="t", **settings)[0].observed_at == parse_iso("2026-11-22T09:00:00Z")


def test_an_empty_time_or_device_falls_back_to_the_connection() -> None:
    assert samples("t,id,a\n,,1\n", time="t", device="id") == [Sample("a", 1.0)]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_exactly(number: float) -> None:
    assert samples(f"a\n{number!r}\n")[0].value == number


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1), min_size=1, max_size=4))
def test_quoted_text_comes_back_exactly(cells: list[str]) -> None:
    header = ",".join(f"c{number}" for number in range(len(cells)))
    row = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    fields = [f"c{number}" for number in range(len(cells))]
    assert [one.value for one in samples(f"{header}\n{row}\n", text=fields)] == cells


def test_columns_may_stay_text_and_others_be_left_out() -> None:
    found = samples("code,a,b\n007,1,2\n", text=["code"], fields=["code", "b"])
    assert [(one.field, one.value) for one in found] == [("code", "007"), ("b", 2.0)]


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert samples(b"\xef\xbb\xbfa\n1\n")[0].field == "a"


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (b"\xff\xfe", {}, "malformed"),
        ('a\n"1', {}, "malformed"),
        ("", {}, "no_header"),
        ("a,a\n1,2\n", {}, "no_header"),
        ("a\n1\n", {"time": "t"}, "no_column"),
        ("a,b\n1\n", {}, "bad_row"),
        ("t,a\nyesterday,1\n", {"time": "t"}, "bad_time"),
        ("t,a\n2026-11-22 18:00,1\n", {"time": "t"}, "bad_time"),
        ("t,a\n-5,1\n", {"time": "t", "time_format": "epoch_s"}, "bad_time"),
        ("a\n", {}, "empty"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_stable_reason(
    text: str | bytes, settings: dict[str, Any], expected: str
) -> None:
    assert refused(text, **settings) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"tiem": "t"},
        {"time": 1},
        {"fields": "a"},
        {"delimiter": ",,"},
        {"layout": "tall"},
        {"time_zone": "Mars/Base"},
        {"time_format": "sometime"},
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        create(settings)
