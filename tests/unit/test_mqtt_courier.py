"""Commands on their way to MQTT devices: one connection, once, in time; what the device answers is matched to it."""

from typing import Any

import orjson
import pytest

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.core.mqtt.commands import NOT_FOUND, UNREADABLE, CommandSettings, Courier
from haechi.core.mqtt.session import Item, Session
from haechi.core.times import SECOND

SUBSCRIBE = ("city/{device}/commands/#",)
TOPIC = "city/{device}/commands/{field}"


class Connection:
    """What a session sees of its client."""

    def __init__(self, window: int = 32) -> None:
        self.window, self.sent, self.takes = window, list[tuple[Item, int]](), True

    def send(self, item: Item, number: int, again: bool) -> bool:
        if self.takes:
            self.sent.append((item, number))
        return self.takes


class Link:
    """A courier, the door's memory and a device RTU-1 that may listen."""

    def __init__(self, **settings: Any) -> None:
        self.now, self.full = 1_000 * SECOND, False
        self.subscribed: list[tuple[Session, int]] = []
        self.kept: dict[str, tuple[str, int]] = {}
        self.told: list[dict[str, Any]] = []
        self.settings = CommandSettings(**{"topic": TOPIC, **settings})
        self.restart()

    def restart(self) -> None:
        self.courier = Courier(self.settings, self, self.told.append, lambda: self.now)

    def listeners(self, topic: str) -> list[tuple[Session, int]]:
        self.topic = topic
        return self.subscribed

    def note(self, id: str, device: str, at: int) -> None:
        if self.full:
            raise Unavailable("mqtt.db cannot be written")
        self.kept[id] = (device, at)

    def noted(self, id: str) -> tuple[str, int] | None:
        return self.kept.get(id)

    def connect(self, device: str = "RTU-1", qos: int = 1, **about: Any) -> tuple[Session, Connection]:
        session, outlet = Session((device, "client"), 100), Connection(**about)
        session.outlet = outlet
        self.subscribed.append((session, qos))
        return session, outlet

    def hear(self, id: str = "c1", **changes: Any) -> None:
        body = {"id": id, "device": "RTU-1", "channel": "P-1", "field": "target", "value": 2.5}
        self.courier.hear(orjson.dumps({**body, "expires_at": self.now + 30 * SECOND, **changes}))

    def last(self, *keys: str) -> list[Any]:
        return [self.told[-1].get(key) for key in keys]


@pytest.fixture
def link() -> Link:
    return Link()


def test_a_command_goes_out_once_and_the_devices_packet_acknowledgement_is_its_delivery(link: Link) -> None:
    session, outlet = link.connect()
    link.hear()
    ((item, number),) = outlet.sent
    assert (item.topic, item.qos, item.until) == ("city/RTU-1/commands/target", 1, link.now + 30 * SECOND)
    assert orjson.loads(item.payload) == {"id": "c1", "field": "target", "channel": "P-1", "value": 2.5}
    assert link.last("ok", "delivered", "detail") == [True, None, "published on city/RTU-1/commands/target"]
    link.now += SECOND
    session.acknowledged(number, 0)
    assert link.last("ok", "delivered", "at", "answered_at") == [True, True, link.now - SECOND, link.now]
    link.hear()
    assert (len(outlet.sent), len(link.told)) == (1, 3), "told again it is answered again, not sent again"
    assert link.told[2] == link.told[1]


def test_a_device_that_is_away_is_waited_for_and_then_nothing_is_ever_sent(link: Link) -> None:
    link.hear()
    assert link.last("waiting", "detail") == [True, "RTU-1 does not listen on city/RTU-1/commands/target"]
    session, outlet = link.connect()
    session.leave(link.now)
    link.courier.look()
    link.courier.look()
    assert link.last("waiting", "detail") == [True, "RTU-1 is not connected"] and len(link.told) == 2
    link.now += 29 * SECOND
    link.courier.look()
    assert link.last("ok", "waiting", "detail") == [False, None, "nothing was sent: RTU-1 is not connected"]
    session.outlet = outlet
    link.now += SECOND
    link.courier.look()
    link.hear(expires_at=link.now)
    assert outlet.sent == [], "not even when it comes back the moment after"


def test_a_device_that_comes_back_in_time_gets_it(link: Link) -> None:
    link.hear()
    _, outlet = link.connect()
    link.now += 28 * SECOND
    link.courier.look()
    assert len(outlet.sent) == 1 and link.last("ok") == [True]


def test_only_one_connection_of_the_device_itself_is_told_the_one_that_acknowledges(link: Link) -> None:
    _, foreign = link.connect("RTU-2")
    _, weak = link.connect(qos=0)
    _, strong = link.connect(qos=1)
    link.hear()
    assert (len(foreign.sent), len(weak.sent), len(strong.sent)) == (0, 0, 1)


def test_a_connection_that_breaks_before_the_acknowledgement_leaves_it_open_and_it_is_not_sent_again(
    link: Link,
) -> None:
    session, outlet = link.connect()
    link.hear()
    session.leave(link.now)
    assert link.last("ok", "unsure") == [False, True]
    session.resume(outlet)
    link.hear()
    assert len(outlet.sent) == 1
    assert (session.inflight, list(session.queue)) == ({}, []), "no session keeps it"


def test_a_restart_between_the_note_and_the_answer_sends_nothing_twice(link: Link) -> None:
    _, outlet = link.connect()
    link.hear()
    link.restart()
    link.hear()
    assert len(outlet.sent) == 1
    assert link.last("unsure", "at") == [True, link.kept["c1"][1]]


