"""One tenant's documents in a collection all tenants share. Used for @contexts and registrations of a tenant."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from haechi.ports import Change, RecordStore
from haechi.services.tenants.names import belongs, prefix, split

MOST = 1_000_000


class TenantRecords:
    """A `RecordStore` whose ids are the tenant's. `find` looks through the documents of all tenants: for collections
    that are read whole at the start, not for large ones. `ensure` makes the tenant before something of it is stored."""

    def __init__(self, store: RecordStore, tenant: str, ensure: Callable[[str], None]) -> None:
        self._store, self._tenant, self._ensure = store, tenant, ensure

    def position(self) -> int:
        return self._store.position()

    def commit(self, changes: Sequence[Change], position: int | None = None) -> None:
        self._ensure(self._tenant)
        before = prefix(self._tenant)
        self._store.commit([Change(one.collection, before + one.id, one.body) for one in changes], position)

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        found = self._store.get(collection, prefix(self._tenant) + id)
        return None if found is None else _outside(found)

    def find(
        self, collection: str, where: Mapping[str, Any] = {}, order: str = "id", limit: int = 1000, offset: int = 0
    ) -> list[dict[str, Any]]:
        every = self._store.find(collection, where, order, MOST)
        own = [_outside(one) for one in every if belongs(one["id"], self._tenant)]
        return own[offset : offset + limit]

    def close(self) -> None:
        """Nothing: the store belongs to all tenants."""


def _outside(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "id": split(document["id"])[1]}
