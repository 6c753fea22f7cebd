"""MQTT 3.1.1 and 5.0 control packets: bytes ⇄ values. Adapters that speak MQTT call it; clauses are those of MQTT 5.0.

Every function that reads raises `InvalidData` and nothing else; its reason is a key of `CODES`.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from haechi.core.errors import InvalidData
from haechi.core.mqtt.topics import is_filter

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(0x80, 0x100, 0x10)
WILL = 0  # no packet: the properties inside CONNECT that go with the will
PINGRESP_BYTES = b"\xd0\x00"
CODES = {  # why a connection is ended -> reason code (2.4)
    "malformed_packet": 0x81,
    "protocol_error": 0x82,
    "unsupported_version": 0x84,
    "foreign_topic": 0x87,
    "bad_topic": 0x90,
    "receive_maximum": 0x93,
    "topic_alias": 0x94,
    "oversize": 0x95,
}
NO_SUBSCRIPTION, UNSPECIFIED, BAD_CLIENT, BAD_CREDENTIALS, NOT_AUTHORIZED = 0x11, 0x83, 0x85, 0x86, 0x87
BUSY, SHUTTING_DOWN, BAD_METHOD, IDLE, TAKEN_OVER, UNKNOWN_ID = 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x92
QUOTA = 0x97
REVOKED, NO_SHARED = 0x98, 0x9E
NO_LOCAL, AS_PUBLISHED, ONLY_NEW, NEVER = 0x04, 0x08, 0x10, 0x20  # subscription options (3.8.3.1)
REPLIES = (0, PUBACK, PUBREC)  # what answers a PUBLISH, by its QoS
FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}  # of the first byte, 0 in all others (2.1.3)

SESSION_EXPIRY, ASSIGNED_CLIENT, AUTH_METHOD, PROBLEM_WANTED, WILL_DELAY = 0x11, 0x12, 0x15, 0x17, 0x18
REASON, RECEIVE_MAXIMUM, ALIAS_MAXIMUM, ALIAS, USER, PACKET_MAXIMUM = 0x1F, 0x21, 0x22, 0x23, 0x26, 0x27
SUBSCRIPTION_IDS, SHARED = 0x29, 0x2A
MESSAGE_EXPIRY = 0x02
FORWARDED = frozenset(
    (0x01, MESSAGE_EXPIRY, 0x03, 0x08, 0x09, USER)
)  # what a subscriber gets of a PUBLISH's properties (3.3.2.3)
# Property (2.2.2.2) -> how it is written: Byte, sHort, Int, Varint, Text, Data, Pair of texts.
FORMS = dict(
    zip(
        bytes.fromhex("01020308090b111213151617181 91a1c1f21222324252627 28292a".replace(" ", "")),
        "BITTDVITHTDBIBTTTHHHBBPIBBB",
        strict=True,
    )
)
ALLOWED: dict[int, frozenset[int]] = {
    CONNECT: frozenset(
        (SESSION_EXPIRY, AUTH_METHOD, 0x16, PROBLEM_WANTED, 0x19, RECEIVE_MAXIMUM, ALIAS_MAXIMUM, USER, PACKET_MAXIMUM)
    ),
    WILL: FORWARDED | {WILL_DELAY},
    PUBLISH: FORWARDED | {ALIAS},
    PUBACK: frozenset((REASON, USER)),
    SUBSCRIBE: frozenset((USER,)),  # 0x0B is announced as not available (3.2.2.3.12)
    DISCONNECT: frozenset((SESSION_EXPIRY, REASON, USER)),
    CONNACK: frozenset(FORMS),
}
Properties = Mapping[int, Any]
NONE: Properties = {}


def malformed(what: str) -> InvalidData:
    """The error for bytes that are no MQTT."""
    return InvalidData(f"not MQTT: {what}", "malformed_packet")


class Will(msgspec.Struct, frozen=True):
    """What CONNECT asks to be published when the client drops."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties


class Connect(msgspec.Struct, frozen=True):
    """The first packet of a client (3.1). `version` is 4 for 3.1.1."""

    version: int
    client: str
    clean: bool
    keep_alive_s: int
    user: str | None
    password: bytes | None
    will: Will | None
    properties: Properties


