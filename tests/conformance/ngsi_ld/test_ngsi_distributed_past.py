"""Temporal queries over several sources (clauses 4.5.19, 5.5.14, 5.7.3.4, 5.7.4.4; ETSI cases IOP_EXT_TMP_03_01,
IOP_EXT_MAP_01_07): sums of what was put together, and maps that name where each entity is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest_ngsi import Api, problem
from conftest_temporal import Evolving, at, values

from haechi.faces.ngsi_ld.distributed import past_sums
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.services.registrations.sources import Incoming, Outgoing

PEER = "http://peer.example"
BUS, FAR, NEAR = "urn:ngsi-ld:Bus:1", "urn:ngsi-ld:Bus:far", "urn:ngsi-ld:Bus:near"
SINCE = {"type": "Bus", "timerel": "between", "timeAt": at(0), "endTimeAt": at(10)}
AVERAGE = {**SINCE, "aggrMethods": "avg", "format": "aggregatedValues"}
HEADER = "NGSILD-EntityMap"


class Two:
    """This broker and the peer that it registered: what one asks, the other's own interface answers."""

    def __init__(self, ours: Evolving, theirs: Evolving) -> None:
        self.ours, self.theirs = ours, theirs
        self.asked: list[str] = []
        self.silent = False
        ours.api.every_source.of("").exchange = self._ask

    async def _ask(self, asked: Outgoing) -> Incoming:
        self.asked.append(asked.url)
        if self.silent:
            return Incoming(500, {}, b"")
        url = asked.url.replace(PEER, "http://haechi")
        answer = await self.theirs.http.request(asked.method, url, headers=asked.headers, content=asked.body)
        return Incoming(answer.status_code, dict(answer.headers), answer.content)

    async def get(self, path: str = "", /, **asked: str) -> Any:
        answer = await self.ours.http.get(f"temporal/entities{path}", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def _broker(folder: Path) -> AsyncIterator[Evolving]:
    folder.mkdir()  # noqa: ASYNC240 - an instant, before anything runs
    store = SqliteEntities(folder / "context.db")
    api = Api(store, folder)
    opened = Evolving(api, folder / "history")
    yield opened
    await opened.close()
    await api.http.aclose()
    await api.every_source.close()
    store.close()


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with _broker(tmp_path / "ours") as ours, _broker(tmp_path / "theirs") as theirs:
        body = {
            "id": "urn:ngsi-ld:ContextSourceRegistration:1",
            "type": "ContextSourceRegistration",
            "operations": ["queryTemporal", "retrieveTemporal"],
            "information": [{"entities": [{"type": "Bus"}]}],
            "endpoint": PEER,
        }
        assert (await ours.http.post("csourceRegistrations", json=body)).status_code == 201
        yield Two(ours, theirs)


def _figures(entity: dict[str, Any], method: str, name: str = "speed") -> list[Any]:
    return [one[0] for one in entity[name][method]]


async def test_ext_tmp_03_01_sums_are_made_of_what_was_put_together(two: Two) -> None:
    await two.ours.record(BUS, speed=values((100, 1), (7, 3)))
    await two.theirs.record(BUS, speed=values((300, 2), (9, 3)))  # of one instant the first one counts: ours
    await two.theirs.record(FAR, speed=values((40, 2), (60, 4)))
    await two.ours.record(NEAR, speed=values((10, 2)))
    await two.ours.record(BUS, 204, doors=values((2, 1)))
    every = "totalCount,distinctCount,sum,avg,min,max,stddev,sumsq"
    found = {one["id"]: one for one in await two.get(**{**AVERAGE, "aggrMethods": every})}
    assert set(found) == {BUS, FAR, NEAR}
    speed = found[BUS]["speed"]
    assert {name: one[0][0] for name, one in speed.items() if name != "type"} == {
        "totalCount": 3,
        "distinctCount": 3,
        "sum": 407,
        "avg": pytest.approx(407 / 3),
        "min": 7,
        "max": 300,
        "stddev": pytest.approx(122.25, abs=0.01),
        "sumsq": 100_049,
    }
    assert speed["avg"][0][1:] == [at(0), at(10)]
    assert _figures(found[BUS], "avg", "doors") == [2]
    assert _figures(found[FAR], "avg") == [50]
    assert _figures(found[NEAR], "avg") == [10]
    one = await two.get(f"/{BUS}", **{name: value for name, value in AVERAGE.items() if name != "type"})
    assert _figures(one, "avg") == [pytest.approx(407 / 3)]
    assert one.keys() == {"id", "type", "speed", "doors"}
    assert not any("aggr" in url for url in two.asked)


async def test_4_5_19_periods_of_all_sources_are_the_same(two: Two) -> None:
    await two.ours.record(BUS, speed=values((10, 1), (20, 6)))
    await two.theirs.record(BUS, speed=values((30, 2), (50, 7), (80, 9)))
    asked = {**AVERAGE, "aggrMethods": "avg,totalCount", "aggrPeriodDuration": "PT5M"}
    [found] = await two.get(**asked)
    assert found["speed"]["avg"] == [[20, at(0), at(5)], [50, at(5), at(10)]]
    query = {
        "type": "Query",
        "entities": [{"type": "Bus"}],
        "temporalQ": {name: SINCE[name] for name in ("timerel", "timeAt", "endTimeAt")},
        "aggrParams": {"aggrMethods": ["avg", "totalCount"], "aggrPeriodDuration": "PT5M"},
    }
    posted = await two.ours.http.post(
        "temporal/entityOperations/query", params={"format": "aggregatedValues"}, json=query
    )
    assert posted.json() == [found]


async def test_sums_of_one_broker_and_of_what_was_put_together_say_the_same(two: Two) -> None:
    """The same instances, all at one broker or divided between two."""
    contents: list[tuple[Any, int]] = [(3, 1), (True, 2), ([1, 2, 3, 4], 3), ("b", 4), ("a", 5), (2.5, 6), (3, 7)]
    every = "totalCount,distinctCount,sum,avg,min,max,stddev,sumsq"
    asked = {**AVERAGE, "aggrMethods": every, "aggrPeriodDuration": "PT4M"}
    await two.ours.record(NEAR, mixed=values(*contents))
    await two.ours.record(BUS, mixed=values(*contents[::2]))
    await two.theirs.record(BUS, mixed=values(*contents[1::2]))
    found = {one["id"]: one["mixed"] for one in await two.get(**asked)}
    assert found[BUS] == found[NEAR]


async def test_a_source_that_fails_leaves_the_sums_of_this_broker_and_a_warning_6_3_17(two: Two) -> None:
    await two.ours.record(BUS, speed=values((100, 1)))
    two.silent = True
    answer = await two.ours.http.get("temporal/entities", params=AVERAGE)
    assert [_figures(one, "avg") for one in answer.json()] == [[100]]
    assert answer.headers["NGSILD-Warning"].startswith("299 ")


async def test_sums_of_more_than_can_be_put_together_are_refused(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_sums, "MOST", 2)
    await two.ours.record(BUS, speed=values((1, 1), (2, 2), (3, 3)))
    await two.theirs.record(BUS, speed=values((4, 4)))
    problem(await two.ours.http.get("temporal/entities", params=AVERAGE), 403, "TooComplexQuery")


async def test_4_18_scopes_choose_the_instances_that_are_summed_here_too(two: Two) -> None:
    await two.ours.record(BUS, scope="/north", speed=values((10, 1)))
    await two.theirs.record(BUS, scope="/north", speed=values((30, 2)))
    since = {"type": "Bus", "timerel": "after", "timeAt": "2026-11-22T00:00:00Z", "timeproperty": "modifiedAt"}
    asked = {**since, "aggrMethods": "avg", "format": "aggregatedValues", "scopeQ": "/north"}
    assert [_figures(one, "avg") for one in await two.get(**asked)] == [[20]]
    assert await two.get(**{**asked, "scopeQ": "/south"}) == []


async def test_ext_map_01_07_a_temporal_map_names_the_sources_and_is_followed_through_pages(two: Two) -> None:
    await two.ours.record(NEAR, speed=values((10, 1)))
    await two.ours.record(BUS, speed=values((20, 1)))
    await two.theirs.record(BUS, speed=values((30, 2)))
    await two.theirs.record(FAR, speed=values((41, 1), (42, 2)))
    made = await two.ours.http.get("temporal/entities", params={**SINCE, "entityMap": "true", "limit": "1"})
    assert (made.status_code, [one["id"] for one in made.json()]) == (201, [NEAR])
    assert "entityMap" not in made.headers["link"]
    address = made.headers[HEADER]
    map = (await two.ours.http.get(f"entityMaps/{address.rpartition('/')[2]}")).json()
    registration = "urn:ngsi-ld:ContextSourceRegistration:1"
    assert map["entityMap"] == {NEAR: ["@none"], BUS: ["@none", registration], FAR: [registration]}
    await two.ours.record("urn:ngsi-ld:Bus:new", speed=values((1, 1)))
    seen = []
    for offset in range(4):
        asked = {**SINCE, "limit": "1", "offset": str(offset)}
        page = await two.ours.http.get("temporal/entities", params=asked, headers={HEADER: address})
        assert (page.status_code, page.headers[HEADER]) == (200, address)
        seen += [(one["id"], [each["value"] for each in one["speed"]]) for one in page.json()]
    assert seen == [(NEAR, [10]), (BUS, [20, 30]), (FAR, [41, 42])]
    gone = await two.ours.http.get("temporal/entities", params=SINCE, headers={HEADER: f"{address}x"})
    assert gone.status_code == 201  # one that is no more: another is made (5.7.4.4)
    assert len(gone.json()) == 4


async def test_5_14_5_a_temporal_map_alone_names_the_sources_too(two: Two) -> None:
    await two.ours.record(NEAR, speed=values((10, 1)))
    await two.theirs.record(FAR, speed=values((41, 1)))
    made = await two.ours.http.get("temporal/entityMaps", params=SINCE)
    assert made.status_code == 201
    assert made.json()["entityMap"] == {NEAR: ["@none"], FAR: ["urn:ngsi-ld:ContextSourceRegistration:1"]}
    local = await two.ours.http.get("temporal/entityMaps", params={**SINCE, "local": "true"})
    assert local.json()["entityMap"] == {NEAR: ["@none"]}


@pytest.mark.parametrize("shape", [{"pick": "type,speed"}, {"omit": "id"}])
async def test_what_is_put_together_by_its_id_is_asked_for_with_it(two: Two, shape: dict[str, str]) -> None:
    await two.ours.record(BUS, speed=values((10, 1)))
    told = problem(await two.ours.http.get("temporal/entities", params={**SINCE, **shape}), 400, "BadRequestData")
    assert "keep id" in told
    assert "keep id" in problem(
        await two.ours.http.get(f"temporal/entities/{BUS}", params=shape), 400, "BadRequestData"
    )
    assert await two.get(**{**SINCE, "pick": "id,speed"})
