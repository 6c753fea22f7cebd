"""Whatever a client sends is answered: with what it asked for, or with a 4xx that says what to do. Never 500.

Generated from the pieces of the grammars (q, scopeQ, csf, geo-queries, temporal queries) and of documents, so that most
of it is nearly right. `HAECHI_FUZZ=N` asks for N examples of each instead of a few.
"""

import os
from typing import Any

import httpx
import pytest
from conftest_ngsi import Api, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(
    max_examples=int(os.environ.get("HAECHI_FUZZ", "40")),
    deadline=None,
    derandomize="HAECHI_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_Q = """a b.c a[b] a[b.c] a{b} a{T:b} == != >= <= > < ~= !~= ; | ( ) ! "x" "x y" 1 -1.5 1e400 true 2026-01-01T00:00:00Z
2026-13-45T99:00:00Z 10:00:00Z urn:x:1 .. , 1..2 "a","b" .* [ ] { } \\ é 漢 % %22 """.split(" ")  # noqa: SIM905 - pieces are read as one
_SCOPES = ["/a", "/a/b", "/+", "/#", "+", "#", "/", "//", ",", ";", "(", ")", "|", "/é", " ", "a", "/a/+/b/#"]
_GEO = {
    "georel": [
        "near;maxDistance==10",
        "near;minDistance==-1",
        "near",
        "within",
        "contains",
        "intersects",
        "equals",
        "x;;",
    ],
    "geometry": ["Point", "Polygon", "LineString", "MultiPolygon", "GeometryCollection", "point", ""],
    "coordinates": [
        "[1,2]",
        "[[1,2],[3,4]]",
        "[[[0,0],[2,2],[2,0],[0,2],[0,0]]]",
        "[1e999,0]",
        "[181,91]",
        "[",
        "null",
        "[[]]",
    ],
    "geoproperty": ["location", "a.b", "", "{"],
}
_TIME = {
    "timerel": ["before", "after", "between", "during", ""],
    "timeAt": [
        "2026-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "now",
        "",
    ],
    "endTimeAt": ["2026-02-01T00:00:00Z", "-1", ""],
    "timeproperty": ["observedAt", "createdAt", "modifiedAt", "deletedAt", "x"],
    "lastN": ["1", "0", "-1", "99999999999999", "x"],
    "aggrMethods": ["avg", "max,min", "avg,,", "distinctCount", "x"],
    "aggrPeriodDuration": ["PT1H", "P1Y2M", "PT0S", "P", "PT1e9S", "P99999999Y"],
    "options": ["temporalValues", "aggregatedValues", "sysAttrs", "x"],
    "q": ["a>1", "((", "a=="],
}
_PROJECTED = ["id", "type", "a", "a{b}", "a{", "}", ",", "|", "é", "*", "", "urn:x:1", "a.b"]


def _some(pieces: list[str], most: int = 8) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces) | st.text(max_size=3), max_size=most).map("".join)


def _choice(parts: dict[str, list[str]]) -> st.SearchStrategy[dict[str, str]]:
    names = {name: st.sampled_from(values) | st.text(max_size=4) for name, values in parts.items()}
    return st.fixed_dictionaries({}, optional=names)


_LEAF = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
_WORDS = st.sampled_from(
    """id type value object languageMap vocab json valueList objectList unitCode observedAt expiresAt datasetId scope
    @context @type @id @none coordinates location notification endpoint uri entities q geoQ csf information entity
    createdAt timeInterval throttling join pick omit""".split()  # noqa: SIM905 - a list of words is read as one
)
_VALUES = st.sampled_from(
    [
        "Property",
        "Relationship",
        "GeoProperty",
        "LanguageProperty",
        "ListProperty",
        "Point",
        "urn:ngsi-ld:null",
        "urn:x:1",
        *(
            "2026-01-01T00:00:00Z",
            "Subscription",
            "ContextSourceRegistration",
            "Query",
            "Building",
            "@none",
            "http://a.b/",
        ),
    ]
)
_JSON = st.recursive(
    _LEAF | _VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def _answered(response: httpx.Response) -> None:
    if response.status_code >= 400:
        body = response.json()
        assert response.status_code < 500 or response.status_code == 504, response.text
        assert body["type"].startswith("https://uri.etsi.org/ngsi-ld/errors/")
        assert len(body["detail"]) > 10


@FEW
@given(text=_some(_Q), scopes=_some(_SCOPES), csf=_some(_Q), values=st.booleans())
async def test_q_scope_q_and_csf_are_answered(api: Api, text: str, scopes: str, csf: str, values: bool) -> None:
    for asked in ({"q": text}, {"scopeQ": scopes}, {"csf": csf}, {"q": text, "scopeQ": scopes, "join": "inline"}):
        _answered(
            await api.http.get("entities", params={"type": "A", **asked} | ({"expandValues": "a"} if values else {}))
        )
    _answered(await api.http.get("csourceRegistrations", params={"type": "A", "csf": csf}))


@FEW
@given(place=_choice(_GEO), pick=_some(_PROJECTED), order=_some([*_PROJECTED, ";desc", ";asc", ";dist-asc"]))
async def test_geo_queries_projections_and_orders_are_answered(
    api: Api, place: dict[str, str], pick: str, order: str
) -> None:
    for asked in (
        place,
        {"pick": pick},
        {"omit": pick},
        {"orderBy": order},
        {"attrs": pick},
        {"type": pick},
        {"id": pick},
    ):
        _answered(await api.http.get("entities", params={"local": "true", **asked}))


@FEW
@given(time=_choice(_TIME), place=_choice(_GEO))
async def test_temporal_queries_are_answered(api: Api, time: dict[str, str], place: dict[str, str]) -> None:
    for path in ("temporal/entities", "temporal/entities/urn:x:1", "temporal/entityMaps"):
        more = {"type": "A", **place} if path == "temporal/entities" else {}
        _answered(await api.http.get(path, params={**more, **time}))


@FEW
@given(body=_JSON)
async def test_bodies_are_answered(api: Api, body: Any) -> None:
    whole = {"id": "urn:x:1", "type": "A", **body} if isinstance(body, dict) else body
    for method, path in (
        ("POST", "entities"),
        ("PATCH", "entities/urn:x:1"),
        ("PATCH", "entities/urn:x:1/attrs"),
        ("PUT", "entities/urn:x:1/attrs/a"),
        ("POST", "subscriptions"),
        ("POST", "csourceRegistrations"),
        ("POST", "jsonldContexts"),
        ("POST", "entityOperations/query"),
        ("POST", "temporal/entities"),
    ):
        _answered(await api.http.request(method, path, json=whole))
        _answered(await api.http.request(method, path, json=whole, headers={"Content-Type": "application/ld+json"}))
    _answered(await api.http.post("entityOperations/upsert", json=[whole, body]))


@FEW
@given(
    tenant=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6),
    accept=_some(["application/", "json", "ld+json", "*/*", ";q=", "0", "x", ","]),
    link=_some(["<", "http://x/", ">", ";", 'rel="http://www.w3.org/ns/json-ld#context"', ",", "urn:x"]),
)
async def test_headers_are_answered(api: Api, tenant: str, accept: str, link: str) -> None:
    plain = {name: value.encode("ascii", "ignore") for name, value in (("Accept", accept), ("Link", link))}
    for headers in ({"NGSILD-Tenant": tenant.encode()}, plain, {"NGSILD-EntityMap": plain["Link"]}):
        _answered(await api.http.get("entities", params={"type": "A"}, headers=headers))


async def test_the_bad_input_that_the_interface_names_is_refused_and_nothing_of_it_is_stored(api: Api) -> None:
    json, ld = {"Content-Type": "application/json"}, {"Content-Type": "application/ld+json"}
    deep = b'{"id":"urn:x:1","type":"A","a":' + b"[" * 100 + b"]" * 100 + b"}"
    many = b"[" + b",".join(b'{"id":"urn:x:%d","type":"A"}' % one for one in range(100_000)) + b"]"
    cross = '{"type":"Polygon","coordinates":[[[0,0],[2,2],[2,0],[0,2],[0,0]]]}'
    place = b'{"id":"urn:x:1","type":"A","location":{"type":"GeoProperty","value":%s}}' % cross.encode()
    for path, content, headers, status, says in (
        ("entities", b'{"id":', json, 400, "not JSON"),
        ("entities", b'{"id":"urn:x:1","type":"A","@context":7}', ld, 400, "@context"),
        ("entities", b'{"id":"urn:x:1","type":"A","@context":{"a":{"@id":7}}}', ld, 400, "a"),
        ("entities", place, json, 400, "location"),
        ("entities", b'{"id":"' + b"x" * (10 * 2**20) + b'"}', json, 413, "10485760"),
        ("entityOperations/create", many, json, 413, "100000"),
        ("entities", deep, json, 400, "60"),
        ("entities", b"<xml/>", {"Content-Type": "text/xml"}, 415, "text/xml"),
    ):
        response = await api.http.post(path, content=content, headers=headers)
        assert response.status_code == status, response.text
        assert says in response.json()["detail"]
    problem(await api.http.get("entities?type=A", headers={"NGSILD-Tenant": "nobody"}), 404, "NonexistentTenant")
    assert await api.ids(local="true") == []


@pytest.mark.parametrize("path", ["entities", "subscriptions", "csourceRegistrations", "types", "jsonldContexts"])
async def test_unknown_parameters_are_named(api: Api, path: str) -> None:
    assert "nosuch" in problem(await api.http.get(path, params={"nosuch": "1", "type": "A"}), 400, "InvalidRequest")
