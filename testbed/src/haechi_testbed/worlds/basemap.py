"""Base map layers of a generated world as GeoJSON; drawn by our own hand and generator, no map data of others."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from haechi_testbed.worlds.names import DONGS
from haechi_testbed.worlds.roads import is_arterial
from haechi_testbed.worlds.streets import Point

if TYPE_CHECKING:
    from haechi_testbed.worlds.gimpo import World

# Coarse outlines by hand, longitude and latitude: good for orientation, not for measuring.
HAN = [
    (126.820, 37.588), (126.806, 37.597), (126.790, 37.611), (126.772, 37.628), (126.750, 37.645), (126.728, 37.662),
    (126.712, 37.676), (126.700, 37.694), (126.692, 37.714), (126.680, 37.736), (126.664, 37.752), (126.655, 37.760),
    (126.690, 37.760), (126.703, 37.742), (126.713, 37.718), (126.722, 37.698), (126.738, 37.682), (126.760, 37.664),
    (126.782, 37.647), (126.800, 37.630), (126.820, 37.614),
]  # fmt: skip
YEOMHA = [
    (126.520, 37.600), (126.528, 37.602), (126.536, 37.625), (126.533, 37.652), (126.526, 37.680), (126.520, 37.700),
]  # fmt: skip
CANAL = [
    (126.640, 37.5700), (126.690, 37.5725), (126.740, 37.5790), (126.775, 37.5860), (126.806, 37.5960),
    (126.808, 37.5945), (126.777, 37.5842), (126.742, 37.5772), (126.692, 37.5708), (126.660, 37.5700),
]  # fmt: skip
HIGHWAYS = [
    [(126.820, 37.592), (126.770, 37.605), (126.735, 37.618), (126.712, 37.630), (126.690, 37.640), (126.660, 37.646),
     (126.630, 37.662), (126.606, 37.690), (126.580, 37.722)],
    [(126.806, 37.600), (126.775, 37.622), (126.742, 37.646), (126.712, 37.667), (126.694, 37.684), (126.672, 37.716)],
    [(126.610, 37.570), (126.622, 37.606), (126.630, 37.632), (126.640, 37.655), (126.652, 37.690), (126.640, 37.735)],
    [(126.540, 37.612), (126.580, 37.622), (126.625, 37.634), (126.668, 37.636), (126.710, 37.631)],
]  # fmt: skip
WATERS = {
    "han": ({"ko": "한강", "zh": "汉江", "en": "Han River"}, (126.765, 37.648)),
    "yeomha": ({"ko": "염하", "zh": "盐河水道", "en": "Yeomha Channel"}, (126.527, 37.640)),
    "canal": ({"ko": "경인아라뱃길", "zh": "京仁运河", "en": "Gyeongin Canal"}, (126.735, 37.577)),
}
CITY_NAME = {"ko": "김포시", "zh": "金浦市", "en": "Gimpo"}
SIZES = {"res": (15.0, 11.0), "com": (22.0, 16.0), "pub": (34.0, 22.0)}


def layers(world: World) -> dict[str, str]:
    """File name -> text of every layer."""
    return {
        "map/land.geojson": _collection([_polygon(_rectangle(), {})]),
        "map/water.geojson": _collection(
            [
                _polygon(ring, {"name": WATERS[name][0]})
                for name, ring in (("han", HAN), ("yeomha", YEOMHA), ("canal", CANAL))
            ]
        ),
        "map/boundary.geojson": _collection(_districts(world)),
        "map/roads.geojson": _collection(_roads(world)),
        "map/building.geojson": _collection(_buildings(world)),
        "map/labels.geojson": _collection(_labels(world)),
    }


def _collection(features: list[dict[str, Any]]) -> str:
    lines = ",\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in features)
    return '{"type":"FeatureCollection","synthetic":true,"features":[\n' + lines + "\n]}\n"


def _feature(geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"synthetic": True, **properties}, "geometry": geometry}


def _polygon(ring: list[tuple[float, float]], properties: dict[str, Any]) -> dict[str, Any]:
    closed = [list(one) for one in (*ring, ring[0])]
    return _feature({"type": "Polygon", "coordinates": [closed]}, properties)


def _rectangle() -> list[tuple[float, float]]:
    return [(126.52, 37.57), (126.82, 37.57), (126.82, 37.76), (126.52, 37.76)]


def _roads(world: World) -> list[dict[str, Any]]:
    found = [
        _feature({"type": "LineString", "coordinates": [list(at) for at in line]}, {"class": "primary"})
        for line in HIGHWAYS
    ]
    for one, other in world.streets.edges:
        ends = [world.frame.to_lonlat(world.streets.at[node]) for node in (one, other)]
        kind = "secondary" if is_arterial((one, other)) else "residential"
        found.append(_feature({"type": "LineString", "coordinates": ends}, {"class": kind}))
    return found


def _buildings(world: World) -> list[dict[str, Any]]:
    """One building a meter, turned as the streets are."""
    turn = math.radians(17.0)
    found = []
    for meter in world.network.meters:
        width, depth = SIZES[meter.category]
        corners: list[Point] = [(-width, -depth), (width, -depth), (width, depth), (-width, depth)]
        ring = []
        for x, y in corners:
            east = meter.at[0] + (x * math.cos(turn) - y * math.sin(turn)) / 2
            north = meter.at[1] + (x * math.sin(turn) + y * math.cos(turn)) / 2
            lon, lat = world.frame.to_lonlat((east, north))
            ring.append((round(lon, 5), round(lat, 5)))
        found.append(_polygon(ring, {}))
    return found


def _districts(world: World) -> list[dict[str, Any]]:
    """A rounded outline around each metered district."""
    found = []
    for area, (x, y) in enumerate(world.network.plan.centres):
        members = [one.at for one in world.network.junctions.values() if one.area == area]
        reach = max(math.hypot(at[0] - x, at[1] - y) for at in members)
        ring = []
        for step in range(24):
            angle = 2 * math.pi * step / 24
            far = max([_along((at[0] - x, at[1] - y), angle) for at in members] + [reach * 0.4]) + 60
            lon, lat = world.frame.to_lonlat((x + far * math.cos(angle), y + far * math.sin(angle)))
            ring.append((lon, lat))
        found.append(_polygon(ring, {"district": f"D{area + 1:02d}"}))
    return found


def _along(at: Point, angle: float) -> float:
    """How far a place reaches in a direction, if it lies about there."""
    far = math.hypot(*at)
    off = abs((math.atan2(at[1], at[0]) - angle + math.pi) % (2 * math.pi) - math.pi)
    return far if off < math.radians(12) else 0.0


def _labels(world: World) -> list[dict[str, Any]]:
    found = [_label(CITY_NAME, (126.7156, 37.6153), "city")]
    for place, names in DONGS.items():
        middles = [at for at, one in zip(world.network.plan.centres, world.places, strict=True) if one == place]
        middle = (sum(x for x, _ in middles) / len(middles), sum(y for _, y in middles) / len(middles))
        lon, lat = world.frame.to_lonlat(middle)
        found.append(_label(names, (lon, lat), "dong"))
    return found + [_label(names, at, "water") for names, at in WATERS.values()]


def _label(names: dict[str, str], at: tuple[float, float], kind: str) -> dict[str, Any]:
    texts = {f"name_{one}": text for one, text in names.items()}
    return _feature({"type": "Point", "coordinates": list(at)}, {"class": kind, "name": names, **texts})
