"""Instruments, gateways on the city's water link, faults by name, scenario files: what stands between twin and wire."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haechi_testbed.clock import SECOND, format_instant, parse_instant, parse_span, second_of_day
from haechi_testbed.devices.carrier import Carrier
from haechi_testbed.devices.instrument import FLOW, PRESSURE, Instrument
from haechi_testbed.faults import KINDS, Board, Planned, parse_name
from haechi_testbed.part import Pace
from haechi_testbed.scenario import read
from haechi_testbed.twins.water.part import WaterPart

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
START = parse_instant("2026-11-22T12:00:00+09:00")


class Ear:
    """Where a gateway's connection would be."""

    def __init__(self, device: str) -> None:
        self.device, self.heard = device, list[tuple[str, Mapping[str, Any]]]()

    def send(self, channel: str, body: Mapping[str, Any]) -> None:
        self.heard.append((channel, body))

    def go_offline(self) -> None:
        self.heard.clear()


def _part(speed: float, seed: int = 1) -> tuple[WaterPart, dict[str, Ear]]:
    ears = {name: Ear(name) for name in ("GW-01", "GW-07", "AMI-01")}
    return WaterPart(CITY, ears, Pace(START, speed, seed)), ears  # type: ignore[arg-type]


def _run(part: WaterPart, seconds: int, tick_s: int) -> None:
    for step in range(seconds // tick_s):
        part.step(START + (step + 1) * tick_s * SECOND, tick_s)


# --- instruments -----------------------------------------------------------------------------------------------------


def test_an_instrument_shows_the_truth_in_its_own_unit_with_noise() -> None:
    one = Instrument("WP-001", PRESSURE, 1)
    shown = [value for value in (one.show(412.0, 10) for _ in range(500)) if value is not None]
    assert sum(shown) / len(shown) == pytest.approx(4.12, abs=0.002)
    assert 0.002 < max(shown) - min(shown) < 0.05
    assert len(set(shown)) > 50


def test_the_same_seed_shows_the_same_values() -> None:
    first, again, other = (Instrument("WP-001", PRESSURE, seed) for seed in (1, 1, 2))
    runs = [[one.show(400.0, 10) for _ in range(50)] for one in (first, again, other)]
    assert runs[0] == runs[1] != runs[2]


def test_now_and_then_a_value_never_comes() -> None:
    one = Instrument("WF-01", FLOW, 1)
    missing = sum(one.show(50.0, 10) is None for _ in range(20_000))
    assert 5 < missing < 50


def test_a_stuck_one_repeats_itself_until_it_is_mended() -> None:
    one = Instrument("WP-001", PRESSURE, 1)
    before = one.show(400.0, 10)
    one.apply("stuck", True)
    assert {one.show(300.0 + step, 10) for step in range(100)} <= {before, None}
    one.apply("stuck", False)
    assert one.show(300.0, 10) == pytest.approx(3.0, abs=0.05)


def test_a_drifting_one_moves_away_with_time_and_comes_back_when_calibrated() -> None:
    one = Instrument("WP-001", PRESSURE, 1)
    one.apply("drifting", True, 2.0)
    for _ in range(360):
        last = one.show(400.0, 10)
    assert last == pytest.approx(4.0 + 3600 * 2 * PRESSURE.drift_per_s, abs=0.05)
    one.apply("drifting", False)
    assert one.show(400.0, 10) == pytest.approx(4.0, abs=0.05)


def test_a_silent_one_says_nothing() -> None:
    one = Instrument("WP-001", PRESSURE, 1)
    one.apply("silent", True)
    assert {one.show(400.0, 10) for _ in range(50)} == {None}


# --- gateways --------------------------------------------------------------------------------------------------------


def test_in_real_time_each_instrument_has_its_own_moment_and_its_own_topic() -> None:
    part, ears = _part(speed=1.0)
    _run(part, 60, 1)
    part.close()
    sent = [(channel, str(body["ts"])) for channel, body in ears["GW-01"].heard]
    by_instrument = [ts for channel, ts in sent if channel == "WP-001"]
    assert 5 <= len(by_instrument) <= 6
    assert len({ts for _, ts in sent}) > 6, "they do not all speak in the same second"


def test_in_a_fast_run_a_gateway_sends_one_payload_a_tick() -> None:
    part, ears = _part(speed=60.0)
    _run(part, 60, 10)
    part.close()
    assert [channel for channel, _ in ears["GW-01"].heard] == ["batch"] * 6
    assert {one["id"] for one in ears["GW-01"].heard[0][1]["samples"]} >= {"WP-001", "WP-010", "WF-01", "WF-02"}
    plant = {one["id"]: one for one in ears["GW-07"].heard[0][1]["samples"]}
    assert plant["pump1"].keys() == {"id", "flow", "power", "running", "commanded"}


def test_meters_come_once_an_hour_in_one_batch_and_never_count_back() -> None:
    part, ears = _part(speed=60.0)
    _run(part, 2 * 3600, 10)
    part.close()
    batches = [body for channel, body in ears["AMI-01"].heard if channel == "meters"]
    assert len(batches) == 2
    before, after = ({one["id"]: one["volume"] for one in body["samples"]} for body in batches)
    assert len(after) > 150
    assert all(after[name] >= before[name] for name in after)
    assert sum(after.values()) > sum(before.values())


def test_a_gateway_without_network_keeps_what_it_has_and_sends_it_late_with_its_own_time() -> None:
    ear = Ear("GW-01")
    carrier = Carrier(ear, 1)  # type: ignore[arg-type]
    carrier._away_until = START + 30 * SECOND
    for step in range(5):
        carrier.send("WP-001", START + step * 10 * SECOND, {"pressure": step})
    assert [body["pressure"] for _, body in ear.heard] == [3, 4]
    carrier.tick(START + 40 * SECOND, 0.0)
    assert [body["pressure"] for _, body in ear.heard] == [3, 4, 0, 1, 2]
    assert ear.heard[2][1]["ts"] == format_instant(START + carrier.skew_us)


def test_a_silent_gateway_takes_all_its_instruments_with_it() -> None:
    part, ears = _part(speed=60.0)
    hidden = part.apply("silent", "GW-01", True, 1.0)
    _run(part, 60, 10)
    part.close()
    assert ears["GW-01"].heard == []
    assert "urn:ngsi-ld:WaterPressureSensor:gimpo:WP-001" in hidden


def test_a_fault_at_an_unknown_instrument_is_refused() -> None:
    part, _ = _part(speed=60.0)
    with pytest.raises(ValueError, match="WP-001"):
        part.apply("stuck", "WP-999", True, 1.0)
    part.close()


# --- names, times, plans ----------------------------------------------------------------------------------------------


def test_faults_have_names() -> None:
    assert parse_name("burst@pipe17") == ("burst", "pipe17")
    for wrong in ("burst", "burst@", "flood@pipe17", "@pipe17"):
        with pytest.raises(ValueError, match="burst"):
            parse_name(wrong)
    assert set(KINDS) >= {"burst", "pump_failure", "exceedance", "stuck", "drifting", "silent"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800)]
)
def test_spans_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "30 s", "ten minutes", "30s!"])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no span"):
        parse_span(text)


