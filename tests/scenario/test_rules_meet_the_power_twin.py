"""What the rules of power and energy say of the simulated Gimpo: nothing on an evening, the right thing in a fault."""

import pytest
from dry_power import DryPower

from haechi_testbed.clock import SECOND


@pytest.fixture(scope="module")
def evening() -> DryPower:
    """The hour of the highest load, a while after it began."""
    city = DryPower("2026-11-23T20:00:00+09:00", seed=5)
    city.run(300)
    assert city.alarms() == [], "nothing is wrong"
    return city


def broken(city: DryPower, fault: str, seconds: int) -> dict[str, tuple[int, str]]:
    """Breaks it for that long and mends it; rule and entity, with when (seconds from the beginning) and how bad."""
    kind, _, target = fault.partition("@")
    begun, before = city.now_us, len(city.raised)
    city.part.apply(kind, target, True, 1.0)
    city.run(seconds)
    city.part.apply(kind, target, False, 1.0)
    found: dict[str, tuple[int, str]] = {}
    for at, rule, entity, level in city.raised[before:]:
        found[f"{rule} {entity.rpartition(':')[2]}"] = ((at - begun) // SECOND, level.name.lower())
    city.run(420)
    return found


def test_a_blown_fuse_is_seen_at_the_transformer_and_by_its_meters_within_half_a_minute(evening: DryPower) -> None:
    found = broken(evening, "outage@TR-045", 60)
    after, level = found.pop("power.transformer_outage TR-045")
    assert after <= 40
    assert level == "alert"
    assert len(found) == 8
    assert all(name.startswith("energy.outage EM-") and one <= (30, "attention") for name, one in found.items())


def test_an_overloaded_feeder_is_named_and_nothing_else(evening: DryPower) -> None:
    found = broken(evening, "feeder_overload@DL-02", 180)
    assert found["power.feeder_overload DL-02"][0] <= 130
    assert found["power.feeder_overload DL-02"][1] in ("alert", "serious")
    assert {name.partition(" ")[0] for name in found} <= {"power.feeder_overload", "power.voltage_low"}


def test_a_burnt_terminal_is_low_voltage_at_that_transformer(evening: DryPower) -> None:
    found = broken(evening, "voltage_drop@TR-030", 240)
    assert found["power.voltage_low TR-030"] == (pytest.approx(100, abs=60), "alert")
    assert {name for name in found if name.startswith("power.")} == {"power.voltage_low TR-030"}


def test_a_stuck_relay_is_a_case_for_maintenance(evening: DryPower) -> None:
    found = broken(evening, "stuck@DL-05", 960)
    assert found == {"power.feeder_stuck DL-05": (pytest.approx(900, abs=30), "caution")}
