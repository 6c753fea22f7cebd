"""All registrations of this broker: stored durably, kept compiled in memory. Written by the api role alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from haechi.core.errors import HaechiError, NotFound
from haechi.core.times import format_iso
from haechi.ports import Change, RecordStore
from haechi.services.registrations.model import Document, Registration, compile_registration

COLLECTIONS: Mapping[str, tuple[str, ...]] = {"registrations": (), "watches": (), "copies": (), "identity": ()}
MOST = 100_000
_events = structlog.get_logger("registrations")


def alias_in(store: RecordStore, fresh: Callable[[], str]) -> str:
    """This broker's name among context sources, the same for good: stored the first time it is asked for."""
    known = store.get("identity", "broker")
    if known is None:
        known = {"alias": fresh()}
        store.commit([Change("identity", "broker", known)])
    return str(known["alias"])


@dataclass(slots=True)
class Counters:
    """What became of the requests sent to a source (clause 5.2.9). Instants in microseconds."""

    sent: int = 0
    failed: int = 0
    succeeded_at: int | None = None
    failed_at: int | None = None

    def shown(self) -> dict[str, Any]:
        """The output members; none before the first request."""
        if not self.sent:
            return {}
        failing = self.failed_at is not None and self.failed_at >= (self.succeeded_at or 0)
        found: dict[str, Any] = {"status": "failed" if failing else "ok", "timesSent": self.sent}
        if self.failed:
            found["timesFailed"] = self.failed
        instants = {"lastSuccess": self.succeeded_at, "lastFailure": self.failed_at}
        return found | {name: format_iso(at) for name, at in instants.items() if at is not None}


@dataclass(slots=True)
class Registered:
    """One registration as it is kept."""

    registration: Registration
    created_at: int
    modified_at: int
    counters: Counters = field(default_factory=Counters)


Told = Callable[[Registration | None, Registration | None], None]


class Registry:
    """Truthy while there is any registration: without one an operation asks nobody else and pays for one test."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._all: dict[str, Registered] = {}
        self._moved: set[str] = set()
        self.told: list[Told] = []  # called with what was and what is, after it is stored
        for one in sorted(store.find("registrations", limit=MOST), key=lambda one: (one["created_at"], one["id"])):
            self._load(one)

    def _load(self, one: Mapping[str, Any]) -> None:
        try:
            registration = compile_registration(one["document"])
        except HaechiError as error:
            _events.error("registration_not_taken_up", registration=one["id"], error=str(error))
            return
        counters = Counters(**one["counters"])
        self._all[one["id"]] = Registered(registration, one["created_at"], one["modified_at"], counters)

    def __bool__(self) -> bool:
        return bool(self._all)

    def all(self, now: int) -> list[Registered]:
        """Those that are not expired, in order of creation."""
        return [one for one in self._all.values() if one.registration.lives(now)]

    def living(self, now: int) -> list[Registration]:
        """The same, without their counters."""
        return [one.registration for one in self._all.values() if one.registration.lives(now)]

    def get(self, id: str, now: int) -> Registered:
        """`NotFound` when there is none, or none any more."""
        found = self._all.get(id)
        if found is None or not found.registration.lives(now):
            raise NotFound(f"no registration {id}; GET /ngsi-ld/v1/csourceRegistrations?type=… lists those there are")
        return found

    def knows(self, id: str, now: int) -> bool:
        """Whether there is one of that id."""
        return id in self._all and self._all[id].registration.lives(now)

    def put(self, registration: Registration, now: int) -> None:
        """A new or changed registration."""
        old = self._all.get(registration.id)
        if old is not None and not old.registration.lives(now):
            old = None
        new = Registered(registration, old.created_at if old else now, now, old.counters if old else Counters())
        self._store.commit([Change("registrations", registration.id, _document(new))])
        self._all.pop(registration.id, None) if old is None else None
        self._all[registration.id] = new
        self._tell(old.registration if old else None, registration)

    def remove(self, id: str) -> None:
        """One that is there."""
        self._store.commit([Change("registrations", id, None)])
        self._tell(self._all.pop(id).registration, None)

    def sweep(self, now: int) -> None:
        """Removes what has expired and stores the counters that moved."""
        for id in [id for id, one in self._all.items() if not one.registration.lives(now)]:
            self.remove(id)
        moved = [Change("registrations", id, _document(self._all[id])) for id in self._moved if id in self._all]
        self._moved.clear()
        if moved:
            self._store.commit(moved)

    def count(self, id: str, now: int, *, failed: bool) -> None:
        """A request was sent to a source and went well, or not."""
        found = self._all.get(id)
        if found is None:
            return
        counters = found.counters
        counters.sent += 1
        if failed:
            counters.failed, counters.failed_at = counters.failed + 1, now
        else:
            counters.succeeded_at = now
        self._moved.add(id)

    def _tell(self, before: Registration | None, after: Registration | None) -> None:
        for told in self.told:
            told(before, after)

    # --- registration subscriptions are kept beside them ---

    def watches(self) -> list[dict[str, Any]]:
        """The stored subscriptions to registrations."""
        return self._store.find("watches", limit=MOST)

    def put_watch(self, id: str, document: Document | None) -> None:
        """Stores one; None removes it."""
        self._store.commit([Change("watches", id, document)])

    # --- and the copies of subscriptions at sources ---

    def copies(self) -> list[dict[str, Any]]:
        """The stored copies."""
        return self._store.find("copies", limit=MOST)

    def put_copy(self, id: str, document: Document | None) -> None:
        """Stores one; None removes it."""
        self._store.commit([Change("copies", id, document)])


def _document(one: Registered) -> dict[str, Any]:
    counters = {name: getattr(one.counters, name) for name in Counters.__slots__}
    document = one.registration.document
    return {"document": document, "created_at": one.created_at, "modified_at": one.modified_at, "counters": counters}
