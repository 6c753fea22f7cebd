"""Entity maps (clauses 5.2.39, 5.5.14): which entities answered a query, so that its pages do not shift. In memory: a
restart forgets them, and a client that is told so asks its query again. Used by the NGSI-LD face."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.duration import parse_duration
from haechi.core.errors import InvalidData, NotFound
from haechi.core.times import SECOND, format_iso

LIFETIME_S = 600
LONGEST_S = 86_400
MOST = 1_000  # maps of one tenant; the oldest goes
LARGEST = 100_000  # entities of one map
LOCAL = "@none"


@dataclass(slots=True)
class EntityMap:
    """`entities`: ids in the order of the answer, each with the registrations it came from."""

    id: str
    expires_at: int
    entities: dict[str, list[str]]

    def shown(self) -> dict[str, Any]:
        """As clause 5.2.39 has it."""
        return {
            "id": self.id,
            "type": "EntityMap",
            "expiresAt": format_iso(self.expires_at),
            "entityMap": self.entities,
            "linkedMaps": {},
        }


class EntityMaps:
    """Those of one tenant. Instants in microseconds, given by the caller."""

    def __init__(self) -> None:
        self._maps: OrderedDict[str, EntityMap] = OrderedDict()

    def add(self, id: str, entities: Mapping[str, Sequence[str]], now: int, lifetime_s: float) -> EntityMap:
        """A new map that lives so long, at most a day."""
        if len(entities) > LARGEST:
            raise InvalidData(f"the query has more than {LARGEST} entities; narrow it", "too_complex")
        found = EntityMap(id, 0, {one: list(sources) for one, sources in entities.items()})
        self.renew(found, now, now + int(lifetime_s * SECOND))
        self._maps[id] = found
        if len(self._maps) > MOST:
            self._maps.popitem(last=False)
        return found

    def get(self, id: str, now: int) -> EntityMap:
        """`NotFound` when there is none, or none any more."""
        found = self.known(id, now)
        if found is None:
            raise NotFound(f"no EntityMap {id}, or it has expired; ask the query again with entityMap=true")
        return found

    def known(self, id: str, now: int) -> EntityMap | None:
        """The map, if it lives."""
        found = self._maps.get(id)
        if found is None or found.expires_at <= now:
            self._maps.pop(id, None)
            return None
        return found

    def renew(self, found: EntityMap, now: int, wanted: int) -> None:
        """The instant it ends: what the client wants, at most a day from now."""
        found.expires_at = min(wanted, now + LONGEST_S * SECOND)

    def remove(self, id: str, now: int) -> None:
        """`NotFound` when there is none."""
        del self._maps[self.get(id, now).id]


def lifetime_s(text: str | None) -> float:
    """An ISO 8601 duration in seconds; ten minutes when none is given."""
    return LIFETIME_S if text is None else parse_duration("entityMapLifetime", text).after(0) / SECOND
