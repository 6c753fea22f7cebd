"""The air side of the running testbed: every site sends once a minute what its instruments show, unless silent."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haechi_testbed.clock import SECOND, VirtualClock, parse_instant
from haechi_testbed.part import Pace, Traffic
from haechi_testbed.twins.air.config import load
from haechi_testbed.twins.air.part import AirPart

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
START = parse_instant("2026-11-22T12:00:00+09:00")
SITES = load(CITY / "testbed" / "air.toml").sites()
SECRETS = {site.mn: "123456" for _, site in SITES.values()}


@pytest.fixture
async def part() -> AsyncIterator[AirPart]:
    clock = VirtualClock(START, 60.0, time.monotonic)
    one = AirPart(CITY, SECRETS, ("127.0.0.1", 9), clock, Pace(START, 60.0, 1))
    yield one
    await one.finish(0.0)


def _run(part: AirPart, minutes: int) -> None:
    for tick in range(6 * minutes):
        part.step(START + (tick + 1) * 10 * SECOND, 10)


def _last(part: AirPart, site: str) -> str:
    return list(part.posts[site].device._unanswered.values())[-1].decode()


async def test_every_site_sends_once_a_minute(part: AirPart) -> None:
    _run(part, 5)
    assert len(part.posts) == 17
    assert {post.device.sent for post in part.posts.values()} == {5}
    assert part.traffic() == Traffic(85, 0, ())


async def test_a_frame_carries_the_factors_of_its_kind_of_site(part: AirPart) -> None:
    _run(part, 1)
    assert {"a34004", "a34002", "a05024"} <= set(re.findall(r"(\w+)-Rtd=", _last(part, "AS-01")))
    assert {"a21026", "a21002", "a34013", "a00000"} <= set(re.findall(r"(\w+)-Rtd=", _last(part, "ES-01")))
    assert "DataTime=20261122120100" in _last(part, "WS-01")


async def test_an_exceedance_shows_in_the_stack_and_names_its_entity(part: AirPart) -> None:
    def so2() -> float:
        found = re.search(r"a21026-Rtd=([\d.]+)", _last(part, "ES-01"))
        assert found is not None
        return float(found[1])

    _run(part, 2)
    before = so2()
    assert part.apply("exceedance", "ES-01", True, 1.0) == ("urn:ngsi-ld:EmissionSource:gimpo:ES-01",)
    _run(part, 2)
    assert so2() > 2.5 * before
    part.apply("exceedance", "ES-01", False, 1.0)
    _run(part, 2)
    assert so2() == pytest.approx(before, rel=0.3)


async def test_a_silent_site_sends_nothing_and_a_stuck_one_the_same(part: AirPart) -> None:
    part.apply("silent", "AS-03", True, 1.0)
    _run(part, 1)
    part.apply("stuck", "AS-04", True, 1.0)
    _run(part, 5)
    assert part.posts["AS-03"].device.sent == 0
    shown = [one.decode() for one in part.posts["AS-04"].device._unanswered.values()]
    values = [re.search(r"a34004-Rtd=([\d.]+)", one) for one in shown]
    assert len({found[1] for found in values if found}) == 1


async def test_sites_without_a_secret_stay_out(part: AirPart) -> None:
    clock = VirtualClock(START, 60.0, time.monotonic)
    site = SITES["AS-01"][1]
    alone = AirPart(CITY, {site.mn: "x"}, ("127.0.0.1", 9), clock, Pace(START, 60.0, 1))
    assert set(alone.posts) == {"AS-01"}
    assert alone.targets("stuck") == ("AS-01",)
    assert "ES-01" in alone.targets("exceedance")
    assert alone.targets("burst") == ()
    assert await alone.finish(0.0) == 0
    await asyncio.sleep(0)