def test_a_disk_that_cannot_keep_the_note_stops_the_command(link: Link) -> None:
    _, outlet = link.connect()
    link.full = True
    link.hear()
    assert outlet.sent == [] and link.last("waiting", "detail") == [True, "mqtt.db cannot be written"]
    link.full = False
    link.courier.look()
    assert len(outlet.sent) == 1


def test_a_device_that_refuses_the_message_has_refused_the_command(link: Link) -> None:
    session, outlet = link.connect()
    link.hear()
    session.acknowledged(outlet.sent[0][1], 0x83)
    assert link.last("ok", "unsure") == [False, None] and "0x83" in link.told[-1]["detail"]


def test_a_full_window_is_waited_for(link: Link) -> None:
    session, outlet = link.connect(window=1)
    link.hear("c1")
    link.hear("c2", field="other")
    assert len(outlet.sent) == 1 and link.last("waiting") == [True]
    session.acknowledged(outlet.sent[0][1], 0)
    link.courier.look()
    assert len(outlet.sent) == 2


def test_queued_messages_and_commands_share_packet_ids_and_the_window(link: Link) -> None:
    session, outlet = link.connect(window=2)
    link.hear()
    for number in range(3):
        session.offer(Item(f"news/{number}", b"x"))
    assert [item.topic for item, _ in outlet.sent] == ["city/RTU-1/commands/target", "news/0"]
    assert len({number for _, number in outlet.sent}) == 2
    session.acknowledged(outlet.sent[0][1], 0)
    assert outlet.sent[-1][0].topic == "news/1"


@pytest.fixture
def answering() -> Link:
    return Link(answer_topic="city/{device}/answers", answer_good=("done", 1), answer_ok="result.state", answer_why="e")


def answer(link: Link, body: Any, device: str = "RTU-1", correlation: bytes | None = None) -> int:
    return link.courier.answer(device, body if isinstance(body, bytes) else orjson.dumps(body), correlation)


def test_the_devices_answer_confirms(answering: Link) -> None:
    session, outlet = answering.connect()
    answering.hear()
    assert outlet.sent[0][0].properties == {0x08: "city/RTU-1/answers", 0x09: b"c1"}, "MQTT 5 request and response"
    assert answering.courier.is_answer("RTU-1", "city/RTU-1/answers")
    assert not answering.courier.is_answer("RTU-1", "city/RTU-2/answers")
    assert answer(answering, {"id": "c1", "result": {"state": "done"}}) == 0
    assert answering.last("ok", "confirmed") == [True, True]
    session.acknowledged(outlet.sent[0][1], 0)
    assert answering.last("confirmed") == [True], "a late packet acknowledgement takes nothing back"


def test_an_answer_may_name_its_command_by_correlation(answering: Link) -> None:
    answering.connect()
    answering.hear()
    assert answer(answering, {"result": {"state": 1}}, correlation=b"c1") == 0
    assert answering.last("confirmed") == [True]


def test_an_answer_that_is_no_gives_the_devices_reason(answering: Link) -> None:
    answering.connect()
    answering.hear()
    assert answer(answering, {"id": "c1", "result": {"state": True}, "e": "valve jammed"}) == 0
    assert answering.last("ok", "detail") == [False, "the device answered: valve jammed"]


@pytest.mark.parametrize(
    ("body", "device", "code"),
    [
        (b"\xff", "RTU-1", UNREADABLE),
        (b"[1]", "RTU-1", UNREADABLE),
        ({"id": "other", "result": {"state": "done"}}, "RTU-1", NOT_FOUND),
        ({"id": "c1", "result": {"state": "done"}}, "RTU-2", NOT_FOUND),
        (b"", "RTU-1", NOT_FOUND),
    ],
)
def test_a_strange_answer_confirms_nothing_and_is_counted(answering: Link, body: Any, device: str, code: int) -> None:
    answering.connect()
    answering.hear()
    told = len(answering.told)
    assert answer(answering, body, device) == code
    assert (len(answering.told), answering.courier.counts["strange_answers"]) == (told, 1)


@pytest.mark.parametrize(
    ("payload", "value", "sent"),
    [
        ("{value}", 2.5, b"2.5"),
        ("{value}", "OPEN", b"OPEN"),
        ("{value}", True, b"true"),
        ("{field}={value}", 1, b'"target"=1'),
        ('{"set": {"v": {value}, "c": {channel}}}', 'a"b', b'{"set": {"v": "a\\"b", "c": "P-1"}}'),
    ],
)
def test_the_payload_is_what_the_link_says(payload: str, value: Any, sent: bytes) -> None:
    link = Link(payload=payload)
    _, outlet = link.connect()
    link.hear(value=value)
    assert outlet.sent[0][0].payload == sent


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"topic": "all"}, "has no level {device}"),
        ({"topic": "other/{device}"}, "devices may not hear 'other/{device}'; add"),
        ({"topic": "city/{device}/commands/{name}"}, "{name} stands for nothing"),
        ({"topic": "city/{device}/commands/+"}, "devices may not hear"),
        ({"payload": '{"v": {wert}}'}, "{wert} stands for nothing"),
        ({"payload": "go"}, "has no {value}"),
        ({"answer_topic": "answers"}, "needs one level {device}"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings) as found:
        CommandSettings(**{"topic": TOPIC, **settings}).check(SUBSCRIBE)
    assert said in str(found.value)
