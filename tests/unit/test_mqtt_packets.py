"""MQTT packets: what is written is read back, bytes may come in any pieces, and garbage raises InvalidData only."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData
from haechi.core.mqtt import packets as mqtt

NO_LIMIT = 1 << 30
words = st.text("abc/é水0 ", max_size=12)
numbers = st.integers(1, 65_535)
PUBLISHED: dict[int, st.SearchStrategy[Any]] = {
    0x01: st.integers(0, 1),
    mqtt.MESSAGE_EXPIRY: st.integers(0, 0xFFFFFFFF),
    0x03: words,
    0x08: words,
    0x09: st.binary(max_size=20),
    mqtt.USER: st.lists(st.tuples(words, words), min_size=1, max_size=3),
}
CONNECTED: dict[int, st.SearchStrategy[Any]] = {
    mqtt.SESSION_EXPIRY: st.integers(0, 0xFFFFFFFF),
    mqtt.RECEIVE_MAXIMUM: numbers,
    mqtt.PACKET_MAXIMUM: st.integers(1, 0xFFFFFFFF),
    mqtt.ALIAS_MAXIMUM: st.integers(0, 65_535),
    mqtt.PROBLEM_WANTED: st.integers(0, 1),
    mqtt.USER: st.lists(st.tuples(words, words), min_size=1, max_size=3),
}


def some(table: dict[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[int, Any]]:
    return st.fixed_dictionaries({}, optional=table)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def body_of(packet: bytes) -> tuple[int, int, int]:
    head = mqtt.frame(packet, 0, NO_LIMIT)
    assert head is not None and head[2] == len(packet)
    return head


# --- one after the other: what is written is read back ---


@given(words, st.binary(max_size=300), st.integers(0, 5), numbers, some(PUBLISHED), st.booleans())
def test_a_publish_is_read_as_it_was_written(
    topic: str, payload: bytes, flags: int, number: int, about: dict[int, Any], v5: bool
) -> None:
    packet = mqtt.deliver(topic, payload, flags, number, about if v5 else None)
    first, start, end = body_of(packet)
    raw, found, at, properties = mqtt.publish(first, packet, start, end, v5)
    assert (mqtt.text(raw), found, packet[at:end]) == (topic, number if flags & 6 else 0, payload)
    assert properties == (about if v5 else {})
    assert mqtt.forwarded(properties) == properties


@given(
    numbers, st.sampled_from([mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP]), st.sampled_from([0, 0x87]), words
)
def test_an_acknowledgement_is_read_as_it_was_written(number: int, kind: int, code: int, why: str) -> None:
    packet = mqtt.acknowledge(kind, number, code, why)
    first, start, end = body_of(packet)
    assert first == kind | (2 if kind == mqtt.PUBREL else 0)
    assert mqtt.ack(packet, start, end, True) == (number, code)
    if not code:
        assert len(packet) == 4, "the form 3.1.1 knows"


@given(st.sampled_from([0, 4, 0x8B]), words)
def test_a_disconnect_is_read_as_it_was_written(code: int, why: str) -> None:
    packet = mqtt.farewell(code, why)
    _, start, end = body_of(packet)
    assert mqtt.disconnect(packet, start, end, True) == (code, {mqtt.REASON: why} if why else {})


@given(st.booleans(), some({**CONNECTED, mqtt.ASSIGNED_CLIENT: words}))
def test_the_properties_of_a_connack_are_read_as_they_were_written(present: bool, about: dict[int, Any]) -> None:
    packet = mqtt.connack(True, present, 0, about)
    _, start, end = body_of(packet)
    cursor = mqtt.Cursor(packet, start, end)
    assert (cursor.number(1), cursor.number(1)) == (present, 0)
    assert cursor.properties(mqtt.CONNACK) == about
    cursor.done()


@given(
    st.sampled_from([4, 5]),
    words,
    st.tuples(st.booleans(), st.integers(0, 65_535)),
    st.none() | st.tuples(words, st.binary(max_size=20)),
    st.none() | st.tuples(words, st.binary(max_size=20), st.integers(0, 2), st.booleans()),
    some(CONNECTED),
)
def test_a_connect_is_read_as_a_client_writes_it(
    version: int, client: str, how: tuple[bool, int], who: Any, will: Any, about: dict[int, Any]
) -> None:
    clean, alive = how
    flags = clean << 1 | (0xC0 if who else 0) | (4 | will[2] << 3 | will[3] << 5 if will else 0)
    body = text("MQTT") + struct.pack(">BBH", version, flags, alive) + (mqtt.written(about) if version == 5 else b"")
    body += text(client)
    if will:
        body += (b"\x05\x18\0\0\0\x07" if version == 5 else b"") + text(will[0]) + text(will[1])
    if who:
        body += text(who[0]) + text(who[1])
    found = mqtt.connect(body, 0, len(body))
    assert (found.version, found.client, found.clean, found.keep_alive_s) == (version, client, clean, alive)
    assert (found.user, found.password) == (who or (None, None))
    assert found.properties == (about if version == 5 else {})
    if will:
        later = {mqtt.WILL_DELAY: 7} if version == 5 else {}
        assert found.will == mqtt.Will(*will, later)
    else:
        assert found.will is None


@given(
    numbers,
    st.lists(st.tuples(st.sampled_from(["a", "+/b", "#", "水/+/c", "/"]), st.integers(0, 2)), min_size=1, max_size=4),
)
def test_a_subscribe_is_read_as_a_client_writes_it(number: int, wanted: list[tuple[str, int]]) -> None:
    for v5 in (False, True):
        head = struct.pack(">H", number) + (b"\0" if v5 else b"")
        body = head + b"".join(text(one) + bytes((options,)) for one, options in wanted)
        assert mqtt.filters(mqtt.SUBSCRIBE, body, 0, len(body), v5) == (number, wanted)
        body = head + b"".join(text(one) for one, _ in wanted)
        assert mqtt.filters(mqtt.UNSUBSCRIBE, body, 0, len(body), v5) == (number, [(one, 0) for one, _ in wanted])


# --- bytes in any pieces ---


@given(
    st.lists(st.binary(max_size=400), min_size=1, max_size=8), st.lists(st.integers(1, 200), min_size=1, max_size=30)
)
def test_packets_are_found_however_their_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(mqtt.deliver("a/b", one, 2, 7, None) for one in payloads)
    found, waiting, at, turn = [], b"", 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        waiting, at, turn = waiting + stream[at : at + size], at + size, turn + 1
        pos = 0
        while (head := mqtt.frame(waiting, pos, NO_LIMIT)) and head[2] <= len(waiting):
            first, start, pos = head
            _, _, body, _ = mqtt.publish(first, waiting, start, pos, False)
            found.append(waiting[body:pos])
        waiting = waiting[pos:]
    assert (found, waiting) == (payloads, b"")


@pytest.mark.parametrize("length", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_the_remaining_length_is_read_in_one_to_four_bytes(length: int) -> None:
    size = bytearray()
    rest = length
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    size.append(rest)
    data = b"\x30" + bytes(size)
    assert mqtt.frame(data, 0, NO_LIMIT) == (0x30, len(data), len(data) + length)
    for short in range(len(data)):
        assert mqtt.frame(data[:short], 0, NO_LIMIT) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\x30\xff\xff\xff\xff", "malformed_packet"), (b"\x30\x80\x80\x80\x80\x01", "malformed_packet")],
)
def test_a_remaining_length_of_more_than_four_bytes_is_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidData) as caught:
        mqtt.frame(data, 0, NO_LIMIT)
    assert caught.value.reason == reason


def test_a_packet_above_the_limit_is_refused_before_it_arrives() -> None:
    with pytest.raises(InvalidData, match="packet_bytes_max") as caught:
        mqtt.frame(b"\x30\xff\xff\x7f", 0, 1_000)
    assert caught.value.reason == "oversize"


# --- garbage ---


def read_any(first: int, data: bytes, start: int, end: int, v5: bool) -> None:
    kind = first & 0xF0
    if kind == mqtt.PUBLISH:
        raw, _, body, _ = mqtt.publish(first, data, start, end, v5)
        assert start + 2 <= body <= end
        mqtt.text(raw)
    elif kind == mqtt.CONNECT:
        mqtt.connect(data, start, end)
    elif kind in (mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE):
        mqtt.filters(kind, data, start, end, v5)
    elif kind == mqtt.DISCONNECT:
        mqtt.disconnect(data, start, end, v5)
    else:
        mqtt.ack(data, start, end, v5)


@given(st.binary(max_size=120), st.integers(0, 255), st.booleans())
def test_no_bytes_raise_anything_but_invalid_data(body: bytes, first: int, v5: bool) -> None:
    data = b"\xaa" + body + b"\xbb\xbb"
    try:
        read_any(first, data, 1, 1 + len(body), v5)
    except InvalidData as error:
        assert error.reason in mqtt.CODES


VALID = [
    mqtt.deliver("city/P-017/a", b"21.5", 2, 7, {0x03: "text", mqtt.USER: [("a", "b")]}),
    mqtt.packet(
        mqtt.CONNECT,
        text("MQTT"),
        b"\x05\xce\0\x3c",
        b"\x05\x11\0\0\0\x3c",
        text("c"),
        b"\0",
        text("w"),
        text("x"),
        text("u"),
        text("p"),
    ),
    mqtt.packet(mqtt.SUBSCRIBE | 2, b"\0\x01\0", text("a/+"), b"\x01"),
    mqtt.acknowledge(mqtt.PUBREL, 9, 0x92, "why"),
    mqtt.farewell(0, "bye"),
]


@given(st.sampled_from(VALID), st.data())
def test_damaged_packets_raise_nothing_but_invalid_data(packet: bytes, draw: Any) -> None:
    damaged = bytearray(packet)
    for _ in range(draw.draw(st.integers(0, 3))):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    try:
        head = mqtt.frame(bytes(damaged), 0, NO_LIMIT)
        if head and head[2] <= len(damaged):
            read_any(head[0], bytes(damaged), head[1], head[2], True)
    except InvalidData as error:
        assert error.reason in mqtt.CODES


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_packet_cut_short_is_malformed(cut: int) -> None:
    for packet in VALID:
        first, start, end = body_of(packet)
        if end - cut < start or first & 0xF0 in (mqtt.PUBLISH, mqtt.DISCONNECT, mqtt.PUBREL):
            continue  # their last fields may be absent
        with pytest.raises(InvalidData):
            read_any(first, packet, start, end - cut, True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (text("MQTT") + b"\x03\x02\0\0" + text("c"), "unsupported_version"),
        (text("MQIsdp") + b"\x03\x02\0\0" + text("c"), "unsupported_version"),
        (text("MQTT") + b"\x04\x03\0\0" + text("c"), "malformed_packet"),  # reserved flag
        (text("MQTT") + b"\x04\x1e\0\0" + text("c") + text("w") + text(""), "malformed_packet"),  # will QoS 3
        (text("MQTT") + b"\x04\x22\0\0" + text("c"), "malformed_packet"),  # will retain without will
        (text("MQTT") + b"\x04\x42\0\0" + text("c") + text("p"), "malformed_packet"),  # password without user in 3.1.1
        (text("MQTT") + b"\x04\x02\0\0" + text("c") + b"x", "malformed_packet"),
        (text("MQTT") + b"\x04\x02\0\0" + text("a\0b"), "malformed_packet"),
        (text("MQTT") + b"\x04\x02\0\0" + text(b"\xed\xa0\x80"), "malformed_packet"),  # a surrogate
        (text("MQTT") + b"\x05\x02\0\0\x05\x11\0\0\0" + text("c"), "malformed_packet"),
        (text("MQTT") + b"\x05\x02\0\0\x03\x21\0\0" + text("c"), "protocol_error"),  # receive maximum 0
        (text("MQTT") + b"\x05\x02\0\0\x04\x17\0\x17\0" + text("c"), "protocol_error"),  # twice
        (text("MQTT") + b"\x05\x02\0\0\x02\x17\x02" + text("c"), "protocol_error"),  # neither 0 nor 1
        (text("MQTT") + b"\x05\x02\0\0\x03\x23\0\x01" + text("c"), "protocol_error"),  # not in CONNECT
        (text("MQTT") + b"\x05\x02\0\0\x02\x7f\0" + text("c"), "malformed_packet"),  # no such property
    ],
)
def test_a_wrong_connect_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidData) as caught:
        mqtt.connect(body, 0, len(body))
    assert caught.value.reason == reason


def test_a_topic_alias_stands_for_the_topic_it_was_given_with() -> None:
    aliases = mqtt.Aliases(2)
    assert (aliases.topic(b"a", 1), aliases.topic(b"b", 2), aliases.topic(b"", 1)) == (b"a", b"b", b"a")
    assert (aliases.topic(b"c", 1), aliases.topic(b"", 1)) == (b"c", b"c")
    for raw, alias in [(b"d", 3), (b"d", 0), (b"", 3)]:
        with pytest.raises(InvalidData, match="alias"):
            aliases.topic(raw, alias)
