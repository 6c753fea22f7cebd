"""Temporal evolution of entities: what is read (clauses 4.11, 4.5.9, 4.5.19, 5.7.3, 5.7.4, 6.3.10)."""

from typing import Any

import pytest
from conftest_ngsi import problem
from conftest_temporal import Evolving, at, us, values

from haechi.core.observation import Observation

BUS, TRAM = "urn:ngsi-ld:Bus:1", "urn:ngsi-ld:Tram:1"
EVER = {"timerel": "after", "timeAt": "2000-01-01T00:00:00Z"}


@pytest.fixture
async def two(evolving: Evolving) -> Evolving:
    """A bus with a device behind it, in files and tail, and a tram that only the interface knows."""
    speeds = [(10, 1), (20, 2), (40, 4)]
    evolving.device(*(Observation(BUS, "speed", us(m), us(m), value=float(v), link="mqtt") for v, m in speeds))
    evolving.settle()
    evolving.device(Observation(BUS, "speed", us(6), us(6), value=60.0, link="mqtt"))
    evolving.device(Observation(BUS, "door", us(3), us(3), text="true", link="mqtt"))
    await evolving.record(TRAM, speed=values((5, 1), (7, 9)))
    return evolving


def seen(entity: dict[str, Any], name: str = "speed") -> list[Any]:
    """Values of one attribute."""
    return [one["value"] for one in entity.get(name, [])]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"timerel": "after", "timeAt": at(2)}, [20, 40, 60]),
        ({"timerel": "before", "timeAt": at(4)}, [10, 20]),
        ({"timerel": "between", "timeAt": at(2), "endTimeAt": at(6)}, [20, 40]),
        ({"lastN": "2"}, [40, 60]),
        ({"lastN": "2", "timerel": "before", "timeAt": at(6)}, [20, 40]),
        ({"timerel": "after", "timeAt": at(7)}, []),
    ],
)
async def test_bounds_are_inclusive_below_and_exclusive_above_020_04_020_05_021_26(
    two: Evolving, asked: dict[str, str], expected: list[int]
) -> None:
    assert seen(await two.get(f"/{BUS}", attrs="speed", **asked)) == expected
    found = await two.get("", type="Bus", attrs="speed", **{**EVER, **asked})
    assert [seen(one) for one in found] == ([expected] if expected else [])


async def test_pairs_and_datasets_are_shown_as_clause_4_5_9_says_020_10_459_01(two: Evolving) -> None:
    other = {"type": "Property", "value": 1, "observedAt": at(5), "datasetId": "urn:ngsi-ld:Dataset:other"}
    route = [{"type": "ListRelationship", "objectList": [{"object": TRAM}], "observedAt": at(5)}]
    await two.record(BUS, 204, speed=[other], route=route)
    found = await two.get(f"/{BUS}", options="temporalValues", timerel="after", timeAt=at(4))
    own, others = found["speed"]
    assert own == {"type": "Property", "values": [[40, at(4)], [60, at(6)]]}
    assert others == {"type": "Property", "datasetId": "urn:ngsi-ld:Dataset:other", "values": [[1, at(5)]]}
    assert found["route"] == {"type": "ListRelationship", "objectLists": [[[TRAM], at(5)]]}
    only = await two.get(f"/{BUS}", options="temporalValues", datasetId="@none", attrs="speed", **EVER)
    assert [pair[0] for pair in only["speed"]["values"]] == [10, 20, 40, 60]


async def test_sums_are_made_over_periods_from_the_first_instance_or_timeat_020_11(two: Evolving) -> None:
    asked = {"options": "aggregatedValues", "attrs": "speed"}
    methods = {"aggrMethods": "totalCount,distinctCount,sum,avg,min,max,stddev,sumsq"}
    whole = (await two.get(f"/{BUS}", **asked, **methods))["speed"]
    figures = {name: whole[name][0][0] for name in whole if name != "type"}
    assert {name: figures[name] for name in ("totalCount", "distinctCount", "sum", "avg", "min", "max")} == {
        "totalCount": 4,
        "distinctCount": 4,
        "sum": 130,
        "avg": 32.5,
        "min": 10,
        "max": 60,
    }
    assert (figures["sumsq"], round(figures["stddev"], 6)) == (5700, 19.202864)
    assert whole["avg"][0][1:] == [at(1), at(6)]
    minutes = await two.get(f"/{BUS}", **asked, aggrMethods="sum", aggrPeriodDuration="PT2M")
    assert minutes["speed"]["sum"] == [[30, at(1), at(3)], [40, at(3), at(5)], [60, at(5), at(7)]]
    from_zero = await two.get(
        f"/{BUS}", **asked, aggrMethods="max", aggrPeriodDuration="PT2M", timerel="after", timeAt=at(0)
    )
    assert from_zero["speed"]["max"] == [[10, at(0), at(2)], [20, at(2), at(4)], [40, at(4), at(6)], [60, at(6), at(8)]]
    month = await two.get(f"/{BUS}", **asked, aggrMethods="sum", aggrPeriodDuration="P1M", **EVER)
    assert month["speed"]["sum"] == [[130, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]]
    doors = await two.get(f"/{BUS}", options="aggregatedValues", attrs="door", aggrMethods="totalCount,avg")
    assert (doors["door"]["totalCount"][0][0], doors["door"]["avg"][0][0]) == (1, 1)