def test_instants_need_an_offset_and_days_begin_at_local_midnight() -> None:
    assert format_instant(parse_instant("2026-11-22T09:00:00.250+09:00")) == "2026-11-22T00:00:00.250Z"
    assert second_of_day(START, 9.0) == 43_200
    with pytest.raises(ValueError, match="no offset"):
        parse_instant("2026-11-22T09:00:00")


def test_a_planned_fault_begins_ends_and_stays_on_the_record() -> None:
    board = Board()
    board.plan(Planned(START + 10 * SECOND, "burst", "pipe17", 1.0, 60.0))
    assert board.due(START) == ([], [])
    (planned,), _ = board.due(START + 10 * SECOND)
    fault = board.begin(planned, START + 10 * SECOND, ["urn:x"])
    assert board.due(START + 60 * SECOND) == ([], [])
    assert board.due(START + 70 * SECOND) == ([], [fault])
    board.end(fault, START + 70 * SECOND)
    (known,) = board.all()
    assert (known.id, known.started_at, known.ended_at) == ("F001", START + 10 * SECOND, START + 70 * SECOND)


SCENARIO = """\
start = 2026-11-22T06:00:00+09:00
duration = "2h"
seed = 7
speed = 60
[[fault]]
after = "20m"
fault = "burst@pipe17"
for = "30m"
"""


def test_a_scenario_says_when_how_fast_and_what_goes_wrong(tmp_path: Path) -> None:
    (tmp_path / "day.toml").write_text(SCENARIO, "utf-8")
    plan = read(tmp_path / "day.toml")
    assert (plan.name, plan.duration_s, plan.seed, plan.speed) == ("day", 7200.0, 7, 60.0)
    assert plan.start_us == parse_instant("2026-11-21T21:00:00Z")
    assert plan.faults == (Planned(plan.start_us + 1200 * SECOND, "burst", "pipe17", 1.0, 1800.0),)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('duration = "2h"', 'length = "2h"', "length is no setting"),
        ("start = 2026-11-22T06:00:00+09:00\n", "", "start is missing"),
        ("+09:00", "", "no offset"),
        ("burst@pipe17", "bust@pipe17", "is no fault"),
        ('for = "30m"', 'until = "30m"', "until is no setting"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "day.toml").write_text(SCENARIO.replace(old, new), "utf-8")
    with pytest.raises(ValueError, match=says):
        read(tmp_path / "day.toml")


def test_every_scenario_of_the_city_can_be_read() -> None:
    files = sorted((CITY / "testbed" / "scenarios").glob("*.toml"))
    assert files
    for file in files:
        assert read(file).duration_s > 0
