"""What operators do to alarms: acknowledge, shelve both ways, out of service, and what is refused."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from watch_city import City, at, observed, rules

from haechi.core.times import format_iso, from_us
from haechi.services.watch import TABS, alarm_detail, counts, list_alarms

HIGH = """
@high
[rule.levels.caution]
when = { above = 5.0 }
"""


@pytest.fixture
def city(tmp_path: Path) -> City:
    one = City(tmp_path, rules(tmp_path, HIGH))
    one.feel((0, 9.0))
    return one


def id_of(city: City) -> str:
    return str(city.alarm()["id"])


def test_acknowledging_says_who_and_when_and_never_clears_the_condition(city: City) -> None:
    reply = city.order("alarm.acknowledge", 5, "kim", alarms=[id_of(city)], note="seen")
    assert reply["ok"] is True
    (shown,) = reply["result"]["alarms"]
    assert (shown["state"], shown["acknowledged_by"], shown["condition_active"]) == ("acknowledged", "kim", True)
    assert shown["acknowledged_at"] == format_iso(at(5))
    city.feel((10, 1.0))
    assert city.alarm()["state"] == "normal"


def test_an_alarm_that_returned_stays_until_it_is_acknowledged(city: City) -> None:
    city.feel((10, 1.0))
    assert city.alarm()["state"] == "returned_unacknowledged"
    city.order("alarm.acknowledge", 20, alarms=[id_of(city)])
    assert city.alarm()["state"] == "normal"


def test_raising_again_before_acknowledgement_counts_in_the_same_alarm(city: City) -> None:
    city.feel((10, 1.0), (20, 9.0), (30, 1.0), (40, 9.0))
    assert (city.alarm()["count"], city.alarm()["state"]) == (3, "unacknowledged")


def test_raising_again_after_the_end_is_a_new_alarm(city: City) -> None:
    city.order("alarm.acknowledge", 5, alarms=[id_of(city)])
    city.feel((10, 1.0), (20, 9.0))
    assert [(one["state"], one["count"]) for one in city.alarms()] == [("normal", 1), ("unacknowledged", 1)]


def test_the_second_of_two_who_acknowledge_at_once_learns_who_was_first(city: City) -> None:
    commands = [
        {"id": user, "kind": "alarm.acknowledge", "user": user, "at": at(5), "alarms": [id_of(city)]}
        for user in ("kim", "wang")
    ]
    records = [city.record("ops", orjson.dumps(one), 5) for one in commands]
    notices = city.watch.apply(records, from_us(at(5)))
    replies = {one.subject: orjson.loads(one.payload) for one in notices if one.subject.startswith("reply.")}
    assert replies["reply.kim"]["ok"] is True
    assert (replies["reply.wang"]["ok"], replies["reply.wang"]["error"]) == (False, "Conflict")
    assert "kim" in replies["reply.wang"]["detail"]
    assert city.alarm()["acknowledged_by"] == "kim"


def test_of_several_alarms_those_still_open_are_acknowledged(city: City) -> None:
    city.hear(observed(1, 9.0, entity="urn:ngsi-ld:Sensor:t:2"))
    first, second = (one["id"] for one in city.alarms())
    city.order("alarm.acknowledge", 5, alarms=[first])
    reply = city.order("alarm.acknowledge", 6, "wang", alarms=[first, second])
    assert list(reply["result"]["refused"]) == [first]
    assert [one["acknowledged_by"] for one in city.alarms()] == ["kim", "wang"]


def test_an_unknown_alarm_refuses_the_whole_command(city: City) -> None:
    reply = city.order("alarm.acknowledge", 5, alarms=[id_of(city), "nope"])
    assert (reply["ok"], reply["error"]) == (False, "NotFound")
    assert city.alarm()["state"] == "unacknowledged"


def test_a_shelf_ends_by_itself_and_the_alarm_asks_again(city: City) -> None:
    city.order("alarm.acknowledge", 1, alarms=[id_of(city)])
    shown = city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=900, reason="known")["result"]
    assert (shown["state"], shown["shelved_until"], shown["shelve_reason"]) == ("shelved", format_iso(at(905)), "known")
    city.tick(904)
    assert city.alarm()["state"] == "shelved"
    city.tick(906)
    assert (city.alarm()["state"], city.alarm()["shelved_until"]) == ("unacknowledged", None)
    assert city.moves()[-1] == (905, "shelf_ended", "unacknowledged", "caution")


def test_unshelving_by_hand_acknowledges(city: City) -> None:
    city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=900, reason="known")
    city.order("alarm.unshelve", 10, "lee", alarm=id_of(city))
    assert (city.alarm()["state"], city.alarm()["acknowledged_by"]) == ("acknowledged", "lee")
    city.tick(1000)
    assert city.alarm()["state"] == "acknowledged"


def test_unshelving_when_the_time_was_over_is_refused_whatever_the_clock_did(city: City) -> None:
    city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=10, reason="known")
    reply = city.order("alarm.unshelve", 16, alarm=id_of(city))
    assert (reply["ok"], reply["error"]) == (False, "Conflict")
    assert city.alarm()["state"] == "unacknowledged"


def test_what_happens_on_the_shelf_is_recorded_and_asks_nobody(city: City) -> None:
    city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=900, reason="known")
    city.feel((10, 1.0), (20, 9.0), (30, 1.0))
    assert (city.alarm()["state"], city.alarm()["count"]) == ("shelved", 2)
    city.tick(906)
    assert city.alarm()["state"] == "normal"


def test_a_shelf_survives_a_restart(city: City) -> None:
    city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=900, reason="known")
    city.restart()
    city.tick(905)
    city.tick(911)
    assert city.alarm()["state"] == "unacknowledged"


@pytest.mark.parametrize("fields", [{"duration_s": 0, "reason": "x"}, {"duration_s": 10**9, "reason": "x"}])
def test_shelving_is_always_timed(city: City, fields: dict[str, Any]) -> None:
    assert city.order("alarm.shelve", 5, alarm=id_of(city), **fields)["error"] == "InvalidData"


def test_shelving_needs_a_reason(city: City) -> None:
    assert city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=60, reason=" ")["error"] == "InvalidData"


def test_out_of_service_lasts_until_it_is_returned(city: City) -> None:
    city.order("alarm.out_of_service", 5, alarm=id_of(city), reason="pipe works")
    city.feel((10, 1.0), (20, 9.0))
    city.tick(10_000)
    assert city.alarm()["state"] == "out_of_service"
    assert city.order("alarm.acknowledge", 10_001, alarms=[id_of(city)])["error"] == "Conflict"
    city.order("alarm.return_to_service", 10_002, alarm=id_of(city))
    assert city.alarm()["state"] == "unacknowledged"


@pytest.mark.parametrize("kind", ["alarm.unshelve", "alarm.return_to_service"])
def test_undoing_what_was_not_done_is_a_conflict(city: City, kind: str) -> None:
    assert city.order(kind, 5, alarm=id_of(city))["error"] == "Conflict"


def test_an_ended_alarm_cannot_be_shelved(city: City) -> None:
    city.order("alarm.acknowledge", 1, alarms=[id_of(city)])
    city.feel((10, 1.0))
    assert city.order("alarm.shelve", 20, alarm=id_of(city), duration_s=60, reason="x")["error"] == "Conflict"


def test_an_unknown_command_and_a_torn_one_change_nothing(city: City) -> None:
    assert city.order("alarm.dance", 5, alarm=id_of(city))["error"] == "InvalidData"
    assert city.watch.apply([city.record("ops", b"{torn", 6)], from_us(at(6))) == []
    assert city.alarm()["state"] == "unacknowledged"


def test_an_alarm_suppressed_by_design_is_not_annunciated(tmp_path: Path) -> None:
    text = HIGH.replace("@high", '@high\nsuppress = { attribute = "state", equals = "maintenance" }')
    city = City(tmp_path, rules(tmp_path, text))
    city.hear(observed(0, "maintenance", "state"), observed(1, 9.0))
    assert (city.alarm()["state"], counts(city.store)["rate_10min"]) == ("suppressed", 0)
    city.hear(observed(2, "on", "state"))
    assert city.alarm()["state"] == "unacknowledged"
    city.hear(observed(3, "maintenance", "state"), observed(4, 1.0))
    assert city.alarm()["state"] == "normal"


def test_each_tab_lists_its_states(city: City) -> None:
    assert [len(list_alarms(city.store, tab)) for tab in TABS] == [1, 0, 0, 0, 0]
    city.order("alarm.shelve", 5, alarm=id_of(city), duration_s=900, reason="known")
    assert [len(list_alarms(city.store, tab)) for tab in TABS] == [0, 1, 0, 0, 0]


def test_the_detail_tells_every_transition_with_its_evidence(city: City) -> None:
    city.order("alarm.acknowledge", 5, "kim", alarms=[id_of(city)], note="seen")
    raised, acknowledged = alarm_detail(city.store, id_of(city))["transitions"]
    assert (raised["from"], raised["to"], raised["who"]) == ("normal", "unacknowledged", "watch")
    assert raised["why"] == "pressure > 5"
    assert raised["evidence"]["values"]["pressure"]["value"] == 9.0
    assert (acknowledged["who"], acknowledged["why"], acknowledged["at"]) == ("kim", "seen", format_iso(at(5)))


def test_the_alarm_has_the_shape_of_the_console_api(city: City) -> None:
    (shown,) = list_alarms(city.store)
    asked = "id rule domain level state condition_active acknowledged entity entity_name place location text attribute"
    asked += " value unit limit count raised_at changed_at cleared_at acknowledged_by acknowledged_at shelved_until"
    asked += " shelve_reason owner incident playbook peak_level group"
    assert set(shown) == set(asked.split())
    assert shown["raised_at"] == format_iso(at(0))
    assert shown["location"] == [126.7, 37.6]


def test_more_than_ten_new_alarms_in_ten_minutes_are_a_flood_until_fewer_than_five(tmp_path: Path) -> None:
    city = City(tmp_path, rules(tmp_path, HIGH))
    for number in range(10):
        city.hear(observed(number, 9.0, entity=f"urn:ngsi-ld:Sensor:t:{number}"))
    assert (counts(city.store)["rate_10min"], counts(city.store)["flood"]) == (10, False)
    city.hear(observed(300, 9.0, entity="urn:ngsi-ld:Sensor:t:10"))
    assert (counts(city.store)["caution"], counts(city.store)["flood"]) == (11, True)
    city.hear(*(observed(590 + one, 9.0, entity=f"urn:ngsi-ld:Sensor:t:{20 + one}") for one in range(4)))
    city.tick(620)
    assert (counts(city.store)["rate_10min"], counts(city.store)["flood"]) == (5, True)
    city.tick(920)
    assert (counts(city.store)["rate_10min"], counts(city.store)["flood"]) == (4, False)
    assert any(one.subject == "live.counts" for one in city.notices)


def test_every_change_is_told_on_the_bus_after_it_is_durable(city: City) -> None:
    told = [orjson.loads(one.payload) for one in city.notices if one.subject == "live.alarm"]
    assert [one["state"] for one in told] == ["unacknowledged"]


def test_explain_says_why_a_rule_does_not_raise(city: City) -> None:
    city.feel((10, 1.0))
    found = city.watch.explain("high", city.alarm()["entity"])
    assert found["levels"][0] == {
        "level": "caution", "when": "pressure > 5", "holds": False, "clear": None, "raised": False,
        "running_since": None, "due_at": None,
    }  # fmt: skip
    assert found["values"]["pressure"]["value"] == 1.0
