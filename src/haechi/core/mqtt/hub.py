"""What an MQTT server remembers of its clients: sessions, subscriptions, retained messages, commands that went out.

State without I/O: whoever keeps it for a restart writes `changes()`. The MQTT adapter builds on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from haechi.core.mqtt.packets import AS_PUBLISHED, NO_LOCAL
from haechi.core.mqtt.session import Item, Room, Session
from haechi.core.mqtt.topics import Subscriptions, matching
from haechi.core.times import SECOND

FILTERS_MAX = 100  # subscriptions of one session
COMMANDS_KEPT_US = 4 * 3600 * SECOND  # no command and its undoing take longer
Row = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class HubLimits:
    """What a hub may hold; the settings of an MQTT link of the same names, bytes are of payloads."""

    sessions_max: int = 20_000
    queue_max: int = 1_000
    queue_bytes_max: int = 64_000_000
    retained_max: int = 100_000
    retained_bytes_max: int = 64_000_000


class Hub:
    """Sessions, retained messages and who gets what. One per door; lives in its event loop."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits, self._room = limits, Room(limits.queue_bytes_max)
        self._retained_bytes = 0
        self.sessions: dict[tuple[str, str], Session] = {}
        self.retained: dict[str, Item] = {}
        self.dropped = 0
        self.subscriptions: Subscriptions[Session] = Subscriptions()
        self._commands: dict[str, tuple[str, int]] = {}  # those that went out: device, when
        self._changed: dict[str, Session | str | tuple[str, int]] = {}  # what must be written, by its key

    def restore(self, key: str, body: bytes, now: int) -> None:
        """Takes up a row of `changes()`; `now` in microseconds."""
        if key[0] == "r":
            self._retain(key[1:], msgspec.msgpack.decode(body, type=Item))
        elif key[0] == "c":
            self._commands[key[1:]] = msgspec.msgpack.decode(body, type=tuple[str, int])
        else:
            self._load(msgspec.json.decode(key[1:], type=tuple[str, str]), body, now)

    def _load(self, key: tuple[str, str], body: bytes, now: int) -> None:
        session = self.sessions[key] = Session(key, self._limits.queue_max, self._room)
        session.restore(body)
        session.left_at = session.left_at or now  # 0: it was connected when the door was killed
        for wanted, options in session.filters.items():
            self.subscriptions.add(session, wanted, options)

    def open(self, key: tuple[str, str], clean: bool) -> tuple[Session, bool]:
        """The client's session, and whether it was there before."""
        if (known := self.sessions.get(key)) and clean:
            self.forget(known)
        if key not in self.sessions:
            self._make_room()
        session = self.sessions.setdefault(key, Session(key, self._limits.queue_max, self._room))
        return session, session is known

    def _make_room(self) -> None:
        """Ends the oldest session nobody is connected with: a device may invent any number of client ids."""
        if len(self.sessions) >= self._limits.sessions_max:
            for session in self.sessions.values():
                if session.outlet is None:
                    self.forget(session)
                    break

    def forget(self, session: Session) -> None:
        """Ends a session."""
        for wanted in list(session.filters):
            self.unsubscribe(session, wanted)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
        self.dropped += session.empty()
        self.touch(session)

    def touch(self, session: Session) -> None:
        """Notes that a session must be written at the next commit."""
        self._changed["s" + msgspec.json.encode(session.key).decode()] = session

    def subscribe(self, session: Session, wanted: str, options: int) -> bool:
        """Adds or replaces a subscription; whether it is new. See `has_room` before."""
        new = wanted not in session.filters
        session.filters[wanted] = options
        self.subscriptions.add(session, wanted, options)
        self.touch(session)
        return new

    def has_room(self, session: Session, wanted: str) -> bool:
        """Whether a session may have this subscription besides those it has."""
        return wanted in session.filters or len(session.filters) < FILTERS_MAX

    def unsubscribe(self, session: Session, wanted: str) -> bool:
        """Removes a subscription; whether there was one."""
        if session.filters.pop(wanted, None) is None:
            return False
        self.subscriptions.remove(session, wanted)
        self.touch(session)
        return True

    def tell(self, item: Item, sender: Session | None = None) -> None:
        """Gives a message to its subscribers."""
        for session, options in self.subscriptions.matches(item.topic):
            if not (options & NO_LOCAL and session is sender):
                self.give(session, item, options, item.retain and bool(options & AS_PUBLISHED))

    def give(self, session: Session, item: Item, options: int, retain: bool) -> None:
        """Gives a message to one subscriber, at the lower of both QoS."""
        copy = Item(item.topic, item.payload, min(item.qos, options & 3), retain, item.properties, item.until)
        self.dropped += not session.offer(copy)
        if session.expiry_s and copy.qos:
            self.touch(session)

    def keep(self, item: Item) -> bool:
        """Retains a message, or forgets the retained one when the payload is empty; False when there is no room."""
        known, limits = self.retained.get(item.topic), self._limits
        count = len(self.retained) + (known is None)
        size = self._retained_bytes + len(item.payload) - len(known.payload if known else b"")
        if item.payload and (count > limits.retained_max or size > limits.retained_bytes_max):
            self.dropped += 1
            return False
        self._retain(item.topic, item if item.payload else None)
        self._changed["r" + item.topic] = item.topic
        return True

    def _retain(self, topic: str, item: Item | None) -> None:
        if known := self.retained.pop(topic, None):
            self._retained_bytes -= len(known.payload)
        if item is not None:
            self.retained[topic] = item
            self._retained_bytes += len(item.payload)

    def kept(self, wanted: str) -> list[Item]:
        """Retained messages a filter matches."""
        return [self.retained[topic] for topic in matching(wanted, self.retained)]

    def listeners(self, topic: str) -> Iterable[tuple[Session, int]]:
        """Who hears a topic, with the options of the subscription; see `commands.Memory`."""
        return self.subscriptions.matches(topic)

    def note(self, id: str, device: str, at: int) -> None:
        """Remembers that a command goes out now."""
        self._commands[id] = self._changed["c" + id] = (device, at)

    def noted(self, id: str) -> tuple[str, int] | None:
        """(device, at) of a command that went out."""
        return self._commands.get(id)

    def changes(self) -> list[Row]:
        """Rows to write for a restart, bytes None: to remove. They are changes until `_changed` is emptied."""
        return [(key, self._body(what)) for key, what in self._changed.items()]

    def _body(self, what: Session | str | tuple[str, int]) -> bytes | None:
        if isinstance(what, tuple):
            return msgspec.msgpack.encode(what)
        if isinstance(what, str):
            item = self.retained.get(what)
            return msgspec.msgpack.encode(item) if item else None
        return what.saved() if what.expiry_s and self.sessions.get(what.key) is what else None

    def sweep(self, now: int) -> None:
        """Ends sessions whose time is over (3.1.2.11.2) ; `now` in microseconds."""
        for session in list(self.sessions.values()):
            if session.outlet is None and now >= session.left_at + session.expiry_s * SECOND:
                self.forget(session)
        for id in [id for id, (_, at) in self._commands.items() if now > at + COMMANDS_KEPT_US]:
            del self._commands[id]
            self._changed["c" + id] = ""  # nothing is retained on the empty topic: the row goes

    def health(self) -> dict[str, float]:
        """How much it remembers."""
        held = {"queued_bytes": self._room.used, "retained_bytes": self._retained_bytes}
        return {"sessions": len(self.sessions), "retained": len(self.retained), "dropped": self.dropped, **held}
