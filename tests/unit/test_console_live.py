"""The live hub: newest value of each series, each change once to each client, whatever the pace of the client."""

from typing import Any

import orjson
import pytest

from haechi.core.errors import Unavailable
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND
from haechi.faces.console.live import EVENTS_KEPT, Client, LiveHub

AT = 1_795_338_000_000_000
WATER, AIR = "urn:ngsi-ld:WaterMeter:gimpo:1", "urn:ngsi-ld:AirQualityObserved:gimpo:1"


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub(lambda one: "water" if "Water" in one else "air", lambda: AT)


def seen(entity: str, value: float | None, at: int = AT, **more: Any) -> Observation:
    return Observation(entity, "flow", at, at, value, **more)


def feed(hub: LiveHub, *observations: Observation) -> None:
    hub.feed(to_batch(list(observations)))


def taken(hub: LiveHub, client: Client, kind: str = "latest") -> list[dict[str, Any]]:
    messages = [orjson.loads(text) for text in hub.messages(client)]
    return [one for one in messages if one["type"] == kind]


def values(hub: LiveHub, client: Client) -> dict[str, float]:
    return {
        entity: value
        for message in taken(hub, client)
        for entity, value in zip(message["entity"], message["value"], strict=True)
    }


def test_a_client_is_greeted_with_the_time_and_the_position(hub: LiveHub) -> None:
    hub.feed(to_batch([seen(WATER, 1.0)]), seq=41)
    assert orjson.loads(hub.join()[1]) == {"type": "hello", "now": "2026-11-22T09:00:00Z", "seq": 41}


def test_only_the_newest_value_of_a_window_goes_out_and_only_once(hub: LiveHub) -> None:
    client, _ = hub.join()
    feed(hub, seen(WATER, 1.0), seen(WATER, 2.0, AT + SECOND))
    feed(hub, seen(WATER, 3.0, AT + 2 * SECOND))
    assert values(hub, client) == {}  # the window is open
    hub.beat()
    message = taken(hub, client)[0]
    assert message["value"] == [3.0] and message["observed_at"] == ["2026-11-22T09:00:02.000Z"]
    hub.beat()
    assert values(hub, client) == {}


def test_values_move_only_forward_in_time_within_a_batch_and_between_batches(hub: LiveHub) -> None:
    client, _ = hub.join()
    feed(hub, seen(WATER, 9.0, AT + SECOND), seen(WATER, 1.0, AT))
    feed(hub, seen(WATER, 2.0, AT + SECOND - 1))
    hub.beat()
    assert values(hub, client) == {WATER: 9.0}


def test_texts_and_missing_numbers_are_left_to_the_entity_itself(hub: LiveHub) -> None:
    client, _ = hub.join()
    feed(hub, seen(WATER, None, text='"open"'), seen(AIR, float("nan")))
    hub.beat()
    assert values(hub, client) == {}


def test_units_and_quality_travel_with_the_value(hub: LiveHub) -> None:
    client, _ = hub.join()
    feed(hub, seen(WATER, 1.0, unit="MQH", quality=5), seen(AIR, 2.0))
    hub.beat()
    message = taken(hub, client)[0]
    rows = dict(zip(message["entity"], zip(message["unit"], message["quality"], strict=True), strict=True))
    assert rows == {WATER: ("MQH", 5), AIR: (None, 0)}


def test_a_client_that_reads_late_gets_each_series_once_with_its_newest_value(hub: LiveHub) -> None:
    slow, _ = hub.join()
    for beat in range(50):
        feed(hub, seen(WATER, float(beat), AT + beat), *([seen(AIR, 7.0)] if beat == 0 else []))
        hub.beat()
    messages = taken(hub, slow)
    assert len(messages) == 1
    assert dict(zip(messages[0]["entity"], messages[0]["value"], strict=True)) == {WATER: 49.0, AIR: 7.0}


def test_a_change_during_an_open_window_is_never_lost_to_a_client_that_reads_in_the_middle(hub: LiveHub) -> None:
    client, _ = hub.join()
    last = None
    for beat in range(20):
        feed(hub, seen(WATER, float(beat), AT + beat))
        hub.beat()
        feed(hub, seen(WATER, beat + 0.5, AT + beat))
        last = values(hub, client).get(WATER, last)
        assert last in {float(beat), beat + 0.5}
    hub.beat()
    assert values(hub, client)[WATER] == 19.5


