"""Where subscriptions are kept: what the client wrote, how often it was told, and how far it has been told.

Written by the api role alone; the pipeline reads which types anybody asks for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haechi.core.times import format_iso
from haechi.ports import Change, RecordStore
from haechi.services.context.outbox import Interest, nobody
from haechi.services.tenants.names import DEFAULT, prefix, split

COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    "subscriptions": (),
    "failures": ("subscription", "at"),
    "relays": ("subscription", "at"),
    "relayed": ("subscription", "at"),
}
MOST = 100_000
FAILURES = 100  # notifications given up that are kept per subscription


@dataclass(slots=True)
class State:
    """What became of a subscription's notifications. Instants in microseconds; `cursor`: the last change before the
    oldest that is not delivered yet, None when all are."""

    sent: int = 0
    failed: int = 0
    notified_at: int | None = None
    succeeded_at: int | None = None
    failed_at: int | None = None
    reason: str = ""
    failing: bool = False
    given_up: int = 0
    cursor: int | None = None

    def shown(self) -> dict[str, Any]:
        """The output members of NotificationParams (clause 5.2.14.2)."""
        found: dict[str, Any] = {"status": "failed" if self.failing else "ok"}
        if self.sent:
            found["timesSent"] = self.sent
        if self.failed:
            found["timesFailed"] = self.failed
        instants = {"Notification": self.notified_at, "Success": self.succeeded_at, "Failure": self.failed_at}
        return found | {f"last{name}": format_iso(at) for name, at in instants.items() if at is not None}


@dataclass(slots=True)
class Kept:
    """One subscription as it is stored; `id` is marked with its tenant (decision 016), `context` the `@context` value
    its names were written with; `types` are the internal names it asks for, None: any; `reach` is where this broker was
    reached (`base`) and by which brokers (`via`), None for a subscription to what is here alone."""

    id: str
    body: dict[str, Any]
    context: Any
    types: list[str] | None
    created_at: int
    modified_at: int
    state: State = field(default_factory=State)
    reach: dict[str, Any] | None = None


class Book:
    """All of them."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def all(self) -> list[Kept]:
        """In order of creation."""
        found = [_kept(one) for one in self._store.find("subscriptions", limit=MOST)]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def position(self) -> int:
        """The last change that every subscription without a cursor of its own has seen."""
        return self._store.position()

    def put(self, some: Sequence[Kept], position: int | None = None) -> None:
        """Stores them, and how far the others are, in one commit."""
        self._store.commit([Change("subscriptions", one.id, _document(one)) for one in some], position)

    def remove(self, id: str) -> None:
        """The subscription and its failures."""
        about = [
            Change(name, one["id"], None)
            for name in ("failures", "relays", "relayed")
            for one in self._store.find(name, {"subscription": id}, limit=MOST)
        ]
        self._store.commit([Change("subscriptions", id, None), *about])

    def give_up(self, id: str, at: int, entities: Sequence[str], reason: str) -> None:
        """Keeps what could not be delivered for people to see; the oldest beyond `FAILURES` go."""
        known = self._store.find("failures", {"subscription": id}, order="at", limit=FAILURES + 1)
        gone = [Change("failures", one["id"], None) for one in known[: max(0, len(known) - FAILURES + 1)]]
        body = {"subscription": id, "at": at, "entities": list(entities), "reason": reason}
        self._store.commit([*gone, Change("failures", f"{id}#{at}", body)])

    def failures(self, id: str) -> list[dict[str, Any]]:
        """Those given up, the newest first."""
        return self._store.find("failures", {"subscription": id}, order="-at", limit=FAILURES)

    def take(self, id: str, key: str, at: int, documents: Sequence[Mapping[str, Any]]) -> None:
        """Keeps what another source told for a subscription, until its receiver has it; the same `key` is the same."""
        self._store.commit([Change("relays", key, {"subscription": id, "at": at, "documents": list(documents)})])

    def taken(self, id: str) -> list[dict[str, Any]]:
        """What waits so, the oldest first."""
        return self._store.find("relays", {"subscription": id}, order="at", limit=MOST)

    def passed_on(self, one: Mapping[str, Any], forgotten: Sequence[str]) -> None:
        """The receiver of what `taken` gave has it, or it was given up: its key alone stays. Those keys go."""
        key, about = one["id"], {"subscription": one["subscription"], "at": one["at"]}
        old = [Change("relayed", key, None) for key in forgotten]
        self._store.commit([Change("relays", key, None), Change("relayed", key, about), *old])

    def relayed(self, id: str) -> list[str]:
        """Keys of what was passed on, the oldest first."""
        return [one["id"] for one in self._store.find("relayed", {"subscription": id}, order="at", limit=MOST)]

    def interest(self) -> Interest:
        """Which changes are worth keeping."""
        kept = self.all()
        if not kept:
            return nobody
        whole = {split(one.id)[0] for one in kept if one.types is None}
        if DEFAULT in whole:
            return lambda id, types: True
        wanted, marks = frozenset(name for one in kept for name in one.types or ()), tuple(map(prefix, whole))
        return lambda id, types: not wanted.isdisjoint(types) or id.startswith(marks)


def _document(one: Kept) -> dict[str, Any]:
    state = {name: getattr(one.state, name) for name in State.__slots__}
    return {
        "body": one.body,
        "context": one.context,
        "types": one.types,
        "created_at": one.created_at,
        "modified_at": one.modified_at,
        "state": state,
        "reach": one.reach,
    }


def _kept(found: Mapping[str, Any]) -> Kept:
    return Kept(
        found["id"],
        found["body"],
        found["context"],
        found["types"],
        found["created_at"],
        found["modified_at"],
        State(**found["state"]),
        found.get("reach"),
    )
