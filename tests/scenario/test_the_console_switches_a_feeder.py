"""An operator opens a feeder's breaker on the console: the relay takes it, the grid goes dark, alarms say so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_city import GIMPO, Testbed
from haechi.testing.platform import Platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FEEDER = "urn:ngsi-ld:Feeder:gimpo:DL-05"
WAIT_S = 60


@pytest.fixture
def city(tmp_path: Path) -> Iterator[tuple[Platform, Testbed]]:
    with Platform(GIMPO, tmp_path / "data") as platform:
        testbed = Testbed(platform)
        testbed.start()
        try:
            platform.wait_for(lambda: shown(platform, FEEDER).get("breakerClosed") is True, WAIT_S, "no relay is heard")
            yield platform, testbed
        finally:
            testbed.stop()


def shown(platform: Platform, entity: str) -> dict[str, Any]:
    """What the console says of an entity now."""
    return {
        name: one.get("value", one.get("object"))
        for name, one in platform.request("GET", f"/api/entities/{entity}")["attributes"].items()
    }


def ordered(platform: Platform, value: object) -> dict[str, Any]:
    """A setpoint's command when it is verified."""
    asked = {"entity": FEEDER, "attribute": "breakerClosed", "value": value, "reason": "maintenance"}
    made = platform.request("POST", "/api/commands", asked)

    def over() -> Any:
        found = platform.request("GET", f"/api/commands/{made['id']}")
        assert found["state"] != "failed", found
        return found if found["state"] == "verified" else None

    done: dict[str, Any] = platform.wait_for(over, WAIT_S, "the command is not verified")
    return done


def alarmed(platform: Platform, rule: str) -> set[str]:
    return {one["entity"] for one in platform.request("GET", "/api/alarms")["alarms"] if one["rule"] == rule}


def test_a_breaker_opened_from_the_console_darkens_its_feeder_and_closing_it_brings_it_back(
    city: tuple[Platform, Testbed],
) -> None:
    platform, _ = city
    states = [step["state"] for step in ordered(platform, False)["steps"]]
    assert (states[0], states[-2:]) == ("requested", ["confirmed", "verified"])
    platform.wait_for(lambda: FEEDER in alarmed(platform, "power.feeder_outage"), WAIT_S, "no alarm for the feeder")
    dark = platform.wait_for(lambda: alarmed(platform, "energy.outage"), WAIT_S, "no meter reports the outage")
    meter = shown(platform, next(iter(dark)))
    assert meter["refFeeder"] == FEEDER
    assert meter["voltage"] == 0.0
    ordered(platform, True)
    platform.wait_for(lambda: (shown(platform, FEEDER)["current"] or 0) > 10, WAIT_S, "no current flows again")
