"""GeoJSON geometries in WGS-84: checks, extents, centres, distances. Used by context, entity stores and faces."""

from collections.abc import Iterator, Mapping
from math import asin, cos, degrees, isfinite, radians, sin, sqrt
from typing import Any

import shapely
from shapely.geometry import shape

from haechi.core.errors import InvalidData

SLIP = 1e-3
EARTH_M = 6_371_008.8  # mean radius, IUGG
Extent = tuple[float, float, float, float]  # west, south, east, north
_DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
GEOMETRIES = frozenset((*_DEPTH, "GeometryCollection"))


def is_geometry(value: object) -> bool:
    """Whether this looks like a GeoJSON geometry (RFC 7946, 3.1); `check` tells whether it is a sound one."""
    if not isinstance(value, dict) or str(value.get("type")) not in GEOMETRIES:
        return False
    return "coordinates" in value or "geometries" in value


def check(geometry: object) -> Any:
    """The sound geometry as a shapely object; `InvalidData` says what is wrong with it.

    Refused: wrong nesting, not finite or out-of-range positions, open or self-crossing rings, nothing in it.
    """
    if not isinstance(geometry, dict) or not is_geometry(geometry):
        raise InvalidData(
            f"not a GeoJSON geometry: give type (one of {', '.join(sorted(GEOMETRIES))}) and coordinates",
            "bad_geometry",
        )
    parts = _parts(geometry)
    for part in parts:
        _check_positions(part.get("coordinates"), _DEPTH[part["type"]], part["type"])
    try:
        built = shape(dict(geometry))
    except (ValueError, TypeError, IndexError, shapely.GEOSException) as error:
        raise InvalidData(f"not a {geometry['type']}: {error}", "bad_geometry") from error
    if not built.is_empty and not built.is_valid:
        built = _mended(built)
    if built.is_empty or not built.is_valid:
        raise InvalidData(
            f"this {geometry['type']} is not valid ({shapely.is_valid_reason(built)}): untangle its sides",
            "bad_geometry",
        )
    return built


def shape_of(geometry: Mapping[str, Any]) -> Any:
    """The stored geometry as a shapely object in which slips of digitising are mended."""
    built = shape(geometry)
    return built if built.is_valid else _mended(built)


def _mended(built: Any) -> Any:
    """An area whose sides cross each other so little that what they enclose wrongly is below a thousandth of it, as
    in outlines drawn by hand; others as they are."""
    if built.geom_type != "Polygon":
        return built
    found = shapely.make_valid(built)
    areas = sorted((one.area for one in getattr(found, "geoms", [found])), reverse=True)
    return found if sum(areas[1:]) <= SLIP * areas[0] else built


def _parts(geometry: Mapping[str, Any], depth: int = 0) -> list[Mapping[str, Any]]:
    if geometry["type"] != "GeometryCollection":
        return [geometry]
    members = geometry.get("geometries")
    if not isinstance(members, list) or not members or depth > 4 or not all(is_geometry(one) for one in members):
        raise InvalidData(
            "a GeometryCollection holds a list of geometries, not nested deeper than four levels", "bad_geometry"
        )
    return [part for one in members for part in _parts(one, depth + 1)]


def _check_positions(coordinates: object, depth: int, kind: str) -> None:
    if not isinstance(coordinates, list) or (depth and not coordinates):
        raise InvalidData(f"coordinates of a {kind} are arrays nested {depth + 1} deep", "bad_geometry")
    if depth:
        for one in coordinates:
            _check_positions(one, depth - 1, kind)
        if depth == 1 and kind.endswith("Polygon") and (len(coordinates) < 4 or coordinates[0] != coordinates[-1]):
            raise InvalidData(
                f"a ring of a {kind} has at least four positions and ends where it began (RFC 7946, 3.1.6)",
                "bad_geometry",
            )
        return
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) and isfinite(n) for n in coordinates)
    if len(coordinates) not in (2, 3) or not numbers:
        raise InvalidData(
            f"a position is [longitude, latitude] with an optional altitude, not {str(coordinates)[:60]}",
            "bad_geometry",
        )
    if abs(coordinates[0]) > 180 or abs(coordinates[1]) > 90:
        raise InvalidData(
            f"{coordinates[:2]} lies outside longitude ±180, latitude ±90; longitude comes first", "bad_geometry"
        )


def extent(geometry: object) -> Extent | None:
    """West, south, east, north of a geometry; None when it has no usable position (never raises: stores call it)."""
    if not isinstance(geometry, dict):
        return None
    coordinates: Any = geometry.get("coordinates")
    try:
        if geometry.get("type") == "Point":
            west, south = east, north = coordinates[0], coordinates[1]
            inside = -180 <= west <= 180 and -90 <= south <= 90
            return (float(west), float(south), float(east), float(north)) if inside else None
        found = list(_positions(geometry.get("geometries") if coordinates is None else coordinates))
        west, east = min(p[0] for p in found), max(p[0] for p in found)
        south, north = min(p[1] for p in found), max(p[1] for p in found)
        inside = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
        return (float(west), float(south), float(east), float(north)) if inside else None
    except (ValueError, TypeError, IndexError, KeyError):
        return None


def _positions(nested: object) -> Iterator[tuple[Any, Any]]:
    pending = [nested]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending.append(one.get("geometries") if "geometries" in one else one.get("coordinates"))
        elif isinstance(one, list) and one and not isinstance(one[0], list | dict):
            if len(one) >= 2:
                yield one[0], one[1]
        elif isinstance(one, list):
            pending.extend(one)


def centre(geometry: object) -> tuple[float, float] | None:
    """Longitude and latitude where a symbol for this geometry goes: on a point or line, amid an area."""
    bounds = extent(geometry)
    if bounds is None or not isinstance(geometry, dict):
        return None
    if geometry.get("type") == "LineString":
        line = geometry["coordinates"]
        return float(line[len(line) // 2][0]), float(line[len(line) // 2][1])
    return (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2


def metres(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """Great-circle distance (haversine) on the mean sphere; within 0.6 % of the ellipsoid."""
    phi1, phi2 = radians(lat1), radians(lat2)
    a = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(a)))


def around(bounds: Extent, distance_m: float) -> Extent:
    """The extent that holds everything within `distance_m` of `bounds`; all longitudes if it crosses 180° or a pole."""
    west, south, east, north = bounds
    step = degrees(distance_m / EARTH_M) * 1.000001
    low, high = south - step, north + step
    if low <= -90 or high >= 90:
        return -180.0, max(low, -90.0), 180.0, min(high, 90.0)
    # The widest reach in longitude of a circle lies poleward of its centre: sin(dlon) = sin(d) / cos(lat).
    ratio = sin(min(distance_m / EARTH_M, 1.5)) / cos(radians(max(abs(south), abs(north))))
    wide = degrees(asin(ratio)) * 1.000001 if ratio < 1 else 180.0
    if west - wide < -180 or east + wide > 180:
        return -180.0, low, 180.0, high
    return west - wide, low, east + wide, high
