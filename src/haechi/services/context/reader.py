"""Views of the live model for other faces: one entity, columns of facilities and latest values, the nearest of a type.

Called by the console face and by watch (cameras near an alarm), in a worker thread: each call reads the store.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from haechi.core import entity as stored
from haechi.core import geo
from haechi.core.times import format_iso
from haechi.ports import Box, EntityQuery, EntityStore

ALL = 10_000_000
_REACH_M = (500.0, 2_000.0, 8_000.0, 32_000.0, 500_000.0, 20_100_000.0)


def get(store: EntityStore, id: str) -> dict[str, Any] | None:
    """The stored entity, or None."""
    body = store.load([id]).get(id)
    return None if body is None else orjson.loads(body)


def facilities(
    store: EntityStore, domains: Mapping[str, str], languages: Collection[str] = ("ko", "zh", "en")
) -> dict[str, Any]:
    """Columns id, type, domain, lon, lat, name{language}: all of those types (type → domain) that have a place."""
    found: dict[str, list[Any]] = {name: [] for name in ("id", "type", "domain", "lon", "lat")}
    ids, types, of_domains, lons, lats = found.values()
    names: dict[str, list[str]] = {language: [] for language in languages}

    def visit(entity: Mapping[str, Any]) -> None:
        middle = geo.centre(stored.location(entity))
        if middle is None:
            return
        type_name = next(one for one in entity["type"] if one in domains)
        ids.append(entity["id"])
        types.append(type_name)
        of_domains.append(domains[type_name])
        lons.append(middle[0])
        lats.append(middle[1])
        texts = stored.texts(entity, "name")
        for language, texts_in in names.items():
            texts_in.append(name_in(texts, language) or entity["id"])

    each(store, domains, visit)
    return {**found, "name": names}


def each(store: EntityStore, types: Collection[str], visit: Callable[[Mapping[str, Any]], None]) -> None:
    """Shows every entity of those types to `visit`, one at a time, all of one instant; nothing when no type is named.

    The visitor rides on the query's test, so that no more than one decoded document is alive at a time.
    """

    def shown(entity: Mapping[str, Any]) -> bool:
        visit(entity)
        return False

    if types:
        store.query(EntityQuery(types=tuple(types), matches=shown))


def name_in(texts: Mapping[str, str], language: str) -> str:
    """The text in that language, else the language-neutral one, else English, else any; empty when there is none."""
    return texts.get(language) or texts.get("@none") or texts.get("en") or next(iter(texts.values()), "")


def latest(store: EntityStore, types: Collection[str]) -> dict[str, list[Any]]:
    """Columns entity, attribute, value, unit, observed_at (RFC 3339), quality (flags): each observed number."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("entity", "attribute", "value", "unit", "observed_at", "quality")
    }
    entities, attributes, values, units, instants, qualities = columns.values()
    texts: dict[int, str] = {}

    def visit(entity: Mapping[str, Any]) -> None:
        for name, instances in entity["attrs"].items():
            instance = stored.find(instances, None)
            if instance is None or "observedAt" not in instance or type(instance.get("value")) not in (float, int):
                continue
            at = instance["observedAt"]
            entities.append(entity["id"])
            attributes.append(name)
            values.append(instance["value"])
            units.append(instance.get("unitCode"))
            instants.append(texts.get(at) or texts.setdefault(at, format_iso(at)))
            qualities.append(instance.get("quality", 0))

    each(store, types, visit)
    return columns


def nearest(store: EntityStore, type: str, lon: float, lat: float, n: int) -> list[tuple[dict[str, Any], float]]:
    """Up to `n` entities of a type with their great-circle distance in metres to the middle of each, nearest first."""
    inside: list[tuple[dict[str, Any], float]] = []
    for reach in _REACH_M:
        box = Box(*geo.around((lon, lat, lon, lat), reach))
        page = store.query(EntityQuery(types=(type,), box=box, limit=ALL))
        measured = [(entity, _distance(entity, lon, lat)) for entity in page.entities]
        inside = sorted((one for one in measured if one[1] <= reach), key=lambda one: one[1])
        if len(inside) >= n:
            break
    return inside[:n]


def _distance(entity: Mapping[str, Any], lon: float, lat: float) -> float:
    middle = geo.centre(stored.location(entity))
    assert middle is not None, "only entities with a place are in a box"
    return geo.metres(lon, lat, *middle)
