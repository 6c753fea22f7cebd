"""What most entities look like is read by the short way exactly as by the long one: same entity, or same complaint."""

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haechi.core import attribute
from haechi.core.errors import InvalidData
from haechi.core.plain import Plain
from haechi.services.ngsi_ld.names import Context

CONTEXT = Context(
    terms={"speed": "https://gimpo.example/terms#speed", "tempo": "https://gimpo.example/terms#speed", "ort": "x:y"},
    vocab="https://gimpo.example/own#",
)
NULL = "urn:ngsi-ld:null"
URI = st.sampled_from(["urn:ngsi-ld:Building:1", "urn:x:1", NULL, "no uri", "urn:x:\u200b", "", 5, None, ["urn:x:1"]])
INSTANT = st.sampled_from(
    ["2026-11-22T09:00:00Z", "2026-11-22T09:00:00.123456Z", "2026-11-22", "9999-12-31T23:59:59Z", "x" * 50, NULL, 7]
)
NUMBER = st.sampled_from([0, 1, -1, 20.5, 126.7, 37.6, 181, -91.0, 10**30, float("inf"), float("nan"), True, "1"])
POINT = st.fixed_dictionaries(
    {"type": st.sampled_from(["Point", "Point", "LineString", "point"]), "coordinates": st.lists(NUMBER, max_size=4)},
    optional={"bbox": st.just([1, 2]), "geometries": st.just([])},
)
WORD = st.one_of(NUMBER, st.text(max_size=3), st.just(NULL), st.none(), st.booleans())
VALUE = st.one_of(WORD, POINT, st.lists(WORD, max_size=2), st.dictionaries(st.text(max_size=2), WORD, max_size=2), URI)
KIND = st.sampled_from(
    ["Property", "GeoProperty", "Relationship", "LanguageProperty", "ListProperty", "Nothing", ["Property"], None]
)
MEMBERS = {
    "unitCode": st.sampled_from(["CEL", "", NULL, 5]),
    "observedAt": INSTANT,
    "datasetId": URI,
    "quality": WORD,
    "createdAt": INSTANT,
    "instanceId": URI,
}
SOUND = st.sampled_from(
    [
        {"type": "Property", "value": 20.5},
        {"type": "Property", "value": "office", "observedAt": "2026-11-22T09:00:00Z"},
        {"type": "Property", "value": 20.5, "unitCode": "CEL"},
        {"type": "Property", "value": 20.5, "observedAt": "2026-11-22T09:00:00Z", "unitCode": "CEL"},
        {"type": "Relationship", "object": "urn:x:1"},
        {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [126.7, 37.6]}},
        5,
        "text",
    ]
)
ATTRIBUTE = st.one_of(
    SOUND,
    WORD,
    POINT,
    st.fixed_dictionaries({"type": KIND, "value": VALUE}, optional=MEMBERS),
    st.fixed_dictionaries({"value": VALUE, "type": KIND}, optional=MEMBERS),
    st.fixed_dictionaries({"type": KIND, "object": URI}, optional=MEMBERS),
    st.lists(SOUND, min_size=1, max_size=2),
)
TERM = st.sampled_from(
    ["temperature", "speed", "tempo", "ort", "location", "ngsildproof", "urn:x:name", "no name", "value", "observedAt"]
)
HEAD = st.fixed_dictionaries(
    {"id": st.one_of(st.just("urn:ngsi-ld:Building:1"), URI)},
    optional={
        "type": st.sampled_from(["Building", ["Building", "ort"], "Property type", "", 5, "id", None]),
        "@type": st.just("Building"),
        "@id": URI,
        "scope": st.sampled_from(["/gimpo", ["/gimpo", "/a/b", "/gimpo"], "gimpo", [], 5]),
        "expiresAt": INSTANT,
        "createdAt": INSTANT,
        "@context": st.just("https://gimpo.example/context.jsonld"),
    },
)
DOCUMENT = st.builds(lambda head, rest: {**head, **rest}, HEAD, st.dictionaries(TERM, ATTRIBUTE, max_size=4))


def long_way(document: dict[str, Any]) -> Any:
    try:
        return attribute.entity_from(deepcopy(document), CONTEXT.expand)
    except InvalidData as error:
        return error.reason, str(error)


def short_way(plain: Plain, document: dict[str, Any]) -> Any:
    try:
        return plain.entity(deepcopy(document))
    except InvalidData as error:
        return error.reason, str(error)


def text(found: Any) -> str:
    """With the order of members, which is kept, and NaN, which equals nothing."""
    return repr(found)


@settings(max_examples=300, deadline=None)
@given(st.lists(DOCUMENT, min_size=1, max_size=3))
def test_any_entity_is_read_by_the_short_way_as_by_the_long_one(documents: list[dict[str, Any]]) -> None:
    plain = Plain(CONTEXT.expand)
    for document in [*documents, *documents]:  # the second time its shape is known
        assert text(short_way(plain, document)) == text(long_way(document))


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(TERM, ATTRIBUTE, max_size=4),
    st.sampled_from([attribute.WHOLE, attribute.UPDATE, attribute.FRAGMENTS]),
)
def test_attributes_without_an_entity_are_read_alike_too(document: dict[str, Any], reading: str) -> None:
    plain = Plain(CONTEXT.expand)

    def read(way: Any) -> Any:
        try:
            return way(deepcopy(document))
        except InvalidData as error:
            return error.reason, str(error)

    for _ in range(2):
        long = read(lambda one: attribute.attributes_from(one, CONTEXT.expand, reading))
        assert text(read(lambda one: plain.attributes(one, reading))) == text(long)


def test_a_plain_entity_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def long(*_: object) -> None:
        raise AssertionError("the long way")

    plain = Plain(CONTEXT.expand)
    document = {
        "id": "urn:ngsi-ld:Building:1",
        "type": "Building",
        "temperature": {"type": "Property", "value": 20.5, "unitCode": "CEL", "observedAt": "2026-11-22T09:00:00Z"},
        "owner": {"type": "Relationship", "object": "urn:ngsi-ld:Person:1"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [126.7, 37.6]}},
        "speed": 5,
    }
    for name in ("entity_from", "attributes_from", "read_one"):
        monkeypatch.setattr(attribute, name, long)
    assert list(plain.entity(document)["attrs"]) == [
        "https://gimpo.example/own#temperature",
        "https://gimpo.example/own#owner",
        "location",
        "https://gimpo.example/terms#speed",
    ]


def test_shapes_that_nobody_repeats_are_not_kept_for_ever() -> None:
    plain = Plain(CONTEXT.expand)
    for number in range(1_000):
        plain.entity({"id": "urn:x:1", "type": f"T{number}", f"a{number}": 1})
    assert len(plain._shapes) <= 100
    assert len(plain._types) <= 100
    wide = {f"a{number}": number for number in range(200)}
    assert orjson.dumps(plain.attributes(wide)) == orjson.dumps(attribute.attributes_from(wide, CONTEXT.expand))
