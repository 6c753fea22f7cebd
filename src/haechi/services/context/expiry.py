"""When parts of an entity end (clauses 4.22, 5.2.4, 5.2.5: `expiresAt`), and what to take out then. Pure; used by the
NGSI-LD face."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from haechi.core.entity import KINDS, Entity, Instance

Attributes = Mapping[str, Sequence[Instance]]


def next_end(entity: Entity) -> int | None:
    """The first instant at which something of it ends, in microseconds."""
    return min(_ends(entity), default=None)


def _ends(entity: Entity) -> Iterator[int]:
    if "expiresAt" in entity:
        yield entity["expiresAt"]
    yield from _ends_of(entity["attrs"])


def _ends_of(attributes: Attributes) -> Iterator[int]:
    for instances in attributes.values():
        for one in instances:
            if "expiresAt" in one:
                yield one["expiresAt"]
            yield from _ends_of(one.get("attrs", {}))


def ends_whole(entity: Entity, now: int) -> bool:
    """Whether the entity itself has ended."""
    return bool(entity.get("expiresAt", now + 1) <= now)


def ended_parts(entity: Entity, now: int) -> dict[str, list[dict[str, Any]]]:
    """Fragments of a merge that takes out the instances that have ended; empty when none have."""
    return _ended(entity["attrs"], now)


def _ended(attributes: Attributes, now: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, instances in attributes.items():
        for one in instances:
            key = {"datasetId": one["datasetId"]} if "datasetId" in one else {}
            if one.get("expiresAt", now + 1) <= now:
                found.setdefault(name, []).append({**key, "type": one["type"], KINDS[one["type"]]: None})
            elif inner := _ended(one.get("attrs", {}), now):
                found.setdefault(name, []).append({**key, "attrs": inner})
    return found