class Cursor:
    """Walks through a packet body; never past its end."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int, end: int) -> None:
        self.data, self.pos, self.end = data, pos, end

    def take(self, size: int) -> bytes:
        pos = self.pos
        self.pos = pos + size
        if self.pos > self.end:
            raise malformed("a field reaches over the end of its packet")
        return self.data[pos : self.pos]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise malformed("a variable byte integer is longer than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        return text(self.binary())

    def properties(self, kind: int) -> Properties:
        length = self.varint()
        if not length:
            return NONE
        end, whole = self.pos + length, self.end
        if end > whole:
            raise malformed("properties reach over the end of their packet")
        found: dict[int, Any] = {}
        self.end = end
        while self.pos < end:
            self._property(kind, found)
        self.end = whole
        return found

    def _property(self, kind: int, found: dict[int, Any]) -> None:
        name = self.varint()
        form = FORMS.get(name)
        if form is None:
            raise malformed(f"there is no property 0x{name:02x}")
        if name not in ALLOWED[kind] or (name in found and name != USER):
            raise InvalidData(f"property 0x{name:02x} is misplaced or repeated", "protocol_error")
        value: Any
        if form == "P":
            found.setdefault(name, []).append((self.text(), self.text()))
            return
        if form in "BHI":
            value = self.number({"B": 1, "H": 2, "I": 4}[form])
            if (form == "B" and value > 1) or (value == 0 and name in (RECEIVE_MAXIMUM, PACKET_MAXIMUM)):
                raise InvalidData(f"property 0x{name:02x} cannot be {value}", "protocol_error")
        else:
            value = self.varint() if form == "V" else self.text() if form == "T" else self.binary()
        found[name] = value

    def done(self) -> None:
        if self.pos != self.end:
            raise malformed("bytes follow the end of the packet's fields")


def text(raw: bytes) -> str:
    """UTF-8 without U+0000 (1.5.4)."""
    try:
        found = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed("a text is not UTF-8") from error
    if "\0" in found:
        raise malformed("a text holds U+0000")
    return found


def frame(data: bytes, pos: int, limit: int) -> tuple[int, int, int] | None:
    """(first byte, start and end of body) of the packet at `pos`; the end may not have arrived. None: too few bytes."""
    size = len(data)
    if size - pos < 2:
        return None
    length, start, shift = data[pos + 1], pos + 2, 0
    while length >> shift > 127:
        shift += 7
        if shift > 21:
            raise malformed("the remaining length is longer than four bytes")
        if start >= size:
            return None
        length = (length & (1 << shift) - 1) | data[start] << shift
        start += 1
    if start - pos + length > limit:
        raise InvalidData(f"a packet of {length} bytes; this link takes {limit} (packet_bytes_max)", "oversize")
    return data[pos], start, start + length


def kind_of(first: int) -> int:
    """The packet type; the flags beside it must be as the standard says (not asked for PUBLISH)."""
    if first & 15 != FLAGS.get(first & 0xF0, 0):
        raise malformed(f"flags of packet 0x{first:02x}")
    return first & 0xF0


def publish(first: int, data: bytes, start: int, end: int, v5: bool) -> tuple[bytes, int, int, Properties]:
    """(topic, packet id, start of payload, properties) of a PUBLISH (3.3); packet id 0 with QoS 0. Hot path."""
    stop = start + 2
    if stop > end:
        raise malformed("PUBLISH without a topic")
    topic_at, stop = stop, stop + (data[start] << 8 | data[start + 1])
    pos, number, properties = stop, 0, NONE
    if first & 6:
        pos += 2
        if pos > end or first & 6 == 6:
            raise malformed("PUBLISH with QoS 3 or without its packet id")
        number = data[stop] << 8 | data[stop + 1]
        if not number:
            raise malformed("packet id 0")
    elif first & 8:
        raise malformed("DUP with QoS 0")
    if v5:
        if pos < end and not data[pos]:
            pos += 1
        else:
            cursor = Cursor(data, pos, end)
            properties, pos = cursor.properties(PUBLISH), cursor.pos
    if pos > end:
        raise malformed("PUBLISH ends inside its topic")
    return data[topic_at:stop], number, pos, properties


class Aliases:
    """Topics a 5.0 client gave numbers to (3.3.2.3.4)."""

    def __init__(self, most: int) -> None:
        self._most, self._topics = most, dict[int, bytes]()

    def topic(self, raw: bytes, alias: int) -> bytes:
        """The topic of a PUBLISH; one that is not empty is remembered under its alias."""
        if raw and 0 < alias <= self._most:
            self._topics[alias] = raw
        elif raw or alias not in self._topics:
            raise InvalidData(f"topic alias {alias} has no topic or is not one of 1 to {self._most}", "topic_alias")
        return self._topics[alias]


def connect(data: bytes, start: int, end: int) -> Connect:
    """A CONNECT body (3.1)."""
    cursor = Cursor(data, start, end)
    name, version, flags = cursor.binary(), cursor.number(1), cursor.number(1)
    if name != b"MQTT" or version not in (4, 5):
        raise InvalidData(
            f"protocol {name[:16]!r} version {version}; this door speaks MQTT 3.1.1 and 5.0", "unsupported_version"
        )
    will_qos = flags >> 3 & 3
    if flags & 1 or will_qos == 3 or (not flags & 4 and flags & 0x38) or (version == 4 and flags & 0xC0 == 0x40):
        raise malformed(f"CONNECT flags 0x{flags:02x}")
    keep_alive_s = cursor.number(2)
    properties = cursor.properties(CONNECT) if version == 5 else NONE
    client, will = cursor.text(), None
    if flags & 4:
        about = cursor.properties(WILL) if version == 5 else NONE
        will = Will(cursor.text(), cursor.binary(), will_qos, bool(flags & 0x20), about)
    user = cursor.text() if flags & 0x80 else None
    password = cursor.binary() if flags & 0x40 else None
    cursor.done()
    return Connect(version, client, bool(flags & 2), keep_alive_s, user, password, will, properties)


def ack(data: bytes, start: int, end: int, v5: bool) -> tuple[int, int]:
    """(packet id, reason code) of PUBACK, PUBREC, PUBREL or PUBCOMP (3.4-3.7)."""
    cursor = Cursor(data, start, end)
    number, code = cursor.number(2), 0
    if v5 and cursor.pos < end:
        code = cursor.number(1)
        if cursor.pos < end:
            cursor.properties(PUBACK)
    cursor.done()
    return number, code


def filters(kind: int, data: bytes, start: int, end: int, v5: bool) -> tuple[int, list[tuple[str, int]]]:
    """(packet id, [(topic filter, options)]) of SUBSCRIBE (3.8) or UNSUBSCRIBE (3.10, options 0)."""
    cursor, found = Cursor(data, start, end), list[tuple[str, int]]()
    number = cursor.number(2)
    if v5:
        cursor.properties(SUBSCRIBE)
    while cursor.pos < end or not found:
        wanted, options = cursor.text(), cursor.number(1) if kind == SUBSCRIBE else 0
        if not is_filter(wanted):
            raise malformed(f"{wanted[:60]!r} is no topic filter")
        if options & 3 == 3 or options & 0x30 == 0x30 or options & (0xC0 if v5 else 0xFC):
            raise malformed(f"subscription options 0x{options:02x}")
        found.append((wanted, options))
    if not number:
        raise malformed("packet id 0")
    return number, found


def disconnect(data: bytes, start: int, end: int, v5: bool) -> tuple[int, Properties]:
    """(reason code, properties) of a client's DISCONNECT (3.14)."""
    cursor = Cursor(data, start, end)
    code = cursor.number(1) if v5 and start < end else 0
    properties = cursor.properties(DISCONNECT) if v5 and cursor.pos < end else NONE
    cursor.done()
    return code, properties


