"""NGSI-LD entities become samples in each representation of clause 4.5; what is none is refused."""

from typing import Any

import orjson
import pytest

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import parse_iso
from haechi.plugins.codecs.ngsi_ld import create

ID = "urn:ngsi-ld:AirQualityObserved:gimpo:AS-01"
NINE = parse_iso("2026-11-22T09:00:00Z")


def samples(payload: Any) -> list[Sample]:
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return list(create({}).decode(Message("push", "gateway", "", raw, 0)))


def entity(**attributes: Any) -> dict[str, Any]:
    return {"id": ID, "type": "AirQualityObserved", **attributes}


def test_normalized_and_concise_forms_give_the_same_samples() -> None:
    body = {"value": 12.5, "unitCode": "GQ", "observedAt": "2026-11-22T09:00:00Z"}
    expected = [Sample("pm25", 12.5, NINE, "GQ", device=ID)]
    assert samples(entity(pm25={"type": "Property", **body})) == expected
    assert samples(entity(pm25=body)) == expected


def test_a_simplified_entity_gives_its_values_as_they_are() -> None:
    point = {"type": "Point", "coordinates": [126.7, 37.6]}
    found = samples(entity(pm25=12.5, state="on", location=point, list=[1, 2], gone=None))
    assert [(one.field, one.value) for one in found] == [
        ("pm25", 12.5),
        ("state", "on"),
        ("location", point),
        ("list", [1, 2]),
    ]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"type": "Relationship", "object": "urn:a:b"}, "urn:a:b"),
        (
            {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}},
            {"type": "Point", "coordinates": [1, 2]},
        ),
        ({"type": "LanguageProperty", "languageMap": {"ko": "가"}}, {"ko": "가"}),
        ({"type": "VocabProperty", "vocab": "closed"}, "closed"),
        ({"type": "JsonProperty", "json": {"a": 1}}, {"a": 1}),
    ],
)
def test_each_kind_of_attribute_says_its_value_in_its_own_member(attribute: dict[str, Any], value: Any) -> None:
    assert [one.value for one in samples(entity(a=attribute))] == [value]


def test_sub_attributes_and_further_instances_are_fields_of_their_own() -> None:
    found = samples(
        entity(
            pm25=[
                {"value": 1, "accuracy": {"value": 0.1}},
                {"value": 2, "datasetId": "urn:d:2"},
            ]
        )
    )
    assert [(one.field, one.value) for one in found] == [("pm25", 1), ("pm25.accuracy", 0.1), ("pm25#urn:d:2", 2)]


def test_many_entities_and_a_notification_are_read_one_after_the_other() -> None:
    two = [entity(a=1), {"id": "urn:x:2", "b": 2}]
    expected = [("a", ID), ("b", "urn:x:2")]
    assert [(one.field, one.device) for one in samples(two)] == expected
    notification = {"id": "urn:n:1", "type": "Notification", "subscriptionId": "urn:s:1", "data": two}
    assert [(one.field, one.device) for one in samples(notification)] == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{", "malformed"),
        ([1], "bad_entity"),
        ({"type": "X", "a": 1}, "bad_entity"),
        ({"id": "no uri", "a": 1}, "bad_entity"),
        (entity(a={"type": "Property"}), "bad_attribute"),
        (entity(a={"value": 1, "observedAt": "yesterday"}), "bad_time"),
        (entity(a={"value": 1, "observedAt": "2026-11-22T09:00:00"}), "bad_time"),
        (entity(a={"value": 1, "observedAt": 5}), "bad_time"),
        (entity(a={"value": 1, "unitCode": 5}), "bad_unit"),
        (entity(), "empty"),
        ([], "empty"),
        (entity(a={"value": "urn:ngsi-ld:null"}), "empty"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_stable_reason(payload: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        samples(payload)
    assert caught.value.reason == expected


def test_sub_attributes_without_end_are_refused() -> None:
    deep: dict[str, Any] = {"value": 1}
    for _ in range(20):
        deep = {"value": 1, "sub": deep}
    with pytest.raises(InvalidData, match="deeper"):
        samples(entity(a=deep))


def test_it_has_no_settings() -> None:
    with pytest.raises(InvalidSettings, match="depth"):
        create({"depth": 3})
