"""Snapshots (clauses 5.2.41, 5.16): copies of what queries found, each a store of its own. Used by the NGSI-LD face."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from haechi.core.errors import Busy, InvalidData, NotFound
from haechi.core.frame import Frame
from haechi.core.times import format_iso
from haechi.ports import Change, EntityCensus, EntityQuery, EntityStore, EntityVersion, EvolutionReader, RecordStore
from haechi.services.ngsi_ld import q

COLLECTIONS: Mapping[str, tuple[str, ...]] = {"snapshots": ()}
MOST = 100  # of one tenant; each is a file
LARGEST = 100_000  # entities of one
TOGETHER = 1_000
PRIORITY = 5
MEMBERS = ("id", "type", "snapshotStatus", "snapshotPriority", "createdAt", "lastUsedAt", "expiresAt")


class Entities(EntityStore, EntityCensus, EntityVersion, Protocol):
    """Entities and what kinds of them there are."""


class Past(EvolutionReader, Protocol):
    """What was, in one snapshot. Blocking."""

    def keep(self, rows: pa.Table) -> None:
        """Rows of `core.instances.INSTANCES` instead of those there were; durable when it returns."""

    def whole(self) -> pa.Table:
        """All rows."""


class Copy(Protocol):
    """The entities of one snapshot."""

    @property
    def store(self) -> Entities: ...

    @property
    def past(self) -> Past: ...

    async def write(self, frame: Frame) -> None:
        """Obeys the commands; returns when reads see it."""

    async def pour(self, entities: Mapping[str, Any]) -> None:
        """Puts whole entities in."""


class Copies(Protocol):
    """Where they lie, by name."""

    def open(self, name: str) -> Copy:
        """Made when there is none."""

    def remove(self, name: str) -> None:
        """Nothing is left of it."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What snapshots need of the process, for all tenants."""

    records: RecordStore
    copies: Copies


class Snapshots:
    """Those of one tenant; `records` are the tenant's own. Instants in microseconds, given by the caller."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self._kept: dict[str, dict[str, Any]] = {one["id"]: one for one in records.find("snapshots", limit=MOST)}
        for one in self._kept.values():
            if one["snapshotStatus"] == "preparing":  # the process that filled it is gone
                one["snapshotStatus"] = "failure"

    def add(self, document: dict[str, Any]) -> None:
        """`Busy` when there are enough."""
        if len(self._kept) >= MOST:
            raise Busy(f"there are {MOST} snapshots; delete some: DELETE /snapshots?q=snapshotPriority<5", 60)
        self.put(document)

    def put(self, document: dict[str, Any]) -> None:
        self._records.commit([Change("snapshots", document["id"], document)])
        self._kept[document["id"]] = document

    def get(self, id: str, now: int) -> dict[str, Any]:
        """`NotFound` when there is none, or none any more."""
        found = self._kept.get(id)
        if found is None or found.get("expiresAt", "9") <= format_iso(now):
            raise NotFound(f"no snapshot {id}, or it has expired; make one with POST /snapshots")
        return found

    def has(self, id: str) -> bool:
        return id in self._kept

    def remove(self, id: str) -> None:
        self._records.commit([Change("snapshots", id, None)])
        del self._kept[id]

    def matching(self, text: str) -> list[str]:
        """Ids of those for which a query about the members of Snapshot holds (clause 5.16.7)."""
        node = q.parse(text, lambda name: name)
        strange = sorted({path.names[0] for path in q.paths_of(node)} - set(MEMBERS))
        if strange:
            raise InvalidData(f"a snapshot has no member {strange[0]}; it has {', '.join(MEMBERS)}", "bad_request")
        test = q.compile_q(text, lambda name: name)
        return [id for id, one in self._kept.items() if test(_as_entity(one))]


def _as_entity(document: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {name: [{"type": "Property", "value": value}] for name, value in document.items()}
    return {"id": document["id"], "type": ["Snapshot"], "attrs": attributes}


def pages(store: EntityStore, question: EntityQuery) -> Iterator[dict[str, dict[str, Any]]]:
    """Everything that answers the question, some at a time. Blocking."""
    for offset in range(0, LARGEST, TOGETHER):
        page = store.query(replace(question, limit=TOGETHER, offset=offset, count=False))
        yield {one["id"]: one for one in page.entities}
        if len(page.entities) < TOGETHER:
            return
    raise InvalidData(f"the snapshot would hold more than {LARGEST} entities; narrow its queries", "too_complex")
