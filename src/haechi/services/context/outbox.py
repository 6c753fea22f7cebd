"""Which changes of entities are kept for subscriptions, and for how long. Used by the context projection."""

from collections.abc import Callable, Mapping, Sequence, Set

import orjson

from haechi.core.entity import Entity
from haechi.ports import EntityChanges, Notice, Record

KEPT = 1_000_000  # changes kept at most for a notifier that stands still

REMEMBERED = 1_000_000  # entities nobody asks for

SEEN = "subscriptions.seen"  # notice on the bus: changes up to that number are told
WATCH_ANEW = b'"subscriptions.changed"'

Interest = Callable[[str, Sequence[str]], bool]  # id and types of an entity


def nobody(id: str, types: Sequence[str]) -> bool:
    """No subscription asks for anything."""
    return False


class Outbox:
    """A change is written in the transaction that makes it, so that a kill neither loses nor repeats it.

    `interest` is asked again when subscriptions come and go; `seen` is how far the notifier needs nothing any more and
    may be set from another thread.
    """

    def __init__(self, store: EntityChanges, ask: Callable[[], Interest] = lambda: nobody) -> None:
        """`ask` reads what the subscriptions there are now ask for."""
        self._store, self._ask = store, ask
        self.interest: Interest = ask()
        self.seen = 0
        self._trimmed = 0
        self._answered = self.interest  # whom the answers below are of
        self._indifferent: set[str] = set()  # entities nobody asks for

    def watch_anew(self, record: Record) -> Notice:
        """Obeys an `ops` record of kind `subscriptions.changed`: from the next record on, what is asked now counts."""
        command = orjson.loads(record.payload)
        self.interest = self._ask()
        return Notice(f"reply.{command['id']}", orjson.dumps({"ok": True}))

    def of(self, puts: Mapping[str, Entity | None], before: Mapping[str, bytes]) -> Sequence[bytes]:
        """What is to be told of these entities as they are now, in order."""
        interest = self.interest
        if interest is nobody:
            return ()
        self._indifferent.difference_update(puts)  # their types may be others now
        return [
            _change(id, after, before.get(id)) for id, after in puts.items() if self._asked(interest, id, after, before)
        ]

    def open(self, ids: Sequence[str]) -> Set[str]:
        """Those of these entities of which it is not known that nobody asks for them (see `asks`)."""
        if self.interest is nobody:
            return frozenset()
        if self._answered is not self.interest or len(self._indifferent) > REMEMBERED:
            self._answered = self.interest
            self._indifferent.clear()
        return {id for id in ids if id not in self._indifferent}

    def asks(self, entity: Entity) -> bool:
        """Whether changes of it are to be told; that nobody asks is remembered until it is put."""
        if self.interest(entity["id"], entity["type"]):
            return True
        self._indifferent.add(entity["id"])
        return False

    def trim(self) -> None:
        """Drops what the notifier has seen."""
        if self.seen > self._trimmed:
            self._trimmed = self.seen
            self._store.forget_changes(self.seen, KEPT)

    @staticmethod
    def _asked(interest: Interest, id: str, after: Entity | None, before: Mapping[str, bytes]) -> bool:
        if after is not None:
            return interest(id, after["type"])
        return id in before and interest(id, orjson.loads(before[id])["type"])


def _change(id: str, after: Entity | None, before: bytes | None) -> bytes:
    return b'{"entity":%s,"before":%s,"after":%s}' % (orjson.dumps(id), before or b"null", orjson.dumps(after))
