"""Geographical queries (clause 4.10): georel, geometry, coordinates and geoproperty to a box and an exact test."""

import re
from collections.abc import Callable, Mapping
from math import cos, radians
from typing import Any

import numpy as np
import orjson
import shapely
from shapely.geometry import mapping

from haechi.core import geo
from haechi.core.errors import InvalidData
from haechi.ports import Box

Test = Callable[[Mapping[str, Any]], bool]
_NEAR = re.compile(r"near;(maxDistance|minDistance)==(\d+(?:\.\d+)?(?:[eE]\+?\d{1,2})?)", re.ASCII)
_RELATIONS = ("near", "within", "contains", "intersects", "equals", "disjoint", "overlaps")
_NO_BOX = frozenset({"disjoint"})
_HALF_ROUND_M = 20_100_000.0


def parse(given: Callable[[str], str | None], expand: Callable[[str], str]) -> tuple[Box | None, Test] | None:
    """A box that holds all answers (None: it cannot narrow) and the exact test; None when nothing was asked.

    Distances are great-circle metres. Raises `InvalidData` for half a question and for geometry that crosses itself.
    """
    georel, geometry, coordinates = given("georel"), given("geometry"), given("coordinates")
    if georel is None and geometry is None and coordinates is None:
        if given("geoproperty") is not None:
            raise InvalidData("geoproperty needs georel, geometry and coordinates beside it", "bad_request")
        return None
    if georel is None or geometry is None or coordinates is None:
        raise InvalidData("a geographical query needs all of georel, geometry and coordinates", "bad_request")
    reference = geo.check(_geometry(geometry, coordinates))
    attribute = expand(given("geoproperty") or "location")
    relation, limit = _georel(georel)
    test = _near(reference, relation, limit) if limit is not None else _relation(reference, relation)
    box = _box(reference, relation, limit) if attribute == "location" else None
    return box, _on(attribute, test)


def _geometry(kind: str, coordinates: str) -> dict[str, Any]:
    if kind not in geo.GEOMETRIES or kind == "GeometryCollection":
        raise InvalidData(
            f"geometry must be one of {', '.join(sorted(geo.GEOMETRIES - {'GeometryCollection'}))}", "bad_request"
        )
    try:
        return {"type": kind, "coordinates": orjson.loads(coordinates)}
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"coordinates must be a JSON array such as [126.7,37.6]: {error}", "bad_request") from error


def _georel(text: str) -> tuple[str, float | None]:
    """(relation, metres): for near the relation is maxDistance or minDistance."""
    if (match := _NEAR.fullmatch(text)) and 0 < float(match[2]) < 1e12:
        return match[1], float(match[2])
    if text in _RELATIONS and text != "near":
        return text, None
    raise InvalidData(
        f"georel={text[:60]!r}: near;maxDistance==2000 (metres), near;minDistance==… or {', '.join(_RELATIONS[1:])}",
        "bad_request",
    )


def _box(reference: Any, relation: str, limit: float | None) -> Box | None:
    if relation in _NO_BOX or relation == "minDistance":
        return None
    bounds = reference.bounds
    if limit is None:
        return Box(*bounds)
    return Box(*geo.around(bounds, limit)) if limit < _HALF_ROUND_M else None


def _on(attribute: str, test: Callable[[Mapping[str, Any]], bool]) -> Test:
    """Entities without that GeoProperty answer no geographical query (clause 4.10)."""

    def entity_test(entity: Mapping[str, Any]) -> bool:
        instances = entity["attrs"].get(attribute, ())
        return any(one["type"] == "GeoProperty" and _safely(test, one["value"]) for one in instances)

    return entity_test


def _safely(test: Callable[[Mapping[str, Any]], bool], geometry: Mapping[str, Any]) -> bool:
    """A device may have sent a geometry that crosses itself: it stands in no relation to anything."""
    try:
        return test(geometry)
    except (ValueError, TypeError, KeyError, IndexError, shapely.GEOSException):
        return False


def _relation(reference: Any, relation: str) -> Callable[[Mapping[str, Any]], bool]:
    shapely.prepare(reference)
    if relation == "within":
        return lambda geometry: bool(
            shapely.contains_xy(reference, *geometry["coordinates"][:2])
            if geometry["type"] == "Point"
            else reference.contains(geo.shape_of(geometry))
        )
    opposite = {
        "contains": "within",
        "equals": "equals",
        "intersects": "intersects",
        "disjoint": "disjoint",
        "overlaps": "overlaps",
    }
    ask = getattr(reference, opposite[relation])
    return lambda geometry: bool(ask(geo.shape_of(geometry)))


def distance_from(reference: Any) -> Callable[[Mapping[str, Any]], float]:
    """Metres from a geometry (shapely) to a stored one; raises ValueError or TypeError when that is none."""
    return _distance(reference)


def _near(reference: Any, relation: str, limit: float) -> Callable[[Mapping[str, Any]], bool]:
    distance = _distance(reference)
    if relation == "maxDistance":
        return lambda geometry: distance(geometry) <= limit
    return lambda geometry: distance(geometry) >= limit


def _distance(reference: Any) -> Callable[[Mapping[str, Any]], float]:
    """Metres from the reference: exact between points, else between the nearest parts on a local plane."""
    lon, lat = reference.centroid.x, reference.centroid.y

    def measure(geometry: Mapping[str, Any]) -> float:
        if geometry["type"] == "Point" and reference.geom_type == "Point":
            return geo.metres(lon, lat, *geometry["coordinates"][:2])
        return _between(reference, geo.shape_of(geometry))

    return measure


def _between(one: Any, other: Any) -> float:
    """Nearest points on a plane scaled at the middle latitude, then the great circle between them."""
    west = other.bounds[0] - one.bounds[2]
    shifted = shapely.transform(other, lambda xy: np.subtract(xy, (360, 0))) if west > 180 else other
    shifted = (
        shapely.transform(other, lambda xy: np.add(xy, (360, 0))) if one.bounds[0] - other.bounds[2] > 180 else shifted
    )
    scale = max(cos(radians((one.centroid.y + other.centroid.y) / 2)), 1e-6)
    flat = [
        shapely.transform(shapely.force_2d(each), lambda xy: np.multiply(xy, (scale, 1))) for each in (one, shifted)
    ]
    if flat[0].intersects(flat[1]):
        return 0.0
    line = shapely.shortest_line(flat[0], flat[1])
    (lon1, lat1), (lon2, lat2) = mapping(line)["coordinates"]
    return geo.metres(lon1 / scale, lat1, lon2 / scale, lat2)
