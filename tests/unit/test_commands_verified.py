"""Setpoints from request to verification by the value read back."""

from pathlib import Path

import pytest
from desk_city import START, VALVE, City

from haechi.core.times import SECOND


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def test_a_setpoint_is_requested_sent_confirmed_and_verified_and_every_step_says_who_and_why(city: City) -> None:
    reply = city.ask(250.0)
    assert reply["ok"] and reply["result"]["state"] == "requested"
    assert city.sent() == [
        {"id": "c1", "device": "PLC-1", "channel": "", "field": "p", "value": 2.5, "expires_at": START + 30 * SECOND}
    ], "in the device's unit"
    city.now += SECOND
    city.confirm()
    assert city.command()["state"] == "confirmed"
    city.now += SECOND
    city.take(city.seen(250.4))
    shown = city.command()
    assert (shown["state"], shown["open"], shown["previous"], shown["last_value"]) == ("verified", False, 300.0, 250.4)
    assert city.states() == ["requested", "sent", "confirmed", "verified"]
    first, *_, last = shown["steps"]
    assert (first["who"], first["why"], first["at"]) == ("kim", "drill", "2026-11-22T09:00:00Z")
    assert (last["who"], last["why"], last["at"]) == ("plant/PLC-1", "250.4 was read back", "2026-11-22T09:00:02Z")


def test_a_value_outside_the_tolerance_verifies_nothing(city: City) -> None:
    city.ask(250.0)
    city.confirm()
    city.now += SECOND
    city.take(city.seen(250.6), city.seen(250.0, "level"), city.seen(250.0, entity=VALVE))
    assert city.command()["state"] == "confirmed"


def test_a_value_read_before_the_device_was_told_verifies_nothing(city: City) -> None:
    city.ask(250.0)
    city.take(city.seen(250.0))
    city.now += SECOND
    city.confirm()
    assert city.command()["state"] == "confirmed"
    city.now += 5 * SECOND
    city.take(city.seen(250.0, late_s=60.0))
    assert city.command()["state"] == "confirmed", "a value from a buffer, a minute old"
    city.take(city.seen(250.0))
    assert city.command()["state"] == "verified"


def test_a_value_that_overtakes_the_devices_acknowledgement_on_the_log_verifies(city: City) -> None:
    city.ask(250.0)
    written_at = city.now
    city.now += SECOND
    city.take(city.seen(250.0))
    city.take(city.outcome("c1", ok=True, confirmed=True, detail="acknowledged", at=written_at))
    assert city.states() == ["requested", "sent", "confirmed", "verified"]


def test_what_is_sent_without_an_acknowledgement_is_verified_all_the_same(city: City) -> None:
    city.ask("open", entity=VALVE, attribute="status")
    city.take(city.outcome("c1", ok=True, detail="published"))
    assert city.command()["state"] == "sent"
    city.take(city.seen("closed", "status", VALVE))
    assert city.command()["state"] == "sent"
    city.take(city.seen("open", "status", VALVE))
    assert city.states() == ["requested", "sent", "confirmed", "verified"], "the value is the confirmation"
