"""The air twin: mass is kept, the wind decides who breathes it, stability how thin it is, and a seed repeats it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haechi_testbed.twins.air.config import POLLUTANTS, AirConfig, Wind, load
from haechi_testbed.twins.air.dispersion import rise, share, stability, widths
from haechi_testbed.twins.air.twin import AirTwin

AIR_TOML = Path(__file__).parents[2] / "cities" / "gimpo" / "testbed" / "air.toml"
NOON = 12 * 3600.0


@pytest.fixture(scope="module")
def config() -> AirConfig:
    return load(AIR_TOML)


def steady(config: AirConfig, direction_deg: float, speed_m_s: float = 3.0) -> AirConfig:
    return replace(config, wind=Wind(speed_m_s, direction_deg, 0.0, 0.0, 3600.0))


def plume(twin: AirTwin, station: int, name: str = "SO2") -> float:
    return float(twin._plumes[station][POLLUTANTS.index(name)])


def test_gimpo_has_the_stations_stacks_and_weather_it_promises(config: AirConfig) -> None:
    assert (len(config.stations), len(config.stacks), len(config.weather)) == (8, 6, 3)
    numbers = [site.mn for _, site in config.sites().values()]
    assert len(set(numbers)) == 17
    assert {len(one) for one in numbers} == {24}


def test_a_file_that_lacks_something_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "air.toml"
    broken.write_text("[model]\norigin = [0, 0]\n")
    with pytest.raises(ValueError, match=r"air.toml: 'station' is missing"):
        load(broken)


def test_every_factor_names_a_quantity_the_twin_shows(config: AirConfig) -> None:
    shown = AirTwin(config, 1).observe()
    for id, (kind, _) in config.sites().items():
        assert {factor.quantity for factor in config.factors[kind]} <= set(shown[id])


@pytest.mark.parametrize(
    ("hour", "speed", "expected"),
    [
        (12.5, 1.0, "A"),
        (12.5, 3.0, "B"),
        (12.5, 5.0, "C"),
        (12.5, 8.0, "D"),
        (2.0, 1.0, "F"),
        (2.0, 3.0, "E"),
        (2.0, 6.0, "D"),
    ],
)
def test_stability_follows_sun_and_wind(hour: float, speed: float, expected: str) -> None:
    assert stability(hour, speed) == expected


def test_widths_are_those_of_briggs_at_a_kilometre() -> None:
    at = np.array([1000.0])
    for klass, side, up in [("A", 209.76, 200.0), ("D", 76.28, 37.95), ("F", 38.14, 12.31)]:
        found = widths(at, klass)
        assert found[0][0] == pytest.approx(side, rel=1e-3)
        assert found[1][0] == pytest.approx(up, rel=1e-3)


def test_a_warm_plume_rises_higher_in_weak_wind_and_less_in_stable_air() -> None:
    weak, strong = (rise(12, 1.6, (420, 285), speed, "D") for speed in (2.0, 8.0))
    assert weak == pytest.approx(4 * strong)
    assert rise(12, 1.6, (420, 285), 2.0, "F") < weak
    assert rise(12, 1.6, (280, 285), 2.0, "D") == 0.0


def test_all_of_a_puff_is_somewhere_above_the_ground() -> None:
    side, step = 60.0, 15.0
    line = np.arange(-300.0, 300.0 + step, step)
    grid = np.array([(x, y) for x in line for y in line])
    total = 0.0
    for z in np.arange(step / 2, 400.0, step):
        total += float(share(grid[:, None, :], np.array([[side, 40.0]]), np.array([80.0]), z).sum()) * step**3
    assert total == pytest.approx(1.0, rel=0.01)


def test_far_downwind_the_puffs_make_the_plume_of_the_textbook(config: AirConfig) -> None:
    """A steady source and wind: the sum of puffs against the Gaussian plume formula on its axis."""
    speed, x, height, rate = 4.0, 2000.0, 40.0, 1.0
    interval = 5.0
    ways = np.arange(1, 4000) * speed * interval
    side, up = widths(ways, "D")
    offsets = np.stack([x - ways, np.zeros_like(ways)], axis=1)[None, :, :]
    puffs = share(offsets, np.stack([side, up], axis=1), np.full(ways.size, height), 0.0).sum() * rate * interval
    side_x, up_x = (float(one[0]) for one in widths(np.array([x]), "D"))
    textbook = rate / (math.pi * speed * side_x * up_x) * math.exp(-(height**2) / (2 * up_x**2))
    assert puffs == pytest.approx(textbook, rel=0.05)


def test_who_is_downwind_breathes_it_and_who_is_upwind_does_not(config: AirConfig) -> None:
    stack = config.stacks[0].site
    east = replace(config.stations[0], x=stack.x + 2500.0, y=stack.y)
    west = replace(config.stations[1], x=stack.x - 2500.0, y=stack.y)
    small = replace(config, stations=(east, west), stacks=(config.stacks[0],))
    blown_east = AirTwin(steady(small, 270.0), 1, NOON)
    assert plume(blown_east, 0) > 0.3  # µg/m3
    assert plume(blown_east, 1) < 1e-6
    blown_west = AirTwin(steady(small, 90.0), 1, NOON)
    assert plume(blown_west, 1) > 0.3  # µg/m3
    assert plume(blown_west, 0) < 1e-6


def test_an_exceedance_shows_in_the_stack_at_once_and_later_downwind(config: AirConfig) -> None:
    stack = config.stacks[0].site
    east = replace(config.stations[0], x=stack.x + 2500.0, y=stack.y)
    small = steady(replace(config, stations=(east,), stacks=(config.stacks[0],)), 270.0)
    calm, failing = AirTwin(small, 1, NOON), AirTwin(small, 1, NOON)
    failing.apply("exceedance", "ES-01", True, 1.0)
    assert failing.observe()["ES-01"]["SO2"] == pytest.approx(3.5 * calm.observe()["ES-01"]["SO2"])
    assert plume(failing, 0) == plume(calm, 0)
    for twin in (calm, failing):
        twin.step(3600.0)
    assert plume(failing, 0) == pytest.approx(3.5 * plume(calm, 0), rel=0.05)
    failing.apply("exceedance", "ES-01", False, 1.0)
    assert failing.observe()["ES-01"] == pytest.approx(calm.observe()["ES-01"])


def test_a_fault_it_does_not_know_is_named(config: AirConfig) -> None:
    twin = AirTwin(config, 1)
    with pytest.raises(ValueError, match="ES-01"):
        twin.apply("exceedance", "AS-01", True)
    with pytest.raises(ValueError, match="burst"):
        twin.apply("burst", "ES-01", True)


def test_a_seed_repeats_the_air_and_another_does_not(config: AirConfig) -> None:
    twins = [AirTwin(config, seed, NOON) for seed in (7, 7, 8)]
    for twin in twins:
        for _ in range(20):
            twin.step(30.0)
    one, same, other = (twin.observe() for twin in twins)
    assert one == same
    assert one != other


def test_a_day_stays_plausible(config: AirConfig) -> None:
    twin = AirTwin(config, 3)
    limits = {"PM2.5": 120, "PM10": 250, "SO2": 150, "NO2": 300, "CO": 4000, "O3": 300}
    for _ in range(96):
        twin.step(900.0)
        shown = twin.observe()
        for site in config.stations:
            assert all(0 <= shown[site.id][name] <= most for name, most in limits.items())
            assert shown[site.id]["PM2.5"] <= shown[site.id]["PM10"]
        for site in config.weather:
            assert 0 <= shown[site.id]["wind_direction"] < 360
            assert 0 < shown[site.id]["humidity"] <= 100
    assert len(twin._puffs) <= 6 * 5400 / 20
