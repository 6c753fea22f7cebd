"""What an MQTT door remembers of its clients: sessions, subscriptions, retained messages. The adapter uses it.

Everything lives in memory and, where it must survive a restart, in one SQLite file.
"""

import sqlite3
from pathlib import Path

import msgspec

from haechi.core.errors import Unavailable
from haechi.core.mqtt.packets import AS_PUBLISHED, NO_LOCAL
from haechi.core.mqtt.session import Item, Session
from haechi.core.mqtt.topics import Subscriptions, matching


class Hub:
    """Sessions, retained messages and who gets what. One per door; lives in its event loop."""

    def __init__(self, folder: str, queue_max: int, retained_max: int, now: int) -> None:
        self._queue_max, self._retained_max = queue_max, retained_max
        self.sessions: dict[tuple[str, str], Session] = {}
        self.retained: dict[str, Item] = {}
        self.dropped = 0
        self.subscriptions: Subscriptions[Session] = Subscriptions()
        self._changed: dict[str, Session | str] = {}  # what must be written, by its key in the file
        Path(folder).mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(Path(folder) / "mqtt.db", isolation_level=None)
            self._file.executescript("pragma journal_mode=wal; pragma synchronous=normal")
            self._file.execute("create table if not exists kept (key text primary key, body blob) without rowid")
            rows = self._file.execute("select key, body from kept").fetchall()
        except sqlite3.Error as error:
            raise Unavailable(
                f"{folder}/mqtt.db cannot be opened: {error}; mend the disk or move the file away"
            ) from error
        for key, body in rows:
            if key[0] == "r":
                self.retained[key[1:]] = msgspec.msgpack.decode(body, type=Item)
            else:
                self._load(msgspec.json.decode(key[1:], type=tuple[str, str]), body, now)

    def _load(self, key: tuple[str, str], body: bytes, now: int) -> None:
        session = self.sessions[key] = Session(key, self._queue_max)
        session.restore(body)
        session.left_at = session.left_at or now  # 0: it was connected when the door was killed
        for wanted, options in session.filters.items():
            self.subscriptions.add(session, wanted, options)

    def open(self, key: tuple[str, str], clean: bool) -> tuple[Session, bool]:
        """The client's session, and whether it was there before."""
        if (known := self.sessions.get(key)) and clean:
            self.forget(known)
        session = self.sessions.setdefault(key, Session(key, self._queue_max))
        return session, session is known

    def forget(self, session: Session) -> None:
        """Ends a session."""
        for wanted in list(session.filters):
            self.unsubscribe(session, wanted)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
        self.touch(session)

    def touch(self, session: Session) -> None:
        """Notes that a session must be written at the next commit."""
        self._changed["s" + msgspec.json.encode(session.key).decode()] = session

    def subscribe(self, session: Session, wanted: str, options: int) -> bool:
        """Adds or replaces a subscription; whether it is new."""
        new = wanted not in session.filters
        session.filters[wanted] = options
        self.subscriptions.add(session, wanted, options)
        self.touch(session)
        return new

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
        if not item.payload:
            self.retained.pop(item.topic, None)
        elif item.topic in self.retained or len(self.retained) < self._retained_max:
            self.retained[item.topic] = item
        else:
            return False
        self._changed["r" + item.topic] = item.topic
        return True

    def kept(self, wanted: str) -> list[Item]:
        """Retained messages a filter matches."""
        return [self.retained[topic] for topic in matching(wanted, self.retained)]

    def commit(self) -> None:
        """Writes what changed in one transaction that survives a kill; `Unavailable` when the disk does not take it."""
        if not self._changed:
            return
        rows = [(key, self._body(what)) for key, what in self._changed.items()]
        try:
            with self._file:
                self._file.execute("begin immediate")
                self._file.executemany("delete from kept where key = ?", [(key,) for key, body in rows if body is None])
                self._file.executemany("insert or replace into kept values (?, ?)", [row for row in rows if row[1]])
        except sqlite3.Error as error:
            raise Unavailable(f"mqtt.db cannot be written: {error}; make room on the disk") from error
        self._changed = {}

    def _body(self, what: Session | str) -> bytes | None:
        if isinstance(what, str):
            item = self.retained.get(what)
            return msgspec.msgpack.encode(item) if item else None
        return what.saved() if what.expiry_s and self.sessions.get(what.key) is what else None

    def sweep(self, now: int) -> None:
        """Ends sessions whose time is over (3.1.2.11.2) and commits; `now` in microseconds."""
        for session in list(self.sessions.values()):
            if session.outlet is None and now >= session.left_at + session.expiry_s * 1_000_000:
                self.forget(session)
        self.commit()

    def health(self) -> dict[str, float]:
        return {"sessions": len(self.sessions), "retained": len(self.retained), "dropped": self.dropped}

    def close(self) -> None:
        """Commits and closes the file."""
        try:
            self.commit()
        finally:
            self._file.close()
