"""The account: what became of every sample, and the messages in quarantine. A projection of the log, read by
`haechi account`.

Three counts from three places must agree: what the doors received (tallies), the rows that are on the log (counted
here, row by row), and what lies in quarantine (counted entry by entry as it comes and goes; `haechi account` and
`haechi doctor` sum the entries themselves).
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from haechi.core.frame import Frame, Quarantined, Tally
from haechi.core.message import Message
from haechi.core.times import DAY, SECOND, to_us
from haechi.ports import Change, Notice, Record, RecordStore

COLLECTIONS: Mapping[str, Sequence[str]] = {
    "accounts": (),
    "quarantine": ("link", "state", "reason", "received_at", "replayed_at"),
}
PAGE = 10_000
STEP = 100  # entries in memory at once: each may be megabytes
HELD_BYTES = 1 << 30  # of payloads in quarantine; beyond that the doors refuse what would go there
FORGET_US = 7 * DAY  # after that an entry that was replayed is forgotten: no replay begun before it was can still come
SWEEP_US = 600 * SECOND
TRIES = 100


@dataclass(frozen=True, slots=True)
class Balance:
    """The account of one link, in samples."""

    link: str
    received: int
    stored: int
    quarantined: int
    replayed: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    in_quarantine: int = 0

    @property
    def missing(self) -> int:
        """Samples received but neither stored, rejected nor in quarantine; 0 when the account balances."""
        return self.received - self.stored - sum(self.rejected.values()) - self.in_quarantine


class AccountProjection:
    """`ports.Projection`; `store` has `COLLECTIONS`."""

    name = "account"
    subjects = frozenset({"obs", "entity"})
    after: tuple[str, ...] = ()

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._swept_at = 0

    def position(self) -> int:
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        book = _Book(self._store, to_us(now))
        for record in records:
            book.enter(record.frame())
        self._store.commit(book.changes(), records[-1].seq)
        return ()

    def tick(self, now: datetime) -> Sequence[Notice]:
        """Forgets, now and then, entries that were brought back long ago: else they would grow for ever."""
        fresh = to_us(now)
        if fresh - self._swept_at < SWEEP_US:
            return ()
        found = self._store.find("quarantine", {"state": "replayed"}, order="replayed_at", limit=STEP)
        old = [Change("quarantine", one["id"], None) for one in found if one["replayed_at"] < fresh - FORGET_US]
        if old:
            self._store.commit(old)
        if len(old) < STEP:
            self._swept_at = fresh
        return ()

    def close(self) -> None:
        self._store.close()


class _Book:
    """The account while one batch of records is entered."""

    def __init__(self, store: RecordStore, now: int) -> None:
        self._store, self._now = store, now
        self._accounts: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, dict[str, Any]] = {}

    def enter(self, frame: Frame) -> None:
        if frame.resolved and all(self._state(id) == "replayed" for id in frame.resolved):
            return  # a replay asked for again before this account had seen the first; history has its rows once, too
        for link, tally in frame.tallies.items():
            self._enter_tally(self._account(link), tally)
        for count in pc.value_counts(frame.observations.column("link")).to_pylist():
            self._account(count["values"])["stored"] += count["counts"]
        for entry in frame.quarantined:
            if self._entry(entry.id) is None:
                self._hold(entry.link, entry.count, len(entry.payload))
            self._entries[entry.id] = _document(entry)
        for id in frame.resolved:
            known = self._entry(id)
            if known is not None and known["state"] == "held":
                self._hold(known["link"], -known["count"], -_size(known))
                # Its values are in history now; what stays says that it was here, and that it came back once.
                self._entries[id] = {**known, "payload": "", "state": "replayed", "replayed_at": self._now}

    def _hold(self, link: str, count: int, size: int) -> None:
        account = self._account(link)
        account["held"] += count
        account["held_bytes"] += size

    def _entry(self, id: str) -> dict[str, Any] | None:
        return self._entries.get(id) or self._store.get("quarantine", id)

    def _state(self, id: str) -> str:
        return str((self._entry(id) or {}).get("state", ""))

    @staticmethod
    def _enter_tally(account: dict[str, Any], tally: Tally) -> None:
        account["received"] += tally.received
        account["quarantined"] += tally.quarantined
        account["replayed"] += tally.replayed
        for reason, count in tally.rejected.items():
            account["rejected"][reason] = account["rejected"].get(reason, 0) + count

    def _account(self, link: str) -> dict[str, Any]:
        if link not in self._accounts:
            known = self._store.get("accounts", link)
            if known is not None and "held_bytes" not in known:  # written before these counts were kept
                known["held"] = _held(self._store).get(link, 0)
                known["held_bytes"] = _held(self._store, _size).get(link, 0)
            self._accounts[link] = known or {
                "received": 0,
                "stored": 0,
                "quarantined": 0,
                "replayed": 0,
                "held": 0,
                "held_bytes": 0,
                "rejected": {},
            }
        return self._accounts[link]

    def changes(self) -> list[Change]:
        accounts = [Change("accounts", link, body) for link, body in self._accounts.items()]
        return accounts + [Change("quarantine", id, body) for id, body in self._entries.items()]


def _document(entry: Quarantined) -> dict[str, Any]:
    return {
        "id": entry.id,
        "link": entry.link,
        "device": entry.device,
        "channel": entry.channel,
        "received_at": entry.received_at,
        "payload": base64.b64encode(entry.payload).decode(),
        "reason": entry.reason,
        "detail": entry.detail,
        "count": entry.count,
        "fields": list(entry.fields),
        "samples": list(entry.samples),
        "state": "held",
    }


def message_of(entry: Mapping[str, Any]) -> Message:
    """The message a quarantine document keeps."""
    payload = base64.b64decode(entry["payload"])
    return Message(entry["link"], entry["device"], entry["channel"], payload, entry["received_at"])


def balances(store: RecordStore, recount: bool = False) -> list[Balance]:
    """The account of every link, by name. With `recount` every entry in quarantine is read, however many there are.

    That takes several steps while the pipeline goes on: what is missing counts only when nothing was entered meanwhile.
    """
    for _ in range(TRIES):
        position = store.position()
        accounts = store.find("accounts", limit=PAGE)
        held = _held(store) if recount or any("held" not in one for one in accounts) else None
        lines = [_balance(one, one["held"] if held is None else held.get(one["id"], 0)) for one in accounts]
        if store.position() == position or not any(one.missing for one in lines):
            break
    return lines


def missing(store: RecordStore) -> int:
    """Samples over all links that are not accounted for, either way."""
    return sum(abs(one.missing) for one in balances(store))


def _balance(account: Mapping[str, Any], held: int) -> Balance:
    names = ("received", "stored", "quarantined", "replayed", "rejected")
    return Balance(account["id"], **{name: account[name] for name in names}, in_quarantine=held)


def held_bytes(store: RecordStore) -> int:
    """Payloads in quarantine over all links, as last counted."""
    return sum(one.get("held_bytes", 0) for one in store.find("accounts", limit=PAGE))


def _size(entry: Mapping[str, Any]) -> int:
    """Bytes of the payload of a quarantine document: Base64 in full groups of four."""
    text = str(entry["payload"])
    return len(text) // 4 * 3 - text[-2:].count("=")


def _count(entry: Mapping[str, Any]) -> int:
    return int(entry["count"])


def _held(store: RecordStore, measure: Callable[[Mapping[str, Any]], int] = _count) -> dict[str, int]:
    totals: dict[str, int] = {}
    offset = 0
    while page := store.find("quarantine", {"state": "held"}, limit=STEP, offset=offset):
        for entry in page:
            totals[entry["link"]] = totals.get(entry["link"], 0) + measure(entry)
        offset += len(page)
    return totals
