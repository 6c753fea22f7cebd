"""Evolutions of several sources of which one is cut (206; clauses 5.7.3.4, 5.7.4.4, 6.3.10): together they are whole as
far as the first of them came, say so, and nothing is lost to a client that asks on."""

from typing import Any

import pytest
from conftest_temporal import Evolving, at, values
from hypothesis import given
from hypothesis import strategies as st
from test_ngsi_distributed_past import BUS, PEER, SINCE, Two, two

from haechi.faces.ngsi_ld.distributed import past, past_ranges

__all__ = ["two"]
OURS, THEIRS = range(1, 6), range(2, 9)  # minutes; the values are the minutes
INSTANT = st.integers(0, 4_000_000_000_000_000)


async def record(two: Two) -> None:
    await two.ours.record(BUS, speed=values(*((minute, minute) for minute in OURS)))
    await two.theirs.record(BUS, speed=values(*((minute + 100, minute) for minute in THEIRS)), far=values((7, 7)))


def cut(broker: Evolving, most: int) -> None:
    """Its answers hold no more instances from now on."""
    broker.http = broker.limited(most)


def seen(body: dict[str, Any]) -> list[int]:
    """The minutes there are instances of."""
    return [int(one["observedAt"][14:16]) for one in body["speed"]]


TIME = {name: value for name, value in SINCE.items() if name != "type"}


@pytest.mark.parametrize(("most", "first"), [((10_000, 4), [1, 2, 3, 4, 5]), ((3, 10_000), [1, 2, 3])])
async def test_both_are_asked_on_from_where_the_first_was_cut_and_nothing_is_missing(
    two: Two, most: tuple[int, int], first: list[int]
) -> None:
    await record(two)
    cut(two.ours, most[0])
    cut(two.theirs, most[1])
    for path, asked in ((f"/{BUS}", TIME), ("", SINCE)):
        answer = await two.ours.http.get(f"temporal/entities{path}", params=asked)
        assert answer.status_code == 206, answer.text
        body = answer.json() if path else answer.json()[0]
        assert seen(body) == first
        assert body["far"] == [], "it has instances, beyond the cut"
        assert answer.headers["content-range"] == f"date-time {at(0)}-{at(first[-1])}/*"
        found, start = set(first), first[-1]
        while answer.status_code == 206:
            start += 1
            asked_on = {**asked, "timeAt": at(start)}
            answer = await two.ours.http.get(f"temporal/entities{path}", params=asked_on)
            body = answer.json() if path else answer.json()[0]
            found |= set(seen(body))
            start = max(seen(body))
        assert found == {1, 2, 3, 4, 5, 6, 7, 8}


async def test_the_newest_come_first_and_are_cut_at_the_older_end(two: Two) -> None:
    await record(two)
    cut(two.theirs, 3)
    answer = await two.ours.http.get(f"temporal/entities/{BUS}", params={**TIME, "lastN": "50"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"date-time {at(10)}-{at(7)}/50"
    assert seen(answer.json()) == [8, 7]


async def test_columns_are_cut_as_instances_are(two: Two) -> None:
    await record(two)
    cut(two.ours, 3)
    answer = await two.ours.http.get(f"temporal/entities/{BUS}", params={**TIME, "options": "temporalValues"})
    assert answer.status_code == 206
    assert [minute for _, minute in answer.json()["speed"]["values"]] == [at(1), at(2), at(3)]
    assert answer.json()["far"]["values"] == []


async def test_sums_of_a_source_that_was_cut_carry_a_warning(two: Two) -> None:
    await record(two)
    cut(two.theirs, 3)
    asked = {**TIME, "aggrMethods": "sum", "options": "aggregatedValues"}
    answer = await two.ours.http.get(f"temporal/entities/{BUS}", params=asked)
    assert answer.status_code == 200
    assert "a part of the time (206)" in answer.headers["ngsild-warning"]
    assert PEER not in answer.headers["ngsild-warning"], "the registration is named"


async def test_more_entities_than_are_put_together_of_one_broker_is_said(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "PAGE", 2)
    await record(two)
    answer = await two.ours.http.get("temporal/entities", params=SINCE)
    assert "ngsild-warning" not in answer.headers
    for broker, agents in ((two.ours, ["haechi-here"]), (two.theirs, ["ContextSourceRegistration:1", "haechi-here"])):
        await broker.record("urn:ngsi-ld:Bus:2", speed=values((1, 1)))
        answer = await two.ours.http.get("temporal/entities", params=SINCE)
        assert len(answer.json()) == 2
        assert all(one in answer.headers["ngsild-warning"] for one in agents)


@given(INSTANT, INSTANT, st.sampled_from(["*", "5"]))
def test_a_range_is_read_as_it_is_written(start: int, end: int, size: str) -> None:
    made = past_ranges.Range(start, end, size)
    assert past_ranges.read(made.header) == made


@given(st.text(max_size=60) | st.just(f"date-time {at(0)}-2026-13-45T99:00:00Z/*"))
def test_what_is_no_range_is_none(header: str) -> None:
    assert past_ranges.read(header) is None
    assert past_ranges.read(None) is None
