"""The server's side of an MQTT client's session: what is on its way to it, what came from it once. Adapters keep it."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from haechi.core.mqtt import packets as mqtt

QUEUE_BYTES = 4 << 20  # of payload that one session keeps


class Item(msgspec.Struct, array_like=True):
    """A message on its way to subscribers; `until` in microseconds, 0 for ever (3.3.2.3.3)."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: dict[int, Any] = {}
    until: int = 0


def received(topic: str, payload: bytes, flags: int, about: mqtt.Properties, now: int) -> Item:
    """What a client published; `flags` as in the first byte, `now` in microseconds."""
    expiry_s = about.get(mqtt.MESSAGE_EXPIRY)
    until = 0 if expiry_s is None else now + expiry_s * 1_000_000
    return Item(topic, payload, flags >> 1 & 3, bool(flags & 1), mqtt.forwarded(about), until)


def delivery(item: Item, number: int, again: bool, v5: bool, now: int) -> bytes:
    """The PUBLISH for a subscriber, without a packet id at QoS 0; no bytes when the message has expired."""
    properties = item.properties
    if item.until:
        left_s = (item.until - now) // 1_000_000
        if left_s <= 0:
            return b""
        properties = {**properties, mqtt.MESSAGE_EXPIRY: left_s}
    flags = (8 if again else 0) | (2 if number else 0) | item.retain
    return mqtt.deliver(item.topic, item.payload, flags, number, properties if v5 else None)


class Room:
    """What all sessions of a door may hold together for clients that are slow or away, in bytes of payload."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0


class Outlet(Protocol):
    """What a session sees of its connection."""

    window: int  # unacknowledged QoS 1 messages the client takes at once

    def send(self, item: Item, number: int, again: bool) -> bool:
        """Writes a PUBLISH; False when it is dropped: QoS 0 on a full socket, packet too large, expired."""


class Session:
    """One client of one device (4.1). Keyed by both, so that no device can take over another's session."""

    def __init__(self, key: tuple[str, str], queue_max: int, room: Room | None = None) -> None:
        self.key, self.queue_max, self._room = key, queue_max, room or Room(QUEUE_BYTES)
        self.expiry_s = 0
        self.left_at = 0  # microseconds, when the connection ended; 0 while there is one
        self.outlet: Outlet | None = None
        self.will: Callable[[], None] = lambda: None  # calls off a will that waits for its delay (3.1.3.2.2)
        self.filters: dict[str, int] = {}
        self.received: set[int] = set()  # QoS 2 packet ids that are stored and not released (4.3.3)
        self.busy: set[int] = set()  # QoS 2 packet ids on their way to the store
        self.inflight: dict[int, Item] = {}
        self.handed: dict[int, Callable[[int], None]] = {}  # sent once, see `hand`: who hears of its PUBACK
        self.queue: deque[Item] = deque()
        self.queued = 0  # bytes of payload in it
        self._number = 0

    def saved(self) -> bytes:
        """What must survive a restart."""
        items = [*self.inflight.values(), *self.queue]
        return msgspec.msgpack.encode((self.expiry_s, self.left_at, self.filters, self.received, items))

    def restore(self, body: bytes) -> None:
        """Takes up what `saved` wrote; what was on its way will be sent again."""
        kind = tuple[int, int, dict[str, int], set[int], list[Item]]
        self.expiry_s, self.left_at, self.filters, self.received, items = msgspec.msgpack.decode(body, type=kind)
        self.queue.extend(items)
        self._hold(sum(len(item.payload) for item in items))

    def _hold(self, size: int) -> None:
        self.queued += size
        self._room.used += size

    def empty(self) -> int:
        """Forgets what waits for the client; how many messages."""
        count = len(self.queue)
        self.queue.clear()
        self._hold(-self.queued)
        return count

    def settle(self, reply: int, number: int, code: int) -> int:
        """A QoS 2 id counts as received from a good PUBREC to PUBCOMP; returns the code to answer with (4.3.3)."""
        self.busy.discard(number)
        if reply == mqtt.PUBCOMP:
            code = 0 if number in self.received else mqtt.UNKNOWN_ID
            self.received.discard(number)
        elif not code:
            self.received.add(number)
        return code

    def offer(self, item: Item) -> bool:
        """Sends or queues a message; False when it had to be dropped."""
        if not item.qos:
            return self.outlet is not None and self.outlet.send(item, 0, False)
        if len(self.queue) >= self.queue_max or not (self.outlet or self.expiry_s):
            return False
        size, waits = len(item.payload), bool(self.queue) or self.full
        if waits and (self._room.used + size > self._room.most or self.queued + size > QUEUE_BYTES):
            return False
        self.queue.append(item)
        self._hold(size)
        self.pump()
        return True

    @property
    def full(self) -> bool:
        """Whether the client's window is used up, or nobody is there."""
        return self.outlet is None or len(self.inflight) + len(self.handed) >= self.outlet.window

    def _next(self) -> int:
        """A packet id that is not in use; there is one, for a window is smaller."""
        while True:
            self._number = self._number % 65_535 + 1
            if self._number not in self.inflight and self._number not in self.handed:
                return self._number

    def pump(self) -> None:
        """Sends what is queued as far as the client's window goes."""
        while self.outlet and self.queue and not self.full:
            item, number = self.queue.popleft(), self._next()
            self._hold(-len(item.payload))
            if self.outlet.send(item, number, False):
                self.inflight[number] = item

    def hand(self, item: Item, heard: Callable[[int], None]) -> bool:
        """Sends a message once, now or never. `heard` gets the code of its PUBACK, -1 when the connection ends."""
        if self.outlet is None:
            return False
        number = self._next() if item.qos else 0
        if number:
            self.handed[number] = heard
        if self.outlet.send(item, number, False):
            return True
        self.handed.pop(number, None)
        return False

    def acknowledged(self, number: int, code: int) -> None:
        """PUBACK came: sends on."""
        self.inflight.pop(number, None)
        if heard := self.handed.pop(number, None):
            heard(code)
        self.pump()

    def leave(self, now: int) -> None:
        """The connection ended. What was handed to it is not sent again."""
        self.outlet, self.left_at = None, now
        handed, self.handed = self.handed, {}
        for heard in handed.values():
            heard(-1)

    def resume(self, outlet: Outlet) -> None:
        """Sends again, with DUP, what the last connection left unacknowledged (4.4), then what waited."""
        self.outlet = outlet
        over = list(self.inflight)[outlet.window :]
        back = [self.inflight.pop(number) for number in reversed(over)]
        self.queue.extendleft(back)
        self._hold(sum(len(item.payload) for item in back))
        self.inflight = {number: item for number, item in self.inflight.items() if outlet.send(item, number, True)}
        self.pump()
