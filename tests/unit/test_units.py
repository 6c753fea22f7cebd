"""Units convert exactly within their kind and refuse everything else."""

import re
from pathlib import Path

import pytest

from haechi.core.errors import InvalidData
from haechi.core.units import UNITS, convert, factor_offset


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (4.12, "BAR", "KPA", 412.0),
        (1013.25, "A97", "ATM", 1.0),
        (36.0, "MQH", "G51", 10.0),
        (1.0, "MQH", "L2", 1000 / 60),
        (25.0, "CEL", "KEL", 298.15),
        (212.0, "FAH", "CEL", 100.0),
        (0.035, "GP", "GQ", 35.0),
        (1.0, "M1", "GP", 1000.0),
        (3.5, "KWH", "JOU", 12_600_000.0),
        (36.0, "KMH", "MTS", 10.0),
        (180.0, "DD", "C81", 3.141592653589793),
        (1.0, "59", "61", 1000.0),
        (10.0, "N23", "KPA", 98.0665),
    ],
)
def test_a_value_keeps_its_meaning_in_another_unit(value: float, source: str, target: str, expected: float) -> None:
    assert convert(value, source, target) == pytest.approx(expected, rel=1e-12)
    assert convert(expected, target, source) == pytest.approx(value, rel=1e-12)


def test_a_bar_is_exactly_a_hundred_kilopascal() -> None:
    assert factor_offset("BAR", "KPA") == (100.0, 0.0)


def test_pressure_never_becomes_a_flow() -> None:
    with pytest.raises(InvalidData) as caught:
        convert(1.0, "KPA", "MQH")
    assert caught.value.reason == "unit_mismatch"


def test_an_unknown_code_is_named_with_what_to_do() -> None:
    with pytest.raises(InvalidData, match="'HPA' is no UN/CEFACT") as caught:
        convert(1.0, "HPA", "KPA")  # HPA is a hectolitre of pure alcohol; hectopascal is A97
    assert caught.value.reason == "unknown_unit"


def test_every_unit_converts_to_every_other_of_its_kind_and_back() -> None:
    for one in UNITS.values():
        for other in (u for u in UNITS.values() if u.kind == one.kind):
            assert convert(convert(7.5, one.code, other.code), other.code, one.code) == pytest.approx(7.5, rel=1e-9)


def test_the_console_shows_every_unit_with_the_platforms_sign() -> None:
    source = (Path(__file__).parents[2] / "console/src/lib/units.ts").read_text("utf-8")
    table = source.split("const SIGNS", 1)[1].split("\n}", 1)[0]
    shown = dict(re.findall(r"'?(\w+)'?: '([^']*)'", table))
    assert shown == {code: unit.symbol for code, unit in UNITS.items()}
