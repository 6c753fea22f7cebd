"""Geographical queries: the box never loses an answer, distances are metres, and no parameter does harm."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from haechi.core import geo
from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld import geoq

_LON, _LAT = st.floats(-180, 180), st.floats(-90, 90)


def entity(lon: float, lat: float) -> dict[str, Any]:
    return {"attrs": {"location": [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}]}}


def parse(**given_: str) -> Any:
    return geoq.parse(given_.get, str)


@given(_LON, _LAT, _LON, _LAT, st.floats(0.1, 2.5e7))
def test_near_equals_the_haversine_and_its_box_loses_nobody(
    lon: float, lat: float, x: float, y: float, limit: float
) -> None:
    box, test = parse(georel=f"near;maxDistance=={limit}", geometry="Point", coordinates=f"[{lon},{lat}]")
    distance = geo.metres(lon, lat, x, y)
    assume(abs(distance - limit) > 1e-3)
    assert test(entity(x, y)) == (distance <= limit)
    if box is not None and distance <= limit:
        assert box.west <= x <= box.east
        assert box.south <= y <= box.north


def test_distances_agree_with_known_ones() -> None:
    assert geo.metres(126.9780, 37.5665, 129.0756, 35.1796) == pytest.approx(325_000, rel=0.01)  # Seoul, Busan
    assert geo.metres(179.9, 0, -179.9, 0) == pytest.approx(22_239, rel=0.001)
    assert geo.metres(0, 90, 123, 90) == pytest.approx(0, abs=1e-6)


_JUNK = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "[1,2]",
            "[[0,0],[1,1]]",
            "[[[0,0],[1,0],[1,1],[0,0]]]",
            "[]",
            "[[]]",
            "null",
            '"x"',
            "[1e400,2]",
            "[181,0]",
            "1",
        ]
    ),
    st.recursive(
        st.one_of(st.floats(), st.none(), st.booleans()), lambda one: st.lists(one, max_size=4), max_leaves=8
    ).map(str),
)


@given(
    st.one_of(
        st.sampled_from(["within", "near;maxDistance==5", "near;minDistance==1", "overlaps", "disjoint", "equals"]),
        st.text(max_size=20),
    ),
    st.one_of(st.sampled_from(sorted(geo.GEOMETRIES)), st.text(max_size=8)),
    _JUNK,
)
def test_no_parameters_do_more_than_be_understood_or_refused(georel: str, geometry: str, coordinates: str) -> None:
    try:
        _, test = parse(georel=georel, geometry=geometry, coordinates=coordinates)
    except InvalidData:
        return
    for value in ({"type": "Point", "coordinates": [1, 1]}, {"type": "Polygon", "coordinates": []}, {"type": "Point"}):
        stored = {"attrs": {"location": [{"type": "GeoProperty", "value": value}]}}
        assert test(stored) in (True, False)


_GEOJSON = st.recursive(
    st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda one: st.one_of(
        st.lists(one, max_size=4),
        st.fixed_dictionaries(
            {"type": st.sampled_from(sorted(geo.GEOMETRIES))},
            optional={"coordinates": one, "geometries": st.lists(one)},
        ),
    ),
    max_leaves=10,
)


@given(_GEOJSON)
def test_any_value_is_a_sound_geometry_or_refused_and_extents_never_raise(value: Any) -> None:
    bounds = geo.extent(value)
    assert bounds is None or (-180 <= bounds[0] <= bounds[2] <= 180 and -90 <= bounds[1] <= bounds[3] <= 90)
    try:
        built = geo.check(value)
    except InvalidData:
        return
    assert bounds == pytest.approx(built.bounds)


def test_a_symbol_lies_on_a_point_amid_an_area_and_on_a_line() -> None:
    assert geo.centre({"type": "Point", "coordinates": [1, 2, 99]}) == (1, 2)
    assert geo.centre({"type": "LineString", "coordinates": [[0, 0], [5, 1], [10, 0]]}) == (5, 1)
    assert geo.centre({"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 2], [0, 0]]]}) == (2, 1)
    assert geo.centre(None) is None