async def test_sums_leave_out_what_was_taken_back_and_take_in_every_kind(two: Evolving) -> None:
    first = (await two.get(f"/{BUS}", attrs="speed"))["speed"][0]["instanceId"]
    await two.http.delete(f"temporal/entities/{BUS}/attrs/speed/{first}")
    await two.record(BUS, 204, name=[{"type": "Property", "value": word, "observedAt": at(1)} for word in ("b",)])
    found = await two.get(f"/{BUS}", options="aggregatedValues", aggrMethods="totalCount,min,sum")
    assert found["speed"]["totalCount"][0][0] == 3
    assert found["name"]["min"][0][0] == "b"
    assert "sum" not in found["name"]


async def test_a_long_answer_comes_in_parts_and_names_its_range_020_13_020_14(two: Evolving) -> None:
    http = two.limited(3)
    response = await http.get(f"temporal/entities/{BUS}", params=EVER)
    assert response.status_code == 206
    assert response.headers["content-range"] == f"date-time 2000-01-01T00:00:00Z-{at(3)}/*"
    assert seen(response.json()) == [10, 20]
    again = await http.get(f"temporal/entities/{BUS}", params={"timerel": "after", "timeAt": at(4)})
    assert (again.status_code, seen(again.json())) == (200, [40, 60])
    newest = await http.get(f"temporal/entities/{BUS}", params={"lastN": "50"})
    assert newest.status_code == 206
    assert newest.headers["content-range"] == f"date-time {at(6)}-{at(3)}/50"
    assert (seen(newest.json()), seen(newest.json(), "door")) == ([40, 60], [True])
    few = await two.limited(2).get(f"temporal/entities/{BUS}", params={"options": "temporalValues", **EVER})
    assert few.json()["door"]["values"] == []  # it has instances, beyond the cut
    many = await two.limited(1).get("temporal/entities", params={"type": "Bus,Tram", **EVER})
    assert many.status_code == 206
    assert [seen(one) for one in many.json()] == [[10], [5]]  # one instant is never cut
    await http.aclose()


async def test_q_sees_the_instances_of_the_time_alone_5744_01(two: Evolving) -> None:
    early = {"type": "Bus,Tram", "timerel": "before", "timeAt": at(5)}
    assert [one["id"] for one in await two.get("", q="speed>30", **early)] == [BUS]
    assert await two.get("", q="speed>50", **early) == []
    assert [one["id"] for one in await two.get("", q="door==true;speed==10", **early)] == [BUS]
    assert [one["id"] for one in await two.get("", q="!door", **early)] == [TRAM]


async def test_a_scope_chooses_what_was_while_it_was_valid_5744_03(evolving: Evolving) -> None:
    scope = [{"type": "Property", "value": name, "observedAt": at(m)} for name, m in (("/a", 1), ("/b", 5))]
    await evolving.record(BUS, scope=scope, speed=values((2, 2), (6, 6)))
    inside = {"type": "Bus", "timerel": "between", "timeAt": at(2), "endTimeAt": at(9)}
    (old,) = await evolving.get("", scopeQ="/a", **inside)
    assert (seen(old), seen(old, "scope")) == ([2], ["/a"])
    (new,) = await evolving.get("", scopeQ="/b", **inside)
    assert seen(new) == [6]
    assert await evolving.get("", scopeQ="/b", **{**inside, "endTimeAt": at(5)}) == []


async def test_a_place_is_looked_for_among_all_places_of_the_time_021_09(evolving: Evolving) -> None:
    places = [
        {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, 37.6]}, "observedAt": at(m)}
        for lon, m in ((126.7, 1), (127.9, 5))
    ]
    await evolving.record(BUS, location=places)
    near = {"type": "Bus", "georel": "near;maxDistance==500", "geometry": "Point", "coordinates": "[126.7,37.6]"}
    assert len(await evolving.get("", **near, **EVER)) == 1
    assert await evolving.get("", **near, timerel="after", timeAt=at(2)) == []


