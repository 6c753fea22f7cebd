"""Brings the live model to what the city package declares: one command per facility that is new or changed. Run at
start.

Observed values are left alone: only attributes that a facility line names are written. A facility that left the package
stays in the live model until somebody deletes it (its history and alarms refer to it).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from haechi.core.frame import EntityCommand
from haechi.ports import EntityStore
from haechi.services.cities.model import City

CHUNK = 500
GEOMETRIES = frozenset({"Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"})
_OWN = frozenset({"id", "type", "scope"})
_SYSTEM = ("createdAt", "modifiedAt")


def stored_form(facility: Mapping[str, Any]) -> dict[str, Any]:
    """A facility line (NGSI-LD concise) as the stored entity of docs/reference/log.md, without instants."""
    attrs = {name: [_instance(value)] for name, value in facility.items() if name not in _OWN}
    body: dict[str, Any] = {"id": facility["id"], "type": [facility["type"]], "attrs": attrs}
    if "scope" in facility:
        scope = facility["scope"]
        body["scope"] = [scope] if isinstance(scope, str) else list(scope)
    return body


def _instance(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"type": "Property", "value": value}
    if "languageMap" in value:
        return {"type": "LanguageProperty", **value}
    if "object" in value:
        return {"type": "Relationship", **value}
    if value.get("type") in GEOMETRIES:
        return {"type": "GeoProperty", "value": value}
    return {"type": "Property", **value} if "value" in value else {"type": "Property", "value": value}


def commands(city: City, store: EntityStore, at: int) -> Iterator[tuple[int, list[EntityCommand]]]:
    """For each chunk of facilities: how many have been looked at, and commands for those that differ from the live
    model; none when all are as declared."""
    for start in range(0, len(city.facilities), CHUNK):
        bodies = [stored_form(one) for one in city.facilities[start : start + CHUNK]]
        known = store.load([one["id"] for one in bodies])
        changed = [one for one in bodies if not _holds(known.get(one["id"]), one)]
        yield start + len(bodies), [_command(one, at) for one in changed]


def _command(body: Mapping[str, Any], at: int) -> EntityCommand:
    document = orjson.dumps(body)
    digest = hashlib.blake2b(document + str(at).encode(), digest_size=12).hexdigest()
    return EntityCommand(f"provision-{digest}", "upsert", str(body["id"]), document, at=at)


def _holds(document: bytes | None, body: Mapping[str, Any]) -> bool:
    """Whether the live entity says everything the facility declares."""
    if document is None:
        return False
    entity = orjson.loads(document)
    if not set(body["type"]) <= set(entity["type"]) or body.get("scope", entity.get("scope")) != entity.get("scope"):
        return False
    return all(_same(entity["attrs"].get(name), instances) for name, instances in body["attrs"].items())


def _same(known: Sequence[Mapping[str, Any]] | None, declared: Sequence[Mapping[str, Any]]) -> bool:
    if not known:
        return False
    first = {name: value for name, value in known[0].items() if name not in _SYSTEM}
    return "observedAt" in first or first == declared[0]
