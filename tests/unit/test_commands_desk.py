"""Setpoints from request to verification, over a real record store; what is refused changes nothing."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from haechi.core.errors import InvalidData
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND, from_us, to_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Notice, Record
from haechi.services.commands import COLLECTIONS, CommandProjection, CommandReader, Setpoint
from haechi.services.commands.setpoints import is_met
from haechi.testing.clock import StandingClock

START = to_us(StandingClock().now())
SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-1"
VALVE = "urn:ngsi-ld:Valve:tiny:V-1"


def setpoint(attribute: str, entity: str = SENSOR, **changes: Any) -> Setpoint:
    fields: dict[str, Any] = {
        "entity": entity, "attribute": attribute, "link": "plant", "device": "PLC-1", "channel": "", "field": "p",
        "datatype": "number", "unit": "KPA", "device_unit": "BAR", "low": 0.0, "high": 1600.0, "tolerance": 0.5,
        "timeout_s": 30.0, "undo": False,
    }  # fmt: skip
    return Setpoint(**{**fields, **changes})


SETPOINTS = [
    setpoint("pressure", undo=True),
    setpoint("level", unit=None, device_unit=None, low=None, high=None, tolerance=None),
    setpoint("status", VALVE, datatype="text", unit=None, device_unit=None),
]


class City:
    """A log, a projection over a store on disk, and a live model of one value each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seq, self.now = folder, 0, START
        self.values: dict[tuple[str, str], Any] = {(SENSOR, "pressure"): 300.0}
        self.told: list[Notice] = []
        self.ids = itertools.count(1)
        self.open()

    def open(self) -> None:
        self.store = SqliteRecords(self.folder / "commands.db", COLLECTIONS)
        table = {(one.entity, one.attribute): one for one in SETPOINTS}
        self.reader = CommandReader(self.store, table)
        self.projection = CommandProjection(self.store, table, lambda *key: self.values.get(key))

    def record(self, subject: str, payload: bytes) -> Record:
        self.seq += 1
        return Record(self.seq, subject, payload, self.now)

    def take(self, *records: Record) -> list[Notice]:
        notices = list(self.projection.apply(records, from_us(self.now)))
        self.told += notices
        return notices

    def wait(self, seconds: float) -> list[Notice]:
        self.now += int(seconds * SECOND)
        notices = list(self.projection.tick(from_us(self.now)))
        self.told += notices
        return notices

    def asking(self, value: Any, **changes: Any) -> Record:
        body = {"entity": SENSOR, "attribute": "pressure", "value": value, "reason": "drill", "user": "kim"}
        body |= {"id": f"c{next(self.ids)}", "kind": "command.request", "at": self.now, **changes}
        return self.record("ops", orjson.dumps(body))

    def ask(self, value: Any, **changes: Any) -> dict[str, Any]:
        """The reply."""
        found = [one for one in self.take(self.asking(value, **changes)) if one.subject.startswith("reply.")]
        return dict(orjson.loads(found[0].payload))

    def outcome(self, id: str, **changes: Any) -> Record:
        body = {"id": f"{id}-x", "kind": "command.outcome", "user": "haechi", "command": id, "at": self.now, **changes}
        return self.record("ops", orjson.dumps(body))

    def confirm(self, id: str = "c1") -> None:
        self.take(self.outcome(id, ok=True, confirmed=True, detail="acknowledged"))

    def seen(self, value: Any, attribute: str = "pressure", entity: str = SENSOR, late_s: float = 0.0) -> Record:
        text = None if isinstance(value, float) else orjson.dumps(value).decode()
        observed_at = self.now - int(late_s * SECOND)
        number = value if isinstance(value, float) else None
        row = Observation(entity, attribute, observed_at, self.now, number, text, "KPA", link="plant")
        return self.record("obs", encode(Frame(observations=to_batch([row]))))

    def command(self, id: str = "c1") -> Mapping[str, Any]:
        return self.reader.command(id)

    def states(self, id: str = "c1") -> list[str]:
        return [str(one["state"]) for one in self.command(id)["steps"]]

    def sent(self) -> list[dict[str, Any]]:
        return [orjson.loads(one.payload) for one in self.told if one.subject == "command.plant"]


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


