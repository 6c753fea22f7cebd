"""MQTT topics, filters, bus subjects, subscriptions and session state, without a socket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidSettings
from haechi.core.mqtt import packets as mqtt
from haechi.core.mqtt.session import Item, Session, delivery
from haechi.core.mqtt.topics import (
    Subscriptions,
    Template,
    covers,
    is_filter,
    matching,
    permitted,
    to_subject,
    to_topic,
)
from haechi.plugins.adapters.mqtt.settings import read, tls

TOPIC = "city/{device}/{channel...}"
levels = st.text("ab $.*>%é水\t", max_size=4)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
patterns = st.lists(st.sampled_from(["a", "b", "", "+", "$a"]), min_size=1, max_size=4).flatmap(
    lambda some: st.sampled_from(["/".join(some), "/".join([*some, "#"])])
)
plain = st.lists(st.sampled_from(["a", "b", "", "$a"]), min_size=1, max_size=5).map("/".join).filter(bool)


@given(topics)
def test_every_topic_has_a_subject_that_nats_takes_and_comes_back_from_it(topic: str) -> None:
    subject = to_subject(topic)
    assert subject.startswith("mqtt.")
    assert all(token and not set(token) & set(" .*>\t\r\n\0") for token in subject.split("."))
    assert to_topic(subject) == topic


def test_the_subject_of_an_ordinary_topic_is_its_levels() -> None:
    assert to_subject("city/P-017/water/압력") == "mqtt.city.P-017.water.압력"
    assert to_subject("/a b/%41") == "mqtt.%.a%20b.%2541"


@pytest.mark.parametrize(
    ("wanted", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ],
)
def test_filters_match_as_the_standard_says(wanted: str, topic: str, matches: bool) -> None:
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("me", wanted, 1)
    assert bool(subscriptions.matches(topic)) is matches
    assert matching(wanted, [topic]) == ([topic] if matches else [])
    subscriptions.remove("me", wanted)
    assert subscriptions.matches(topic) == ()


@given(st.dictionaries(patterns, st.integers(0, 2), max_size=6), plain)
def test_subscriptions_find_exactly_the_filters_that_match(wanted: dict[str, int], topic: str) -> None:
    subscriptions: Subscriptions[str] = Subscriptions()
    for one, qos in wanted.items():
        subscriptions.add("me", one, qos)
        subscriptions.add(one, one, qos)
    fits = {
        one: qos
        for one, qos in wanted.items()
        if covers(one.split("/"), topic.split("/")) and not (topic[0] == "$" and one[0] in "+#")
    }
    expected = {**fits, "me": max(fits.values())} if fits else {}
    assert dict(subscriptions.matches(topic)) == expected


@given(patterns, patterns, plain)
def test_a_filter_that_covers_another_matches_all_its_topics(wide: str, narrow: str, topic: str) -> None:
    if covers(wide.split("/"), narrow.split("/")) and covers(narrow.split("/"), topic.split("/")):
        assert covers(wide.split("/"), topic.split("/"))


@pytest.mark.parametrize("wanted", ["#", "+", "a/+/b", "a/#", "/", "$share/g/a", "a//b"])
def test_these_are_filters(wanted: str) -> None:
    assert is_filter(wanted)


@pytest.mark.parametrize("wanted", ["", "a#", "#/a", "a/#/b", "a+", "a/+b", "a/b#"])
def test_these_are_none(wanted: str) -> None:
    assert not is_filter(wanted)


def test_a_device_may_subscribe_to_what_its_own_filters_cover() -> None:
    allowed = ["city/{device}/commands/#", "news/+"]
    assert all(
        permitted(one, allowed, "P")
        for one in ["city/P/commands/#", "city/P/commands/+/x", "city/P/commands", "news/+"]
    )
    assert not any(
        permitted(one, allowed, "P") for one in ["#", "city/+/commands/#", "city/Q/commands/x", "news/#", "news"]
    )


@pytest.mark.parametrize(
    ("template", "topic", "channel"),
    [
        (TOPIC, "city/P/a", "a"),
        (TOPIC, "city/P/a/b/c", "a/b/c"),
        (TOPIC, "city/P/", ""),
        (TOPIC, "city/P", None),
        (TOPIC, "city/Q/a", None),
        (TOPIC, "town/P/a", None),
        (TOPIC, "city/P/$status", None),
        ("{channel}/up/{device}", "pressure/up/P", "pressure"),
        ("{channel}/up/{device}", "$x/up/P", None),
        ("v1/{device}/telemetry", "v1/P/telemetry", ""),
        ("v1/{device}/telemetry", "v1/P/telemetry/x", None),
        ("v1/{device}/{channel}", "v1/P/a/b", None),
    ],
)
def test_the_link_says_which_topics_are_a_devices_own(template: str, topic: str, channel: str | None) -> None:
    assert Template(template).channel("P", topic) == channel


@pytest.mark.parametrize(
    ("given_settings", "named"),
    [
        ({}, "topic"),
        ({"topic": "city/all"}, "topic"),
        ({"topic": "city/{device}/#"}, "topic"),
        ({"topic": "{device}/{channel...}/x"}, "topic"),
        ({"topic": "{device}/{channel}/{channel}"}, "topic"),
        ({"topic": 3}, "topic"),
        ({"topic": TOPIC, "port": 70_000}, "port"),
        ({"topic": TOPIC, "port": True}, "port"),
        ({"topic": TOPIC, "port": "1883"}, "port"),
        ({"topic": TOPIC, "gather_ms": -1}, "gather_ms"),
        ({"topic": TOPIC, "gather_max": 1.5}, "gather_max"),
        ({"topic": TOPIC, "subscribe": "city/#"}, "subscribe"),
        ({"topic": TOPIC, "subscribe": ["city/#/x"]}, "subscribe"),
        ({"topic": TOPIC, "presence": 1}, "presence"),
        ({"topic": TOPIC, "tls_cert": "a.pem"}, "tls_key"),
        ({"topic": TOPIC, "hots": "x"}, "hots"),
    ],
)
def test_a_wrong_setting_is_named(given_settings: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        read(given_settings)


def test_a_certificate_that_is_none_is_named() -> None:
    settings = read({"topic": TOPIC, "tls_cert": "/nowhere/cert.pem", "tls_key": "/nowhere/key.pem"})
    with pytest.raises(InvalidSettings, match="tls_cert"):
        tls(settings)
    assert tls(read({"topic": TOPIC})) is None


# --- the state of a session ---


class Wire:
    def __init__(self, window: int = 3) -> None:
        self.window, self.sent, self.takes = window, list[tuple[int, bytes, bool]](), True

    def send(self, item: Item, number: int, again: bool) -> bool:
        if self.takes:
            self.sent.append((number, item.payload, again))
        return self.takes


def session(expiry_s: int = 60, queue_max: int = 5) -> Session:
    made = Session(("P", "c"), queue_max)
    made.expiry_s = expiry_s
    return made


def item(n: int, qos: int = 1) -> Item:
    return Item("t", b"%d" % n, qos)


def test_messages_wait_for_the_window_and_keep_their_order() -> None:
    one, wire = session(), Wire(2)
    one.resume(wire)
    assert [one.offer(item(n)) for n in range(4)] == [True] * 4
    assert [payload for _, payload, _ in wire.sent] == [b"0", b"1"]
    del one.inflight[1]
    one.pump()
    assert [payload for _, payload, _ in wire.sent] == [b"0", b"1", b"2"]


def test_what_was_not_acknowledged_is_sent_again_with_its_number_before_what_waited() -> None:
    one = session()
    one.resume(Wire(3))
    for n in range(5):
        one.offer(item(n))
    one.outlet = None
    smaller = Wire(2)
    one.resume(smaller)
    assert smaller.sent == [(1, b"0", True), (2, b"1", True)]
    one.inflight.clear()
    one.pump()
    assert [payload for _, payload, _ in smaller.sent] == [b"0", b"1", b"2", b"3"]


def test_a_full_queue_drops_the_newest_and_says_so() -> None:
    one = session(queue_max=2)
    assert [one.offer(item(n)) for n in range(3)] == [True, True, False]


def test_nobody_keeps_messages_for_a_session_that_ends_with_its_connection() -> None:
    assert not session(expiry_s=0).offer(item(1))
    assert not session().offer(item(1, 0)), "QoS 0 waits for nobody"


def test_packet_ids_in_use_are_not_given_twice() -> None:
    one, wire = session(queue_max=70_000), Wire(3)
    one.resume(wire)
    one.offer(item(0))
    for n in range(70_000):
        one.offer(item(n))
        one.inflight = {1: one.inflight[1]}
    assert 1 not in [number for number, _, _ in wire.sent[1:]]
    assert all(left != right for (left, _, _), (right, _, _) in pairwise(wire.sent))


def test_a_qos_2_id_is_remembered_from_pubrec_to_pubcomp() -> None:
    one = session()
    one.busy.add(5)
    assert one.settle(mqtt.PUBREC, 5, 0) == 0
    assert (one.busy, one.received) == (set(), {5})
    assert one.settle(mqtt.PUBCOMP, 5, 0) == 0
    assert one.settle(mqtt.PUBCOMP, 5, 0) == 0x92
    assert one.settle(mqtt.PUBREC, 6, 0x83) == 0x83
    assert one.received == set()


def test_an_expired_message_is_not_delivered_and_the_rest_of_its_time_is_told() -> None:
    late = Item("t", b"x", 1, False, {}, until=5_000_000)
    assert delivery(late, 1, False, True, 5_000_000) == b""
    packet = delivery(late, 1, False, True, 2_000_000)
    head = mqtt.frame(packet, 0, 1000)
    assert head is not None
    assert mqtt.publish(head[0], packet, head[1], head[2], True)[3] == {mqtt.MESSAGE_EXPIRY: 3}