async def test_pages_count_order_and_maps_of_a_temporal_query_021_11_021_23_5734(two: Evolving) -> None:
    asked = {"type": "Bus,Tram", **EVER}
    assert [one["id"] for one in await two.get("", **asked, orderBy="id;desc")] == [TRAM, BUS]
    response = await two.http.get("temporal/entities", params={**asked, "limit": "1", "count": "true"})
    assert response.headers["ngsild-results-count"] == "2"
    assert 'rel="next"' in response.headers["link"]
    made = await two.http.get("temporal/entities", params={"type": "Bus", **EVER, "entityMap": "true"})
    assert made.status_code == 201
    follows = {"NGSILD-EntityMap": made.headers["ngsild-entitymap"]}
    followed = await two.http.get("temporal/entities", params=asked, headers=follows)
    assert (followed.status_code, [one["id"] for one in followed.json()]) == (200, [BUS])


async def test_the_same_query_in_a_body_021_13_021_27_5244(two: Evolving) -> None:
    query = {"type": "Query", "entities": [{"type": "Bus"}], "temporalQ": {"timerel": "after", "timeAt": at(4)}}
    response = await two.http.post("temporal/entityOperations/query", json=query)
    assert [seen(one) for one in response.json()] == [[40, 60]]
    sums = {**query, "attrs": ["speed"], "aggrParams": {"aggrMethods": ["avg"], "aggrPeriodDuration": "PT0S"}}
    response = await two.http.post("temporal/entityOperations/query", json=sums)
    assert response.json()[0]["speed"]["avg"][0][0] == 50
    for wrong in (
        {"lastN": 2.5},
        {"lastN": 0},
        {"timerel": "during"},
        {"timeproperty": "x"},
        {"aggrMethods": ["mode"]},
    ):
        body = {**query, "temporalQ": {**query["temporalQ"], **wrong}}
        problem(await two.http.post("temporal/entityOperations/query", json=body), 400, "BadRequestData")


@pytest.mark.parametrize(
    "asked",
    [
        {"timerel": "after"},
        {"timerel": "between", "timeAt": at(1)},
        {"timerel": "between", "timeAt": at(2), "endTimeAt": at(1)},
        {"timerel": "after", "timeAt": "2026-11-22"},
        {"timerel": "after", "timeAt": "2026-11-22T08:00:00+09:00"},
        {"timeAt": at(1)},
        {"lastN": "0"},
        {"lastN": "many"},
        {"timeproperty": "now"},
        {"options": "aggregatedValues"},
        {"options": "aggregatedValues", "aggrMethods": "avg", "aggrPeriodDuration": "1h"},
        {"options": "aggregatedValues", "aggrMethods": "avg", "aggrPeriodDuration": "PT0.000001S", **EVER},
        {"options": "temporalValues,aggregatedValues", "aggrMethods": "avg"},
        {"pick": "owner{name}"},
        {"pick": "speed", "omit": "speed"},
        {"pick": "speed", "attrs": "speed"},
    ],
)
async def test_half_a_temporal_query_is_refused_020_09_020_22_5731(two: Evolving, asked: dict[str, str]) -> None:
    problem(await two.http.get(f"temporal/entities/{BUS}", params=asked), 400, "BadRequestData")


async def test_a_query_needs_a_time_and_something_to_look_for_021_12_021_24(two: Evolving) -> None:
    for asked in (
        {"type": "Bus"},
        {"id": BUS, **EVER},
        {"attrs": "createdAt", **EVER},
        {"type": "Bus", **EVER, "csf": "))"},
    ):
        problem(await two.http.get("temporal/entities", params=asked), 400, "BadRequestData")
    assert len(await two.get("", local="true", **EVER)) == 2
    problem(await two.http.get(f"temporal/entities/{BUS}?attrs=unknown"), 404, "ResourceNotFound")
    problem(await two.http.get(f"temporal/entities/{BUS}?pick=unknown"), 404, "ResourceNotFound")


async def test_what_has_expired_is_history_no_more_422_07(evolving: Evolving) -> None:
    brief = {"type": "Property", "value": 1, "observedAt": at(1), "expiresAt": "2026-11-22T09:00:30Z"}
    body = {"id": BUS, "type": "Bus", "flash": brief, "speed": values((2, 2))[0]}
    assert (await evolving.http.post("entities", json=body)).status_code == 201
    assert seen(await evolving.get(f"/{BUS}", **EVER), "flash") == [1]
    await evolving.api.clock.sleep(60)
    found = await evolving.get(f"/{BUS}", **EVER)
    assert (seen(found), "flash" in found) == ([2], False)