def packet(first: int, *parts: bytes) -> bytes:
    """A whole packet from the pieces of its body."""
    body = b"".join(parts)
    return bytes((first,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def written(properties: Properties) -> bytes:
    """Properties with their length in front."""
    parts = []
    for name, value in properties.items():
        form = FORMS[name]
        if form == "P":
            parts += [b"\x26" + _string(key) + _string(content) for key, content in value]
        elif form in "BHI":
            parts.append(struct.pack(f">B{form}", name, value))
        else:
            parts.append(bytes((name,)) + (_varint(value) if form == "V" else _string(value)))
    body = b"".join(parts)
    return _varint(len(body)) + body


def connack(v5: bool, present: bool, code: int, properties: Properties = NONE) -> bytes:
    """CONNACK (3.2)."""
    return packet(CONNACK, bytes((present, code)), written(properties) if v5 else b"")


def acknowledge(kind: int, number: int, code: int = 0, why: str = "") -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; a code other than 0 is for 5.0 only."""
    flags = kind | (2 if kind == PUBREL else 0)
    if not code:
        return struct.pack(">BBH", flags, 2, number)
    return packet(flags, struct.pack(">HB", number, code), written({REASON: why}) if why else b"")


def granted(kind: int, number: int, codes: Iterable[int], v5: bool) -> bytes:
    """SUBACK (3.9) or UNSUBACK (3.11, without codes in 3.1.1)."""
    return packet(kind, struct.pack(">H", number), b"\0" if v5 else b"", bytes(codes) if v5 or kind == SUBACK else b"")


def deliver(topic: str, payload: bytes, flags: int, number: int, properties: Properties | None) -> bytes:
    """PUBLISH to a subscriber; `flags` are DUP, QoS and RETAIN as in the first byte, `properties` None in 3.1.1."""
    identity = struct.pack(">H", number) if flags & 6 else b""
    return packet(
        PUBLISH | flags, _string(topic), identity, b"" if properties is None else written(properties), payload
    )


def farewell(code: int, why: str = "") -> bytes:
    """DISCONNECT from the server (5.0 only)."""
    return packet(DISCONNECT, bytes((code,)), written({REASON: why} if why else NONE))


def forwarded(properties: Properties) -> dict[int, Any]:
    """The properties a subscriber gets."""
    return {name: value for name, value in properties.items() if name in FORWARDED} if properties else {}
