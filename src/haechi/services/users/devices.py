"""Devices: who may connect on which link. The CLI writes them, the gateway reads them as its `ports.Registry`.

Secrets are 256 random bits, so one SHA-256 is enough (nothing to guess, unlike a password) and a connection costs
microseconds instead of an argon2 run.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from haechi.core.errors import InvalidData, NotFound
from haechi.ports import Change, RecordStore

COLLECTIONS = {"devices": ("enabled",)}


@dataclass(frozen=True, slots=True)
class Device:
    """One sender. `secrets`: link -> hash of its secret there ("" for a protocol without secrets)."""

    id: str
    secrets: Mapping[str, str]
    enabled: bool


class Devices:
    """The device registry over a store of `COLLECTIONS`, kept in memory and read again when the store's files change.

    `file` is the store's file: its stamp (and that of its write-ahead log) is looked at for each question, which costs
    two `stat` calls. `secret` gives a new secret of 256 bits, as text; only `issue` needs it.
    """

    def __init__(self, store: RecordStore, file: Path, secret: Callable[[], str]) -> None:
        self._store = store
        self._files = (file, file.with_name(file.name + "-wal"))
        self._secret = secret
        self._lock = threading.Lock()
        self._stamp: tuple[tuple[int, int], ...] | None = None
        self._devices: dict[str, Device] = {}

    # --- the gateway reads ---

    def verify(self, device: str, secret: str, link: str) -> bool:
        """Whether this device with this secret may speak on this link."""
        wanted = self._secret_of(device, link)
        return bool(wanted) and hmac.compare_digest(str(wanted), _digest(secret))

    def knows(self, device: str, link: str) -> bool:
        """Whether the device is registered and enabled for this link (for protocols without secrets)."""
        return self._secret_of(device, link) is not None

    def _secret_of(self, device: str, link: str) -> str | None:
        found = self._current().get(device)
        return found.secrets.get(link) if found and found.enabled else None

    def _current(self) -> Mapping[str, Device]:
        stamp = tuple(map(_stamp, self._files))
        if stamp != self._stamp:
            with self._lock:
                # The stamp is taken before reading: a write in between is seen at the next question.
                self._devices = {one.id: one for one in self._read()}
                self._stamp = stamp
        return self._devices

    def _read(self) -> Iterable[Device]:
        page, offset = 10_000, 0
        while found := self._store.find("devices", {}, "id", page, offset):
            yield from (Device(one["id"], one["secrets"], one["enabled"]) for one in found)
            offset += page

    # --- the CLI writes ---

    def issue(self, device: str, link: str) -> str:
        """Registers the device for the link with a new secret and returns that, the only time it is ever seen.

        A device that has one already gets another; the old one ends.
        """
        return self.issue_all([(device, link)])[0]

    def issue_all(
        self, wanted: Iterable[tuple[str, str]], told: Callable[[list[str]], None] = lambda secrets: None
    ) -> list[str]:
        """As `issue` for many (device, link) pairs in one durable commit; secrets in the order asked.

        `told` gets them before they count: a secret that was never written down must not be the one that counts.
        """
        made = [(device, link, self._secret()) for device, link in wanted]
        secrets = [secret for _, _, secret in made]
        told(secrets)
        self._put([(device, link, _digest(secret)) for device, link, secret in made])
        return secrets

    def allow(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Registers (device, link) pairs of protocols without secrets (HJ 212's MN): known there, never verified."""
        self._put([(device, link, "") for device, link in wanted])

    def set_enabled(self, device: str, enabled: bool) -> None:
        """Shuts a device out of all its links, or lets it in again; `NotFound` when it is not registered."""
        found = self._store.get("devices", device)
        if found is None:
            raise NotFound(f"no device {device!r} is registered; `haechi device list` shows who there is")
        self._store.commit([Change("devices", device, {**found, "enabled": enabled})])

    def all(self) -> list[Device]:
        """Every registered device, by id."""
        return sorted(self._current().values(), key=lambda one: one.id)

    def _put(self, entries: Iterable[tuple[str, str, str]]) -> None:
        changed: dict[str, dict[str, object]] = {}
        for device, link, digest in entries:
            if not device or not link:
                raise InvalidData(f"device {device!r} on link {link!r}: name both", "bad_device")
            before = changed.get(device) or self._store.get("devices", device) or {"secrets": {}, "enabled": True}
            secrets = {**_links(before), link: digest}
            changed[device] = {**before, "secrets": secrets}
        self._store.commit([Change("devices", device, body) for device, body in changed.items()])


def _links(body: Mapping[str, object]) -> dict[str, str]:
    links = body["secrets"]
    assert isinstance(links, dict)
    return links


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
