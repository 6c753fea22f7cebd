"""Incidents from opening to evaluation, over a real watch and real stores; what is refused changes nothing."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from test_incidents_playbooks import write
from watch_city import City, at, clock, observed, rules

from haechi.core.errors import InvalidData, NotFound
from haechi.core.times import format_iso, from_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Notice, Record
from haechi.services.incidents import (
    COLLECTIONS,
    Closing,
    IncidentProjection,
    incident_detail,
    linked,
    list_incidents,
    load_playbooks,
)  # fmt: skip
from haechi.services.watch import list_alarms

RULES = """
@high
playbook = "burst"
[rule.levels.caution]
when = { above = 5.0 }
[rule.levels.serious]
when = { above = 50.0 }
"""


class Room:
    """A control room: three alarms, and people who work on them."""

    def __init__(self, folder: Path, closing: Closing | None = None) -> None:
        self.folder, self.closing = folder, closing
        self.city = City(folder, rules(folder / "rules", RULES))
        self.city.hear(*(observed(one, 9.0 if one else 99.0, entity=f"urn:ngsi-ld:Sensor:t:{one}") for one in range(3)))
        self.ids = [one["id"] for one in self.city.alarms()]
        self.playbooks = load_playbooks([write(folder)])
        self.told: list[Notice] = []
        self.open()

    def open(self) -> None:
        self.store = SqliteRecords(self.folder / "incidents.db", COLLECTIONS)
        self.desk = IncidentProjection(self.store, self.city.store, self.playbooks, self.closing)

    def record(self, kind: str, seconds: float, user: str = "kim", **fields: Any) -> Record:
        command = {"id": f"c{self.city.seq + 1}", "kind": f"incident.{kind}", "user": user, "at": at(seconds), **fields}
        return self.city.record("ops", orjson.dumps(command), seconds)

    def order(self, kind: str, seconds: float, user: str = "kim", **fields: Any) -> dict[str, Any]:
        record = self.record(kind, seconds, user, **fields)
        notices = [*self.city.watch.apply([record], clock(seconds)), *self.desk.apply([record], clock(seconds))]
        self.told += notices
        (reply,) = [orjson.loads(one.payload) for one in notices if one.subject == f"reply.c{record.seq}"]
        return reply

    def begin(self, **fields: Any) -> str:
        return str(self.order("open", 10, alarms=self.ids[:1], **fields)["result"]["id"])

    def detail(self, id: str) -> dict[str, Any]:
        return incident_detail(self.store, self.city.store, self.playbooks, id)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_an_alarm_becomes_an_incident_with_its_playbook(room: Room) -> None:
    shown = room.order("open", 10, alarms=room.ids[:2])["result"]
    assert (shown["number"], shown["state"], shown["phase"], shown["level"]) == (1, "open", "assess", "serious")
    assert (shown["domain"], shown["playbook"], shown["alarms"]) == ("water", "burst", room.ids[:2])
    assert (shown["opened_by"], shown["opened_at"]) == ("kim", format_iso(at(10)))
    assert [one["id"] for one in shown["steps"]] == ["compare", "cctv", "isolate"]
    assert shown["title"]["en"].startswith("Sensor 99")
    assert shown["location"] == [126.7, 37.6]


def test_an_alarm_shows_its_incident_and_who_works_on_it(room: Room) -> None:
    id = room.begin()
    room.order("assign", 11, incident=id, assignee="wang")
    shown = {
        one["id"]: (one["incident"], one["owner"]) for one in list_alarms(room.city.store, linked=linked(room.store))
    }
    assert shown == {room.ids[0]: (id, "wang"), room.ids[1]: (None, None), room.ids[2]: (None, None)}
    last = [orjson.loads(one.payload) for one in room.told if one.subject == "live.alarm"][-1]
    assert (last["incident"], last["owner"]) == (id, "wang")


def test_the_way_to_a_closed_incident_is_told_whole(room: Room) -> None:
    id = room.begin(title="누수")
    room.order("assign", 11, incident=id, assignee="wang")
    room.order("attach", 12, incident=id, alarms=room.ids[:2])
    for number, phase in enumerate(("warn", "dispatch", "handle", "verify")):
        assert room.order("advance", 13 + number, "wang", incident=id, phase=phase)["ok"]
    for number, step in enumerate(("compare", "isolate")):
        assert room.order("step", 20 + number, "wang", incident=id, step=step, done=True)["ok"]
    room.order("note", 25, incident=id, text="valve 12 is stiff")
    assert room.order("close", 30, incident=id, cause="pipe burst")["ok"]
    assert room.order("advance", 40, incident=id, phase="evaluate")["ok"]
    found = room.detail(id)
    assert (found["state"], found["phase"], found["cause"]) == ("closed", "evaluate", "pipe burst")
    assert (found["closed_by"], found["closed_at"]) == ("kim", format_iso(at(30)))
    assert [one["done_by"] for one in found["steps"]] == ["wang", None, "wang"]
    assert [one["kind"] for one in found["timeline"]] == [
        "opened", "assigned", "attached", "advanced", "advanced", "advanced", "advanced", "step_done", "step_done",
        "note", "closed", "advanced",
    ]  # fmt: skip
    assert found["timeline"][9]["text"] == "valve 12 is stiff"
    assert [one["id"] for one in found["alarms"]] == room.ids[:2]
    assert found["playbook"]["steps"][1]["mandatory"] is False
    assert found["title"]["zh"] == "누수"


def test_closing_needs_a_cause_and_every_mandatory_step_or_a_note(room: Room) -> None:
    id = room.begin()
    assert room.order("close", 20, incident=id, cause=" ")["error"] == "InvalidData"
    refused = room.order("close", 21, incident=id, cause="burst")
    assert refused["error"] == "Conflict"
    assert "compare, isolate" in refused["detail"]
    assert room.detail(id)["state"] == "open"
    assert room.order("close", 22, incident=id, cause="burst", note="false alarm, nothing to shut")["ok"]


def test_a_city_may_not_ask_for_the_steps(tmp_path: Path) -> None:
    room = Room(tmp_path, Closing(steps=False))
    assert room.order("close", 20, incident=room.begin(), cause="burst")["ok"]


def test_a_city_may_ask_for_another_verifier_than_the_assignee(tmp_path: Path) -> None:
    room = Room(tmp_path, Closing(separate_verifier=True))
    id = room.begin()
    room.order("assign", 11, incident=id, assignee="wang")
    assert room.order("close", 12, "wang", incident=id, cause="burst", note="n")["error"] == "Conflict"
    assert room.order("close", 13, "kim", incident=id, cause="burst", note="n")["ok"]


def test_two_who_open_at_once_get_one_incident(room: Room) -> None:
    records = [room.record("open", 10, user, alarms=room.ids[:1]) for user in ("kim", "wang")]
    replies = [
        orjson.loads(one.payload) for one in room.desk.apply(records, clock(10)) if one.subject.startswith("reply")
    ]
    assert [one["ok"] for one in replies] == [True, False]
    assert (replies[1]["error"], "kim" in replies[1]["detail"]) == ("Conflict", True)
    assert len(list_incidents(room.store)) == 1


def test_an_alarm_of_a_closed_incident_may_come_into_another(room: Room) -> None:
    first = room.begin()
    room.order("close", 20, incident=first, cause="burst", note="n")
    again = room.order("open", 30, alarms=room.ids[:1])["result"]
    assert (again["id"], again["number"]) == ("inc-2", 2)
    assert linked(room.store)(room.ids[0])["incident"] == "inc-2"


def test_an_incident_without_an_alarm_needs_a_title(room: Room) -> None:
    assert room.order("open", 10, alarms=[])["error"] == "InvalidData"
    assert (
        room.order("open", 11, alarms=[], title="a citizen called", playbook="burst")["result"]["playbook"] == "burst"
    )


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        ("open", {"alarms": ["nope"]}, "NotFound"),
        ("open", {"alarms": "x"}, "InvalidData"),
        ("open", {"title": "t", "playbook": "nope"}, "NotFound"),
        ("attach", {"incident": "nope", "alarms": ["x"]}, "NotFound"),
        ("attach", {"incident": "inc-1", "alarms": []}, "InvalidData"),
        ("assign", {"incident": "inc-1", "assignee": ""}, "InvalidData"),
        ("step", {"incident": "inc-1", "step": "nope", "done": True}, "NotFound"),
        ("step", {"incident": "inc-1", "step": "compare", "done": False}, "Conflict"),
        ("step", {"incident": "inc-1", "step": "compare", "done": "yes"}, "InvalidData"),
        ("note", {"incident": "inc-1", "text": ""}, "InvalidData"),
        ("advance", {"incident": "inc-1", "phase": "sleep"}, "InvalidData"),
        ("advance", {"incident": "inc-1", "phase": "assess"}, "Conflict"),
        ("advance", {"incident": "inc-1", "phase": "close"}, "Conflict"),
        ("merge", {"incident": "inc-1"}, "InvalidData"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    room: Room, kind: str, fields: dict[str, Any], error: str
) -> None:
    room.begin()
    before = room.detail("inc-1")
    reply = room.order(kind, 20, **fields)
    assert (reply["ok"], reply["error"]) == (False, error)
    assert room.detail("inc-1") == before
    assert len(list_incidents(room.store)) == 1


def test_a_closed_incident_takes_notes_and_nothing_else(room: Room) -> None:
    id = room.begin()
    room.order("close", 20, incident=id, cause="burst", note="n")
    assert room.order("note", 21, incident=id, text="lesson")["ok"]
    for kind, fields in (
        ("close", {"cause": "x"}),
        ("assign", {"assignee": "x"}),
        ("attach", {"alarms": room.ids[1:]}),
        ("step", {"step": "compare", "done": True}),
        ("advance", {"phase": "handle"}),
    ):
        assert room.order(kind, 22, incident=id, **fields)["error"] == "Conflict"


def test_a_step_may_be_unticked_and_both_are_told(room: Room) -> None:
    id = room.begin()
    room.order("step", 11, incident=id, step="compare", done=True)
    room.order("step", 12, incident=id, step="compare", done=False, note="wrong sensor")
    found = room.detail(id)
    assert (found["steps"][0]["done"], found["steps"][0]["done_by"]) == (False, None)
    assert [one["kind"] for one in found["timeline"]] == ["opened", "step_done", "step_undone"]


def test_a_kill_repeats_no_number_and_no_step(room: Room) -> None:
    id = room.begin()
    record = room.record("step", 11, incident=id, step="compare", done=True)
    room.desk.apply([record], from_us(at(11)))
    room.open()
    assert room.desk.position() == record.seq
    assert room.desk.apply([record], from_us(at(12))) == []
    assert room.order("open", 13, alarms=room.ids[1:2])["result"]["number"] == 2
    assert len(room.detail(id)["timeline"]) == 2


def test_lists_hold_their_states_newest_first(room: Room) -> None:
    room.begin()
    room.order("open", 11, alarms=room.ids[1:2])
    room.order("close", 12, incident="inc-1", cause="c", note="n")
    assert [one["id"] for one in list_incidents(room.store, "all")] == ["inc-2", "inc-1"]
    assert [one["id"] for one in list_incidents(room.store, "closed")] == ["inc-1"]
    with pytest.raises(InvalidData):
        list_incidents(room.store, "lost")
    with pytest.raises(NotFound):
        room.detail("inc-9")


def test_the_incident_has_the_shape_of_the_console_api(room: Room) -> None:
    room.begin()
    (shown,) = list_incidents(room.store)
    asked = "id number title state phase domain level assignee alarms location place opened_at opened_by closed_at"
    asked += " closed_by cause playbook steps timeline"
    assert set(shown) == set(asked.split())
    told = [orjson.loads(one.payload) for one in room.told if one.subject == "live.incident"]
    assert told == [shown]
