"""The notifier as one tenant sees it: its own subscriptions, under its clients' ids. Made by the NGSI-LD face."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from haechi.services.subscriptions.book import Kept
from haechi.services.subscriptions.model import Subscription
from haechi.services.tenants.names import belongs, prefix, split


class Subscriptions(Protocol):
    """What the face does with subscriptions; see `Notifier`."""

    def all(self) -> list[Kept]: ...
    def get(self, id: str) -> Kept: ...
    def explained(self, id: str) -> dict[str, Any]: ...
    def compiled(self, id: str) -> Subscription: ...
    async def relay(self, id: str, key: str, documents: Sequence[dict[str, Any]]) -> None: ...
    async def put(self, kept: Kept) -> None: ...
    async def remove(self, id: str) -> None: ...


class TenantNotifier:
    """`ensure` makes the tenant before something of it is stored."""

    def __init__(self, notifier: Subscriptions, tenant: str, ensure: Callable[[str], None]) -> None:
        self._notifier, self._tenant, self._ensure = notifier, tenant, ensure

    def all(self) -> list[Kept]:
        """In order of creation."""
        return [_outside(one) for one in self._notifier.all() if belongs(one.id, self._tenant)]

    def get(self, id: str) -> Kept:
        """`NotFound` when there is none."""
        return _outside(self._notifier.get(self._inside(id)))

    def explained(self, id: str) -> dict[str, Any]:
        """As `Notifier.explained`."""
        return {**self._notifier.explained(self._inside(id)), "id": id}

    def compiled(self, id: str) -> Subscription:
        """As `Notifier.compiled`."""
        return self._notifier.compiled(self._inside(id))

    async def relay(self, id: str, key: str, documents: Sequence[dict[str, Any]]) -> None:
        """As `Notifier.relay`."""
        await self._notifier.relay(self._inside(id), key, documents)

    async def put(self, kept: Kept) -> None:
        """As `Notifier.put`."""
        self._ensure(self._tenant)
        await self._notifier.put(replace(kept, id=self._inside(kept.id)))

    async def remove(self, id: str) -> None:
        """As `Notifier.remove`."""
        await self._notifier.remove(self._inside(id))

    def _inside(self, id: str) -> str:
        return prefix(self._tenant) + id


def _outside(kept: Kept) -> Kept:
    return replace(kept, id=split(kept.id)[1])
