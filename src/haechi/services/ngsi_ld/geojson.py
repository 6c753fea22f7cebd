"""Entities as GeoJSON (clauses 4.5.16, 4.5.17). Used by entity consumption."""

from collections.abc import Mapping
from typing import Any

from haechi.core import geo
from haechi.core.entity import location


def feature(entity: Mapping[str, Any], document: Mapping[str, Any], geoproperty: str) -> dict[str, Any]:
    """A Feature of the entity, shown as `document`; its geometry is the default instance of that GeoProperty, null
    when there is none."""
    geometry = location(entity, geoproperty)
    properties = {name: value for name, value in document.items() if name not in {"id", "@context"}}
    identity = {"id": document["id"]} if "id" in document else {}
    shape = geometry if geo.is_geometry(geometry) else None
    return {**identity, "type": "Feature", "geometry": shape, "properties": properties}


def collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    """The FeatureCollection of an answer to a query."""
    return {"type": "FeatureCollection", "features": features}
