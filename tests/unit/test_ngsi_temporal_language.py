"""The temporal query language (clauses 4.11, 4.5.19): what is refused, and how the calendar divides time."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from haechi.core.duration import parse_duration
from haechi.core.errors import InvalidData
from haechi.core.times import format_iso, parse_iso
from haechi.services.ngsi_ld import temporal

NAMES = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration")
WORDS = st.sampled_from(
    [
        "after",
        "before",
        "between",
        "observedAt",
        "avg",
        "sum,avg",
        "PT1H",
        "P1M",
        "P9999999Y",
        "PT0.0000001S",
        "10",
        "0",
    ]
)
INSTANTS = st.sampled_from(
    ["2026-11-22T09:00:00Z", "2026-11-22T09:00:00,5Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
ANYTHING = st.one_of(WORDS, INSTANTS, st.text(max_size=20), st.from_regex(r"P[0-9YMWDTHS.]{0,12}", fullmatch=True))


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING))
@example({"lastN": "²"})
@example({"timerel": "after", "timeAt": "2026-13-01T00:00:00Z"})
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_temporal_query_is_read_or_refused(asked: dict[str, str]) -> None:
    try:
        found = temporal.parse(asked.get)
    except InvalidData as refusal:
        assert refusal.reason == "bad_request"
        return
    start = found.start or 0
    try:
        how = temporal.periods(found.duration, start, start + 86_400_000_000)
    except InvalidData:
        return
    format_iso(temporal.end_of(start, how, start + 1))  # an instant that can be written


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        ("P1M", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        ("P1Y", ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28"]),
        ("P1M1D", ["2024-01-30", "2024-03-01", "2024-04-01"]),
    ],
)
def test_months_and_years_are_those_of_the_calendar_counted_from_the_start(length: str, starts: list[str]) -> None:
    instants = [parse_iso(f"{day}T06:00:00Z") for day in starts]
    how = temporal.periods(parse_duration("aggrPeriodDuration", length), instants[0], instants[-1])
    assert list(how.bounds[: len(starts)]) == instants


def test_too_many_periods_are_refused_before_anything_is_summed() -> None:
    with pytest.raises(InvalidData, match="more than 10000 periods"):
        temporal.periods(parse_duration("aggrPeriodDuration", "PT1S"), 0, 86_400_000_000)
