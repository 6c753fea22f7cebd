"""Traffic on the wire: what gateways send a minute, what faults do to it, controllers read and written over Modbus."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from haechi_testbed.clock import parse_instant
from haechi_testbed.faults import KINDS
from haechi_testbed.part import Pace
from haechi_testbed.twins.traffic.part import TrafficPart
from haechi_testbed.twins.traffic.registers import AS_PLANNED, CONTROLLER

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
START = parse_instant("2026-11-23T08:00:00+09:00")
AT = {one.field: one.address for one in CONTROLLER}


class Ear:
    """Where a gateway's connection would be."""

    def __init__(self, device: str) -> None:
        self.device, self.heard = device, list[tuple[str, Mapping[str, Any]]]()

    def send(self, channel: str, body: Mapping[str, Any]) -> None:
        self.heard.append((channel, body))

    def start(self) -> None:
        pass

    def go_offline(self) -> None:
        self.heard.clear()


@pytest.fixture(scope="module")
def made() -> tuple[TrafficPart, dict[str, Ear]]:
    ears = {name: Ear(name) for name in ("TG-01", "TG-02")}
    part = TrafficPart(CITY, ears, ("127.0.0.1", 0), Pace(START, 60.0, 1))  # type: ignore[arg-type]
    part.step(START, 10.0)
    assert all(len(ear.heard) == 1 for ear in ears.values()), "the minute before is sent at once"
    return part, ears


def minutes(made: tuple[TrafficPart, dict[str, Ear]], count: int) -> dict[str, list[Mapping[str, Any]]]:
    """What each thing said, by its id, in so many more minutes."""
    part, ears = made
    for ear in ears.values():
        ear.heard.clear()
    for _ in range(count * 6):
        part.step(START, 10.0)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for ear in ears.values():
        for channel, body in ear.heard:
            assert channel == "minute"
            for sample in body["samples"]:
                found.setdefault(str(sample["id"]), []).append(sample)
    return found


def test_a_gateway_sends_its_loops_and_roads_once_a_minute(made: tuple[TrafficPart, dict[str, Ear]]) -> None:
    part, _ = made
    said = minutes(made, 5)
    roads = [road for name in ("TG-01", "TG-02") for road in part.config.gateways[name]]
    assert set(said) == {f"RS-{road}" for road in roads} | {x for road in roads for x in part.config.stations[road]}
    assert all(len(said[f"RS-{road}"]) == 5 for road in roads)
    for name, samples in said.items():
        for one in samples:
            if name.startswith("RS-"):
                assert 0.0 <= one["speed"] <= part.config.roads[name[3:]].speed * 3.6 + 0.1
                assert one["time"] >= part.config.roads[name[3:]].length / part.config.roads[name[3:]].speed - 0.1
            else:
                assert 0 <= one["count"] <= 160
                assert 0.0 <= one["occupancy"] <= 100.0
                assert ("speed" in one) == bool(one["count"]), "nobody came: no speed"


def test_a_dead_loop_counts_nobody_a_stuck_one_repeats_itself_a_silent_one_is_left_out(
    made: tuple[TrafficPart, dict[str, Ear]],
) -> None:
    part, _ = made
    road = max(
        part.config.gateways["TG-01"], key=lambda one: part.twin.observe()[part.config.stations[one][0]]["count"]
    )
    up, down = part.config.stations[road]
    other = next(one for one in part.config.gateways["TG-02"])
    (dead,) = part.apply("detector_dead", up, True, 1.0)
    assert dead == f"urn:ngsi-ld:TrafficFlowObserved:gimpo:{up}"
    part.apply("stuck", down, True, 1.0)
    part.apply("silent", part.config.stations[other][0], True, 1.0)
    said = minutes(made, 4)
    assert {(one["count"], one["occupancy"], "speed" in one) for one in said[up]} == {(0, 0.0, False)}
    assert {one["up"] for one in said[f"RS-{road}"]} == {0.0}
    assert len({(one["count"], one["speed"]) for one in said[down]}) == 1
    assert part.config.stations[other][0] not in said
    assert not any("up" in one for one in said[f"RS-{other}"])
    for kind, loop in (("detector_dead", up), ("stuck", down), ("silent", part.config.stations[other][0])):
        part.apply(kind, loop, False, 1.0)
    assert sum(one["count"] for one in minutes(made, 4)[up]) > 0


def test_every_kind_of_fault_of_traffic_has_targets_and_names_who_shows_it(
    made: tuple[TrafficPart, dict[str, Ear]],
) -> None:
    part, _ = made
    for kind in (*(one for one, what in KINDS.items() if what.layer == "traffic"), "detector_dead", "stuck", "silent"):
        target = part.targets(kind)[-1]
        shown_by = part.apply(kind, target, True, 1.0)
        assert all(one.startswith("urn:ngsi-ld:") for one in shown_by)
        assert part.apply(kind, target, False, 1.0) == shown_by
    assert part.apply("silent", "TG-02", True, 1.0)
    assert f"RS-{part.config.gateways['TG-02'][0]}" not in minutes(made, 1)
    part.apply("silent", "TG-02", False, 1.0)
    assert part.targets("burst") == ()


@pytest.fixture
async def client(made: tuple[TrafficPart, dict[str, Ear]]) -> AsyncIterator[AsyncModbusTcpClient]:
    part, _ = made
    await part.bank.start()
    one = AsyncModbusTcpClient("127.0.0.1", port=part.bank.port)
    assert await one.connect()
    yield one
    one.close()
    await part.bank.stop()


async def test_a_controller_shows_what_runs_and_a_setpoint_acts_at_the_end_of_the_cycle(
    made: tuple[TrafficPart, dict[str, Ear]], client: AsyncModbusTcpClient
) -> None:
    part, _ = made

    async def shown() -> dict[str, int]:
        words = (await client.read_holding_registers(0, count=len(CONTROLLER), device_id=7)).registers
        return {field: words[address] for field, address in AT.items()}

    before = await shown()
    assert (before["plan"], before["cycle"], before["plan_set"]) == (2, 140, 0), "the morning peak's, by the hour"
    assert (before["offset_set"], before["flashing"]) == (AS_PLANNED, 0)
    assert before["stage"] in (1, 2)
    assert not (await client.write_register(AT["cycle_set"], 100, device_id=7)).isError()
    assert not (await client.write_register(AT["offset_set"], 30, device_id=7)).isError()
    minutes(made, 15)
    after = await shown()
    assert (after["cycle"], after["cycle_set"], after["offset"], after["offset_set"]) == (100, 100, 30, 30)
    name = part.twin.signals.names[6]
    assert part.twin.signals.controllers[name].begun % 100 == pytest.approx(30)
    part.apply("signal_failure", name, True, 1.0)
    minutes(made, 1)
    assert ((await shown())["flashing"], (await shown())["stage"]) == (1, 0)
    part.apply("signal_failure", name, False, 1.0)


async def test_what_a_controller_cannot_run_or_is_no_setpoint_is_refused_and_a_silent_one_does_not_answer(
    made: tuple[TrafficPart, dict[str, Ear]], client: AsyncModbusTcpClient
) -> None:
    part, _ = made
    for address, value in ((AT["cycle_set"], 20), (AT["plan_set"], 9), (AT["stage"], 1)):
        assert (await client.write_register(address, value, device_id=3)).isError()
    part.apply("silent", part.twin.signals.names[2], True, 1.0)
    assert (await client.read_holding_registers(0, count=1, device_id=3)).isError()
    part.apply("silent", part.twin.signals.names[2], False, 1.0)
    assert not (await client.read_holding_registers(0, count=1, device_id=3)).isError()