def test_a_refusal_of_the_device_fails_at_once_with_its_words_and_undoes_nothing(city: City) -> None:
    city.ask(250.0)
    city.take(city.outcome("c1", ok=False, detail="illegal value"))
    shown = city.command()
    assert (shown["state"], shown["open"], shown["steps"][-1]["why"]) == ("failed", False, "illegal value")
    city.wait(60)
    assert len(city.sent()) == 1


def test_what_is_not_verified_in_time_fails_and_the_value_before_is_written_back(city: City) -> None:
    city.ask(250.0)
    city.confirm()
    city.now += SECOND
    city.take(city.seen(280.0))
    city.wait(28)
    assert city.command()["state"] == "confirmed"
    city.wait(1)
    assert (city.command()["state"], city.command()["open"]) == ("failed", True)
    assert "last value 280.0" in city.command()["steps"][-1]["why"]
    assert city.sent()[-1] | {"expires_at": 0} == {
        "id": "c1-undo", "device": "PLC-1", "channel": "", "field": "p", "value": 3.0, "expires_at": 0
    }  # fmt: skip
    city.take(city.outcome("c1", ok=True, detail="late"))
    assert city.command()["open"], "an answer to the first writing is none to the second"
    city.take(city.outcome("c1-undo", ok=True, confirmed=True, detail="acknowledged"))
    assert (city.command()["state"], city.command()["open"]) == ("undone", False)
    assert city.states() == ["requested", "sent", "confirmed", "failed", "undone"]


@pytest.mark.parametrize("answer", [{"ok": False, "detail": "away"}, None])
def test_an_undoing_nobody_confirms_stays_failed_and_says_so(city: City, answer: dict[str, Any] | None) -> None:
    city.ask(250.0)
    city.take(city.outcome("c1", ok=False, unsure=True, detail="no answer"))
    assert city.command()["state"] == "sent", "nobody knows"
    city.wait(30)
    if answer:
        city.take(city.outcome("c1-undo", **answer))
    city.wait(30)
    shown = city.command()
    assert (shown["state"], shown["open"]) == ("failed", False)
    assert "written back" in shown["steps"][-1]["why"]


def test_without_undo_or_without_a_value_before_a_late_setpoint_just_fails(city: City) -> None:
    city.ask(2.0, attribute="level")
    city.confirm()
    city.wait(30)
    assert (city.command()["state"], city.command()["open"]) == ("failed", False)
    city.values.clear()
    city.ask(250.0)
    city.confirm("c2")
    city.wait(30)
    assert (city.command("c2")["state"], city.command("c2")["open"]) == ("failed", False)
    assert len(city.sent()) == 2


def test_a_notice_nobody_answered_is_told_again_until_its_time_is_over(city: City) -> None:
    city.ask(2.0, attribute="level")
    for _ in range(29):
        city.wait(1)
    assert {one["id"] for one in city.sent()} == {"c1"}
    assert len(city.sent()) == 1 + 29 // 3
    city.wait(1)
    assert "nobody answered" in city.command()["steps"][-1]["why"]
    count = len(city.sent())
    city.wait(60)
    assert (len(city.sent()), city.command()["state"]) == (count, "failed")


def test_an_answer_that_was_lost_is_made_up_for_by_the_value_that_changed(city: City) -> None:
    city.ask(250.0)
    city.wait(5)
    city.take(city.seen(250.2))
    assert city.command()["state"] == "requested", "nobody said yet that the device was told"
    city.wait(25)
    assert (city.command()["state"], len(city.told) > 0) == ("verified", True)
    assert "answer was lost" in city.command()["steps"][-1]["why"]


@pytest.mark.parametrize("seen", [300.0, None])
def test_a_device_nobody_answered_for_is_brought_back_to_the_value_before(city: City, seen: float | None) -> None:
    city.ask(250.0)
    city.wait(5)
    if seen:
        city.take(city.seen(seen))
    city.wait(25)
    assert city.sent()[-1]["id"] == "c1-undo" and city.command()["open"]
    city.take(city.outcome("c1-undo", ok=True, confirmed=True, detail="acknowledged"))
    assert city.command()["state"] == "undone"


def test_a_value_that_was_there_all_along_makes_up_for_no_lost_answer(city: City) -> None:
    city.ask(300.2)
    city.wait(5)
    city.take(city.seen(300.0))
    city.wait(25)
    assert city.command()["state"] == "failed"


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
