"""The electric city: it repeats with its seed, follows the hour and the weather, and shows what is broken."""

from pathlib import Path

import numpy as np
import pytest

from haechi_testbed.clock import parse_instant
from haechi_testbed.twins.power import profiles
from haechi_testbed.twins.power.config import load
from haechi_testbed.twins.power.thermal import Heat
from haechi_testbed.twins.power.twin import PowerTwin

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
CONFIG = load(CITY / "testbed")
NOON = parse_instant("2026-11-23T12:00:00+09:00")  # a Monday


def twin(start: int = NOON, seed: int = 1) -> PowerTwin:
    return PowerTwin(CONFIG, seed, start)


def test_the_same_seed_gives_the_same_course_and_another_another() -> None:
    runs = []
    for seed in (1, 1, 2):
        one = twin(seed=seed)
        one.step(300)
        runs.append((one.observe(), one.meter("EM-0002" if "EM-0002" in one.meters else next(iter(one.meters)))))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_long_steps_are_many_short_ones() -> None:
    long, short = twin(), twin()
    long.step(600)
    for _ in range(60):
        short.step(10)
    assert long.observe() == short.observe()


def test_voltage_at_every_customer_is_within_the_law_on_an_undisturbed_day() -> None:
    for start in ("2026-11-22T18:00:00+09:00", "2026-01-21T19:00:00+09:00", "2026-08-05T14:00:00+09:00"):
        one = twin(parse_instant(start))
        one.step(1800)
        volts = one.flow.load_pu * 380 / 3**0.5
        assert 207 < volts.min() < volts.max() < 233, start
        assert one.flow.feeder["amps"].max() < 0.8 * 252
        assert one.flow.station["load"].max() < 1.2


def test_more_is_drawn_in_the_evening_than_at_night_and_more_in_frost_than_in_spring() -> None:
    def drawn(start: str) -> float:
        one = twin(parse_instant(start))
        one.step(60)
        return one.flow.drawn_w

    evening, night = drawn("2026-11-23T20:00:00+09:00"), drawn("2026-11-23T03:30:00+09:00")
    assert evening > 1.6 * night
    assert drawn("2026-01-20T20:00:00+09:00") > 1.05 * drawn("2026-05-12T20:00:00+09:00")


def test_shapes_have_the_mean_they_are_named_after_and_offices_rest_on_sunday() -> None:
    monday, sunday = 4 * profiles.DAY_S, 3 * profiles.DAY_S  # 1970-01-05 and -04
    assert not profiles.is_weekend(monday)
    assert profiles.is_weekend(sunday)
    for name in ("res", "com", "pub"):
        day = [profiles.factor(name, monday + hour * 3600.0, 20.0) for hour in range(24)]
        assert np.mean(day) == pytest.approx(1.0, abs=0.01)
    assert profiles.factor("pub", sunday + 36_000, 20.0) < 0.5 * profiles.factor("pub", monday + 36_000, 20.0)
    assert profiles.factor("res", monday, 33.0) == pytest.approx(1.44 * profiles.factor("res", monday, 20.0))


def test_panels_sleep_at_night_and_lights_by_day() -> None:
    for day, dark_at, light_at in ((172, 22, 12), (355, 19, 12)):
        assert profiles.sun(37.65, day, dark_at * 3600.0) == 0.0
        assert profiles.sun(37.65, day, light_at * 3600.0) > 0.4
        assert profiles.lights(37.65, day, dark_at * 3600.0) == 1.0
        assert profiles.lights(37.65, day, light_at * 3600.0) == 0.0
    assert profiles.day_length_h(37.65, 172) == pytest.approx(14.7, abs=0.3)


def test_meters_count_what_flows_and_never_back() -> None:
    one = twin()
    before = {name: one.meter(name) for name in one.meters}
    one.step(3600)
    after = {name: one.meter(name) for name in one.meters}
    assert all(
        now[0] >= then[0] and now[1] >= then[1] for now, then in zip(after.values(), before.values(), strict=True)
    )
    used = sum(now[0] - then[0] - now[1] + then[1] for now, then in zip(after.values(), before.values(), strict=True))
    assert used == pytest.approx(sum(one.meter(name)[2] for name in one.meters), rel=0.15), (
        "an hour at about that power"
    )


# --- faults ---


