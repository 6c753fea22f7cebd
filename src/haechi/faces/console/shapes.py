"""Stored documents as the console's API shows them: instants as RFC 3339, flags as words. Used by the endpoints."""

from collections.abc import Mapping
from typing import Any

from haechi.core import entity as stored
from haechi.core.geo import centre
from haechi.core.quality import Quality
from haechi.core.times import format_iso
from haechi.services.cities.model import City, Names, type_of

LANGUAGES = ("ko", "zh", "en")
_INSTANTS = frozenset({"at", "shelved_until", "until"})


def shown(found: Any, key: str = "") -> Any:
    """The document with each instant (a whole number under a key `…_at`, `at`, `…_until`) as RFC 3339, at any depth."""
    if isinstance(found, Mapping):
        return {name: shown(one, name) for name, one in found.items()}
    if isinstance(found, (list, tuple)):
        return [shown(one, key) for one in found]
    instant = key in _INSTANTS or key.endswith("_at")
    return format_iso(found) if instant and isinstance(found, int) and not isinstance(found, bool) else found


def names_of(texts: Mapping[str, str]) -> Names:
    """Every language of the console; a missing one gets what there is."""
    anything = texts.get("en") or next(iter(texts.values()), "")
    return {language: texts.get(language) or anything for language in LANGUAGES}


def name_of(entity: Mapping[str, Any]) -> Names:
    """The entity's name in each language; the end of its URN when it has none."""
    return names_of(stored.texts(entity, "name") or {"en": str(entity["id"]).rsplit(":", 1)[-1]})


def place_of(entity: Mapping[str, Any]) -> list[float] | None:
    """Longitude and latitude where its symbol goes; None when it has no location."""
    found = centre(stored.location(entity))
    return None if found is None else list(found)


def domain_of(city: City, type_id: str) -> str:
    """The domain of a type; empty for one the city does not know."""
    found = city.types.get(type_id)
    return found.domain if found else ""


def domain_of_entity(city: City, entity: str) -> str:
    """The domain of an entity by its URN; what `live.LiveHub` asks for each new series."""
    return domain_of(city, type_of(entity))


def entity_shown(entity: Mapping[str, Any], city: City, now: int) -> dict[str, Any]:
    """*Entity* of the API, without its alarms."""
    kind = str(entity["type"][0])
    hidden = {"name", "location"}
    attributes = {
        name: _attribute(instance, city, (kind, name), now)
        for name in entity["attrs"]
        if name not in hidden and (instance := stored.default(entity, name)) is not None
    }
    return {
        "id": entity["id"],
        "type": kind,
        "domain": domain_of(city, kind),
        "name": name_of(entity),
        "location": stored.location(entity),
        "scope": entity.get("scope", []),
        "attributes": attributes,
    }


def _attribute(instance: Mapping[str, Any], city: City, key: tuple[str, str], now: int) -> dict[str, Any]:
    defined = city.attribute(*key)
    found: dict[str, Any] = {"value": stored.content(instance)}
    if instance.get("unitCode"):
        found["unit"] = instance["unitCode"]
    if "observedAt" in instance:
        found["observed_at"] = format_iso(instance["observedAt"])
        found["age_s"] = round(max(0, now - instance["observedAt"]) / 1e6, 1)
        found["quality"] = Quality(instance.get("quality", 0)).words
    if defined is not None:
        found["label"] = defined.name
        if defined.period_s is not None:
            found["period_s"] = defined.period_s
    return found
