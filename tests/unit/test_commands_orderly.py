"""Setpoints that may not be written, second hands, kills between two steps, and clocks that are put back."""

from pathlib import Path
from typing import Any

import pytest
from desk_city import SENSOR, VALVE, City, setpoint

from haechi.core.errors import InvalidData
from haechi.core.times import SECOND
from haechi.services.commands.setpoints import is_met


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"attribute": "flow"}, "NotFound"),
        ({"entity": VALVE}, "NotFound"),
        ({"value": 1600.1}, "InvalidData"),
        ({"value": -0.1}, "InvalidData"),
        ({"value": True}, "InvalidData"),
        ({"value": "250"}, "InvalidData"),
        ({"value": None}, "InvalidData"),
        ({"reason": " "}, "InvalidData"),
        ({"at": "now"}, "InvalidData"),
        ({"entity": VALVE, "attribute": "status", "value": 1}, "InvalidData"),
    ],
)
def test_what_may_not_be_written_is_refused_and_no_device_hears_of_it(
    city: City, changes: dict[str, Any], error: str
) -> None:
    reply = city.ask(**{"value": 250.0, **changes})
    assert (reply["ok"], reply["error"]) == (False, error)
    assert city.sent() == [] and city.reader.commands(None, 10) == []
    assert city.projection.position() == city.seq, "refused once, refused for ever"


def test_a_second_hand_at_the_same_valve_is_told_who_was_first(city: City) -> None:
    city.ask(250.0)
    reply = city.ask(200.0, user="lee")
    assert reply["error"] == "Conflict" and "kim" in reply["detail"]
    assert city.ask(2.0, attribute="level", user="lee")["ok"], "another attribute is another matter"
    city.take(city.outcome("c1", ok=False, detail="no"))
    assert city.ask(200.0, user="lee")["ok"]


def test_killed_between_any_two_steps_it_goes_on_where_it_was(tmp_path: Path) -> None:
    city = City(tmp_path)
    for step in (
        lambda: city.ask(250.0),
        lambda: city.take(city.outcome("c1", ok=True, confirmed=True, detail="acknowledged")),
        lambda: city.take(city.seen(280.0)),
        lambda: city.wait(30),
        lambda: city.take(city.outcome("c1-undo", ok=True, confirmed=True, detail="acknowledged")),
    ):
        step()
        city.projection.close()
        city.open()
    assert city.states() == ["requested", "sent", "confirmed", "failed", "undone"]


def test_records_read_again_after_a_kill_have_no_second_effect(tmp_path: Path) -> None:
    city = City(tmp_path)
    records = [city.seen(300.0), city.asking(250.0), city.outcome("c1", ok=True, confirmed=True, detail="ok")]
    city.take(*records)
    told = len(city.told)
    assert city.take(*records) == []
    city.projection.close()
    city.open()
    assert city.take(*records) == []
    assert (len(city.told), city.states()) == (told, ["requested", "sent", "confirmed"])


def test_a_request_found_long_after_it_was_made_reaches_no_device(city: City) -> None:
    request = city.asking(250.0)
    city.now += 31 * SECOND
    city.take(request)
    assert city.command()["state"] == "failed" and city.sent() == []


def test_an_idle_city_writes_its_position_only_now_and_then(city: City) -> None:
    for _ in range(10):
        city.take(city.record("obs", b"these bytes are not even looked at"))
    assert city.projection.position() == 0
    city.wait(5)
    assert city.projection.position() == 10


def test_bytes_nobody_understands_stop_nothing(city: City) -> None:
    city.ask(250.0)
    city.take(city.record("ops", b"{no json"), city.record("obs", b"no frame"), city.record("ops", b"[]"))
    city.take(city.record("ops", b'{"kind": "command.outcome", "command": "c1", "ok": true}'))
    city.take(city.record("ops", b'{"kind": "alarm.acknowledge", "id": "a"}'))
    city.confirm()
    assert city.command()["state"] == "confirmed"


def test_setpoints_of_an_entity_are_listed_with_their_bounds(city: City) -> None:
    assert [one["attribute"] for one in city.reader.setpoints(SENSOR)] == ["level", "pressure"]
    assert city.reader.setpoints(SENSOR)[1]["high"] == 1600.0


@pytest.mark.parametrize(
    ("wanted", "found", "tolerance", "met"),
    [
        (250.0, 250.5, 0.5, True),
        (0.3, 0.2, 0.1, True),
        (250.0, 250.51, 0.5, False),
        (1e6, 1e6 + 0.5, None, True),
        (1.0, 1.1, None, False),
        (1.0, True, None, False),
        (True, 1.0, None, False),
        (True, True, None, True),
        ("open", "open", None, True),
        ("open", "Open", None, False),
        (1.0, None, None, False),
    ],
)
def test_a_value_is_met_within_the_tolerance_and_never_across_kinds(
    wanted: Any, found: Any, tolerance: float | None, met: bool
) -> None:
    assert is_met(wanted, found, tolerance) is met


def test_a_whole_number_is_asked_for_in_whole_numbers() -> None:
    whole = setpoint("pressure", datatype="integer", unit=None, device_unit=None)
    assert whole.for_device(whole.check(3)) == 3
    assert isinstance(whole.for_device(whole.check(3)), int)
    with pytest.raises(InvalidData, match="whole number"):
        whole.check(3.5)
    switch = setpoint("pressure", datatype="boolean", unit=None, device_unit=None)
    assert switch.for_device(switch.check(True)) is True
    assert setpoint("x").restorable(5000.0) is None


def test_a_clock_that_is_put_back_keeps_no_setpoint_open_for_longer_than_its_time(city: City) -> None:
    city.ask(250.0)
    city.take(city.outcome("c1", ok=True, confirmed=True))
    city.wait(-3600)
    city.wait(1)
    city.take(city.seen(250.0))
    assert city.reader.command("c1")["state"] == "verified", "what is seen after the clock went back is seen after"
    city.ask(260.0)
    city.wait(-3600)
    assert city.wait(4), "it is told again"
    city.wait(30)
    city.wait(30)
    assert not city.reader.command("c2")["open"]