def test_an_outage_of_a_feeder_darkens_it_alone_and_ends() -> None:
    one = twin()
    before = one.observe()
    one.apply("outage", "DL-04", True)
    one.step(10)
    dark = [station.id for station in CONFIG.stations if station.feeder == "DL-04"]
    now = one.observe()
    assert now["DL-04"]["breaker"] is False
    assert now["DL-04"]["bus"] == now["DL-04"]["current"] == 0.0
    assert {name for name, values in now.items() if values.get("voltage") == 0.0} == set(dark)
    lost = [meter for meter, index in one.meters.items() if CONFIG.loads[index].station in dark]
    counted = one.meter(lost[0])
    one.step(600)
    assert one.meter(lost[0]) == counted, "nothing is counted without supply"
    one.apply("outage", "DL-04", False)
    one.step(60)
    assert float(one.observe()["DL-04"]["current"]) == pytest.approx(float(before["DL-04"]["current"]), rel=0.15)


def test_closing_a_breaker_does_not_help_while_the_fault_lasts_and_one_that_was_opened_stays_open() -> None:
    one = twin()
    one.apply("outage", "DL-01", True)
    one.switch("DL-01", True)
    assert not one.is_closed("DL-01")
    one.apply("outage", "DL-01", False)
    assert one.is_closed("DL-01")
    one.switch("DL-01", False)
    one.apply("outage", "DL-01", True)
    one.apply("outage", "DL-01", False)
    assert not one.is_closed("DL-01"), "an operator opened it"


def test_an_overload_takes_a_feeder_beyond_what_it_may_carry_at_any_hour() -> None:
    for start in ("2026-11-23T04:00:00+09:00", "2026-11-23T20:00:00+09:00"):
        one = twin(parse_instant(start))
        one.apply("feeder_overload", "DL-02", True)
        one.step(60)
        amps = {name: float(one.observe()[name]["current"]) for name in CONFIG.feeders}
        assert 1.05 * 252 < amps.pop("DL-02") < 1.6 * 252
        assert max(amps.values()) < 252


def test_a_burnt_terminal_lowers_the_voltage_behind_one_transformer_morning_and_evening() -> None:
    for start in ("2026-11-23T08:00:00+09:00", "2026-11-23T20:00:00+09:00"):
        one = twin(parse_instant(start))
        one.apply("voltage_drop", "TR-030", True)
        one.step(60)
        volts = {name: float(values["voltage"]) for name, values in one.observe().items() if "voltage" in values}
        assert 90 < volts.pop("TR-030") < 207
        assert min(volts.values()) > 207
        one.apply("voltage_drop", "TR-030", False)
        one.step(10)
        assert float(one.observe()["TR-030"]["voltage"]) > 207


def test_a_fault_that_the_grid_does_not_know_is_refused() -> None:
    for fault, target in (("outage", "DL-09"), ("voltage_drop", "DL-01"), ("feeder_overload", "TR-001")):
        with pytest.raises(ValueError, match="power knows"):
            twin().apply(fault, target, True)


# --- what can be set ---


def test_a_setpoint_of_the_tap_changer_is_followed_step_by_step() -> None:
    one = twin()
    one.set_target("MTR-1", 23.5)
    one.step(600)
    bars = one.observe()["MTR-1"]["bus"], one.observe()["MTR-2"]["bus"]
    assert float(bars[0]) == pytest.approx(23.5, abs=0.22)
    assert float(bars[1]) == pytest.approx(22.9, abs=0.22)
    with pytest.raises(ValueError, match=r"21\.8 to 23\.8"):
        one.set_target("MTR-1", 25.0)


def test_a_capacitor_bank_takes_the_steps_it_has() -> None:
    one = twin()
    one.set_steps("SC-1", 4)
    one.step(10)
    assert float(one.observe()["SC-1"]["reactive"]) == pytest.approx(3600, rel=0.05)
    with pytest.raises(ValueError, match="0 to 4"):
        one.set_steps("SC-1", 5)


def test_a_transformer_warms_and_cools_as_the_standard_says() -> None:
    heat = Heat(np.array([0.5]))
    before = float(heat.oil(20.0)[0])
    assert before == pytest.approx(20 + 55 * ((1 + 5 * 0.25) / 6) ** 0.8)
    for _ in range(180):
        heat.step(np.array([1.5]), 60.0)
    end = 20 + 55 * ((1 + 5 * 2.25) / 6) ** 0.8
    assert float(heat.oil(20.0)[0]) == pytest.approx(before + (end - before) * (1 - np.exp(-1)), rel=1e-3)
    assert float(heat.hot_spot(20.0)[0] - heat.oil(20.0)[0]) == pytest.approx(23 * 1.5**1.6, rel=1e-3)
