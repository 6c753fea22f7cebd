"""What node-opcua publishes comes in with its type, quality and time; what is no value costs only itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from haechi.app.clock import SystemClock
from haechi.core.times import SECOND, format_iso, to_us
from opcua_kit import FIELDS, FIRST, NODES, OPEN, Ears, Kept, Peer, following, until

pytestmark = pytest.mark.peer
WHEN = 1_795_000_000
ODD = [
    {"id": "Nan", "type": "Double", "value": "NaN"},
    {"id": "Several", "type": "Double", "value": [1.0, 2.0]},
    {"id": "When", "type": "DateTime", "value": WHEN * 1000},
]
LEVELS = [{"id": f"T{n}.Level", "type": "Double", "value": n} for n in range(20)]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with Peer(tmp_path_factory.mktemp("peer"), nodes=[*NODES, *ODD, *LEVELS]) as running:
        yield running


@pytest.fixture
async def server(started: Peer) -> AsyncIterator[Peer]:
    await started.asked("reset")
    started.said.clear()
    yield started


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


async def test_every_type_of_value_comes_in_as_it_changes(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port}) as adapter:
        await until(lambda: intake.newest() == FIRST)
        assert intake.status() == [{"online": True}]
        server.set("Pressure", 3.25, source=WHEN * 1000)
        server.set("Running", False)
        await until(lambda: intake.newest()["running"] is False and intake.newest()["pressure"] == 3.25)
        (sample,) = [one for one in intake.samples if one.value == 3.25]
        assert sample.observed_at == WHEN * SECOND, "the instant is the device's"
        health = adapter.health()
        assert (health["online"], health["subscribed"], health["polled"]) == (1, len(FIRST), 0)
        assert health["certificate_days"] > 3_000
    assert not intake.status()[1:], "stopping reports nobody offline"
    assert not intake.rejected


async def test_an_uncertain_value_is_doubted_and_a_bad_one_is_counted_and_named(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port}):
        await until(lambda: intake.newest() == FIRST)
        server.set("Pressure", 4.0, status="UncertainSensorNotAccurate")
        await until(lambda: intake.newest()["pressure"] == 4.0)
        assert intake.samples[-1].doubt
        server.set("Pressure", 5.0, status="BadSensorFailure")
        fault = {"online": True, "fault": "ns=2;s=Pressure: BadSensorFailure"}
        await until(lambda: intake.status()[-1] == fault)
        assert intake.rejected == {"bad_status": 1}
        server.set("Pressure", 6.0)
        await until(lambda: intake.newest()["pressure"] == 6.0)
        await until(lambda: intake.status()[-1] == {"online": True, "fault": ""})
        assert not intake.samples[-1].doubt


async def test_what_is_no_value_costs_only_itself(server: Peer, intake: Kept, bus: Ears, tmp_path: Path) -> None:
    more = {"nan": "ns=2;s=Nan", "several": "ns=2;s=Several", "absent": "ns=2;s=Absent", "when": "ns=2;s=When"}
    more |= {"foreign": "nsu=urn:nobody:here;s=Pressure"}
    fields = [*FIELDS, *({"field": field, "node": node} for field, node in more.items())]
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": fields}) as adapter:
        await until(lambda: intake.newest() == {**FIRST, "when": format_iso(WHEN * SECOND)})
        await until(lambda: "Several" in intake.status()[-1].get("fault", ""))
        fault = intake.status()[-1]["fault"]
        for wanted in ("Nan: the server says nan", "Several: no single value", "Absent: BadNodeIdUnknown"):
            assert wanted in fault
        assert "nsu=urn:nobody:here;s=Pressure: BadNodeIdUnknown" in fault
        assert set(intake.rejected) == {"not_a_number", "not_scalar"}
        assert adapter.health()["without_value"] == 4
        server.set("Pressure", 9.0)
        await until(lambda: intake.newest()["pressure"] == 9.0)


async def test_one_row_of_settings_follows_many_channels(server: Peer, intake: Kept, bus: Ears, tmp_path: Path) -> None:
    row = {"field": "level", "node": "ns=2;s={channel}.Level", "channels": [f"T{n}" for n in range(20)]}
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": [row]}):
        await until(lambda: len(intake.samples) >= 20)
    assert [intake.values("level", f"T{n}") for n in range(20)] == [[n] for n in range(20)]


async def test_a_deadband_keeps_small_changes_at_the_server_and_where_it_is_refused_all_come(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    fields = [{**FIELDS[0], "deadband": 1.0}, {**FIELDS[4], "deadband": 1.0}, FIELDS[2]]  # a text has no deadband
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "node": fields}):
        await until(lambda: len(intake.newest()) == 3)
        for number, value in enumerate((1.6, 1.7, 3.0)):
            server.set("Pressure", value)
            server.set("Count", number)
            await until(lambda number=number: intake.newest()["count"] == number)
        server.set("Name", "x")
        await until(lambda: intake.newest() == {"pressure": 3.0, "name": "x", "count": 2})
    assert intake.values("pressure") == [1.5, 3.0]


async def test_values_faster_than_the_publishing_come_from_the_servers_queue(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    settings = {**OPEN, "port": server.port, "publishing_ms": 500.0, "queue": 100}
    async with following(intake, bus, tmp_path, settings):
        await until(lambda: intake.newest() == FIRST)
        server.tell("churn", ids=["Pressure"], count=12, everyMs=150)
        await until(lambda: intake.newest()["pressure"] == 12)
    assert intake.values("pressure") == [1.5, *range(1, 13)]
    assert len(intake.messages) < 12


async def test_a_queue_that_ran_over_is_counted(server: Peer, intake: Kept, bus: Ears, tmp_path: Path) -> None:
    settings = {**OPEN, "port": server.port, "publishing_ms": 1_000.0, "queue": 2}
    async with following(intake, bus, tmp_path, settings) as adapter:
        await until(lambda: intake.newest() == FIRST)
        server.tell("churn", ids=["Pressure"], count=20, everyMs=60)
        await until(lambda: intake.newest()["pressure"] == 20)
        assert adapter.health()["overflows"] >= 1


async def test_a_link_that_says_so_polls_and_a_value_polled_again_was_true_again(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    settings = {**OPEN, "port": server.port, "subscribe": False}
    async with following(intake, bus, tmp_path, settings) as adapter:
        await until(lambda: adapter.health()["polls"] >= 3)
        assert intake.newest() == FIRST
        server.set("Pressure", 8.5)
        await until(lambda: intake.newest()["pressure"] == 8.5)
        assert adapter.health()["polled"] == len(FIRST)
    at = [one.observed_at for one in intake.samples if one.field == "name" and one.observed_at is not None]
    assert at and len(set(at)) == len(at)
    assert max(at) < to_us(SystemClock().now()) + SECOND, "a stamp at the end of time, which means none, is none"


async def test_values_that_do_not_change_are_confirmed_each_refresh(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "refresh_s": 0.1}) as adapter:
        await until(lambda: len(intake.values("pressure")) >= 5)
        assert adapter.health()["subscribed"] == len(FIRST)


@pytest.mark.parametrize(("limits", "wanted"), [({"maxSubscriptions": 0}, 5), ({"maxMonitoredItems": 3}, 2)])
async def test_what_the_server_gives_no_subscription_for_is_polled(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, limits: dict[str, int], wanted: int
) -> None:
    await server.asked("forget")  # those of the tests before are gone
    await server.asked("limits", limits=limits)
    try:
        async with following(intake, bus, tmp_path, {**OPEN, "port": server.port}) as adapter:
            await until(lambda: adapter.health()["polls"] >= 2)
            await until(lambda: intake.newest() == FIRST)
            assert adapter.health()["polled"] == wanted
    finally:
        await server.asked("limits", limits={"maxSubscriptions": 100, "maxMonitoredItems": 100_000})


@pytest.mark.parametrize(("time", "of_device"), [("source", True), ("arrival", False)])
async def test_the_link_says_whose_clock_counts(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, time: str, of_device: bool
) -> None:
    async with following(intake, bus, tmp_path, {**OPEN, "port": server.port, "time": time}):
        await until(lambda: intake.newest() == FIRST)
        server.set("Pressure", 3.0, source=WHEN * 1000)
        await until(lambda: intake.newest()["pressure"] == 3.0)
    (found,) = [one for one in intake.samples if one.value == 3.0]
    wanted: Any = WHEN * SECOND if of_device else None
    assert found.observed_at == wanted