def test_watching_a_domain_narrows_the_values_but_not_the_alarms(hub: LiveHub) -> None:
    client, _ = hub.join()
    client.watch(frozenset({"air"}))
    feed(hub, seen(WATER, 1.0), seen(AIR, 2.0))
    hub.tell("alarm", "a1", {"id": "a1"})
    hub.beat()
    messages = [orjson.loads(text) for text in hub.messages(client)]
    assert [one["type"] for one in messages][:2] == ["alarm", "latest"]
    assert messages[1]["entity"] == [AIR]


def test_watching_entities_brings_their_values_alone_and_each_at_once_when_it_is_new(hub: LiveHub) -> None:
    client, other = hub.join()[0], hub.join()[0]
    client.watch(None, frozenset())
    feed(hub, seen(WATER, 1.0), seen(AIR, 2.0))
    hub.beat()
    assert (values(hub, client), values(hub, other)) == ({}, {WATER: 1.0, AIR: 2.0})
    client.watch(None, frozenset({WATER, "urn:ngsi-ld:Nobody:t:1"}))
    hub.beat()
    assert values(hub, client) == {WATER: 1.0}
    feed(hub, seen(AIR, 3.0, AT + 1))
    hub.beat()
    assert (values(hub, client), values(hub, other)) == ({}, {AIR: 3.0})
    client.watch(frozenset({"air"}), frozenset({WATER, AIR}))
    hub.beat()
    assert values(hub, client) == {AIR: 3.0}


def test_widening_the_watch_brings_what_was_missed_meanwhile(hub: LiveHub) -> None:
    client, _ = hub.join()
    client.watch(frozenset({"air"}))
    feed(hub, seen(WATER, 1.0), seen(AIR, 2.0))
    hub.beat()
    assert values(hub, client) == {AIR: 2.0}
    client.watch(frozenset({"air", "water"}))
    hub.beat()
    assert values(hub, client) == {WATER: 1.0, AIR: 2.0}
    client.watch(frozenset({"air"}))
    hub.beat()
    assert values(hub, client) == {}


def test_alarms_are_conflated_to_their_newest_state_in_the_order_of_change(hub: LiveHub) -> None:
    client, _ = hub.join()
    hub.tell("alarm", "a1", {"id": "a1", "state": "unacknowledged"})
    hub.tell("alarm", "a2", {"id": "a2", "state": "unacknowledged"})
    hub.tell("alarm", "a1", {"id": "a1", "state": "acknowledged"})
    told = [one["alarm"] for one in taken(hub, client, "alarm")]
    assert told == [{"id": "a2", "state": "unacknowledged"}, {"id": "a1", "state": "acknowledged"}]
    assert taken(hub, client, "alarm") == []


def test_an_alarm_wakes_the_clients_at_once(hub: LiveHub) -> None:
    client, _ = hub.join()
    assert not client.wake.is_set()
    hub.tell("alarm", "a1", {"id": "a1"})
    assert client.wake.is_set()


def test_a_newcomer_gets_no_old_alarms(hub: LiveHub) -> None:
    hub.tell("alarm", "a1", {"id": "a1"})
    client, _ = hub.join()
    assert taken(hub, client, "alarm") == []


def test_a_client_too_far_behind_is_told_to_fetch_again(hub: LiveHub) -> None:
    behind, _ = hub.join()
    for number in range(EVENTS_KEPT + 1):
        hub.tell("alarm", f"a{number}", {"id": number})
    with pytest.raises(Unavailable, match="connect again"):
        list(hub.messages(behind))
    fresh, _ = hub.join()
    assert list(hub.messages(fresh)) == []


def test_a_tick_comes_each_second_and_missed_ones_come_once(hub: LiveHub) -> None:
    client, _ = hub.join()
    ticks = []
    for _ in range(4):
        hub.beat()
        ticks.append(len(taken(hub, client, "tick")))
    assert sum(ticks) == 2
    for _ in range(10):
        hub.beat()
    assert taken(hub, client, "tick") == [{"type": "tick", "now": "2026-11-22T09:00:00Z"}]


def test_more_series_than_the_first_columns_hold_are_all_kept(hub: LiveHub) -> None:
    client, _ = hub.join()
    for start in range(0, 5000, 500):
        feed(hub, *(seen(f"urn:ngsi-ld:WaterMeter:gimpo:{n}", float(n)) for n in range(start, start + 500)))
    hub.beat()
    found = values(hub, client)
    assert len(found) == 5000 and found["urn:ngsi-ld:WaterMeter:gimpo:4321"] == 4321.0


def test_clients_that_keep_up_share_one_encoded_message(hub: LiveHub) -> None:
    clients = [hub.join()[0] for _ in range(3)]
    feed(hub, seen(WATER, 1.0))
    hub.beat()
    texts = [next(hub.messages(client)) for client in clients]
    assert texts[0] is texts[1] is texts[2]
