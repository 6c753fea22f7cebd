"""The stored entity (docs/reference/log.md) as the code handles it. Used by context, entity stores and faces."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NULL = "urn:ngsi-ld:null"  # what a merge patch says to delete (NGSI-LD clause 4.5.0)

# Attribute kinds of NGSI-LD (clause 4.5) and the member that holds the value of each.
KINDS: Mapping[str, str] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}

Instance = dict[str, Any]
Entity = dict[str, Any]


def new(id: str, types: Sequence[str], at: int) -> Entity:
    """An entity without attributes, created at that instant (microseconds)."""
    return {"id": id, "type": list(types), "createdAt": at, "modifiedAt": at, "attrs": {}}


def find(instances: Sequence[Instance], dataset: str | None) -> Instance | None:
    """The instance with that `datasetId`; None as dataset means the default instance."""
    for one in instances:
        if one.get("datasetId") == dataset:
            return one
    return None


def default(entity: Mapping[str, Any], attribute: str) -> Instance | None:
    """The default instance of an attribute, else its first, else None."""
    instances: Sequence[Instance] = entity["attrs"].get(attribute) or ()
    return find(instances, None) or (instances[0] if instances else None)


def content(instance: Mapping[str, Any]) -> Any:
    """The value of an instance, whatever its kind calls it."""
    return instance.get(KINDS[instance["type"]])


def value(entity: Mapping[str, Any], attribute: str) -> Any:
    """The value of the default instance; None when there is none."""
    instance = default(entity, attribute)
    return None if instance is None else content(instance)


def location(entity: Mapping[str, Any], attribute: str = "location") -> Mapping[str, Any] | None:
    """The GeoJSON geometry of a GeoProperty; None when the entity has none."""
    instance = default(entity, attribute)
    if instance is None or instance["type"] != "GeoProperty" or not isinstance(instance.get("value"), dict):
        return None
    geometry: Mapping[str, Any] = instance["value"]
    return geometry


def texts(entity: Mapping[str, Any], attribute: str) -> dict[str, str]:
    """A text in its languages; a plain string or number answers for every language under `@none`."""
    found = value(entity, attribute)
    if isinstance(found, dict):
        return {
            str(language): text if isinstance(text, str) else " ".join(map(str, text))
            for language, text in found.items()
        }
    return {} if found is None else {"@none": str(found)}


def shape(entity: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Types, and (attribute, kind) pairs sorted: what entities have in common, for /types and /attributes."""
    return tuple(entity["type"]), tuple(sorted(_kinds(entity)))


def _kinds(entity: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, instances in entity["attrs"].items():
        if instances:
            yield name, instances[0]["type"]
