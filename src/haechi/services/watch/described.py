"""What watch needs to know of an entity, taken from its stored document (docs/reference/log.md). `app.py` gives watch a
`describe` function built on the live model with `from_document`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]
LANGUAGES = ("ko", "zh", "en")


@dataclass(frozen=True, slots=True)
class Described:
    """An entity as alarms show it. `related` holds relationship attributes, `values` the plain values of the others."""

    types: tuple[str, ...]
    name: Names
    scope: tuple[str, ...] = ()
    location: tuple[float, float] | None = None  # longitude, latitude
    place: Names | None = None
    related: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def from_urn(entity: str) -> Described:
    """What the URN itself says, for an entity the live model does not hold (yet)."""
    parts = entity.split(":", 3)
    type_id = parts[2] if len(parts) == 4 else ""
    short = entity.rpartition(":")[2]
    return Described((type_id,), dict.fromkeys(LANGUAGES, short))


def from_document(document: Mapping[str, Any]) -> Described:
    """An entity of the live model. The place is its `address`, else its first scope."""
    attrs = {name: _default(instances) for name, instances in document.get("attrs", {}).items()}
    scope = tuple(document.get("scope", ()))
    values = {name: one["value"] for name, one in attrs.items() if one.get("type") == "Property" and "value" in one}
    related = {name: one["object"] for name, one in attrs.items() if isinstance(one.get("object"), str)}
    name = _names(attrs.get("name"), document["id"].rpartition(":")[2])
    return Described(
        types=tuple(document.get("type", ())),
        name=name or {},
        scope=scope,
        location=_centre(attrs.get("location", {}).get("value")),
        place=_names(attrs.get("address"), scope[0] if scope else None),
        related=related,
        values=values,
    )


def _default(instances: Any) -> Mapping[str, Any]:
    return next((one for one in instances if "datasetId" not in one), {})


def _names(attribute: Mapping[str, Any] | None, fallback: str | None) -> Names | None:
    """Texts in the three languages; a language that is missing takes the first there is."""
    found = (attribute or {}).get("languageMap")
    if isinstance(found, Mapping) and found:
        first = str(next(iter(found.values())))
        return {one: str(found.get(one, first)) for one in LANGUAGES}
    value = (attribute or {}).get("value")
    if isinstance(value, Mapping):  # Smart Data Models address
        value = " ".join(str(value[key]) for key in ("addressLocality", "streetAddress") if key in value) or None
    text = value if isinstance(value, str) else fallback
    return None if text is None else dict.fromkeys(LANGUAGES, text)


def _centre(geometry: Any) -> tuple[float, float] | None:
    """A point to fly to: the geometry's own, else the middle of its corners."""
    corners = list(_corners(geometry.get("coordinates"))) if isinstance(geometry, Mapping) else []
    if not corners:
        return None
    return sum(one[0] for one in corners) / len(corners), sum(one[1] for one in corners) / len(corners)


def _corners(coordinates: Any) -> list[tuple[float, float]]:
    if not isinstance(coordinates, list) or not coordinates:
        return []
    if isinstance(coordinates[0], int | float):
        return [(float(coordinates[0]), float(coordinates[1]))]
    return [corner for part in coordinates for corner in _corners(part)]
