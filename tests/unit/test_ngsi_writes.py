"""What a change over NGSI-LD implies for history and rules, and where a path leads."""

from copy import deepcopy
from typing import Any

import pytest

from haechi.faces.ngsi_ld.routes import _RESOURCES, _matching
from haechi.faces.ngsi_ld.writes import Change, implied

OLD: dict[str, Any] = {
    "id": "urn:ngsi-ld:Pump:1",
    "type": ["Pump"],
    "createdAt": 1,
    "modifiedAt": 1,
    "attrs": {
        "flow": [
            {"type": "Property", "value": 1, "unitCode": "MTQ", "observedAt": 5, "createdAt": 1, "modifiedAt": 1},
            {"type": "Property", "value": 7, "datasetId": "urn:d:1", "createdAt": 1, "modifiedAt": 1},
        ],
        "shape": [{"type": "Property", "value": {"a": 1, "b": {"c": 2}}, "createdAt": 1, "modifiedAt": 1}],
    },
}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"attrs": {"flow": [{"value": 2}]}}, [("flow", 2.0, None, "MTQ", 20)]),
        ({"attrs": {"flow": [{"type": "Property", "value": 2}]}, "whole": True}, [("flow", 2.0, None, None, 20)]),
        (
            {"attrs": {"flow": [{"value": 3, "datasetId": "urn:d:1"}], "new": [{"type": "Property", "value": "on"}]}},
            [("new", None, '"on"', None, 20)],
        ),
        (
            {"attrs": {"shape": [{"value": {"b": {"c": None}}, "observedAt": 9}]}},
            [("shape", None, '{"a":1,"b":{}}', None, 9)],
        ),
        (
            {"attrs": {"shape": [{"value": {"b": 4}, "observedAt": 9}]}, "shallow": True},
            [("shape", None, '{"b":4}', None, 9)],
        ),
        ({"attrs": {"flow": None}, "type": ["Valve"], "scope": ["/a"]}, []),
    ],
)
def test_a_partial_change_implies_the_merged_values_of_its_attributes_and_leaves_what_was_read(
    body: dict[str, Any], said: list[tuple[Any, ...]]
) -> None:
    old = deepcopy(OLD)
    found = implied(Change("merge", OLD["id"], body, old=old), 20)
    assert [(one.attribute, one.value, one.text, one.unit, one.observed_at) for one in found] == said
    assert old == OLD


def test_every_resource_is_found_by_its_path_and_nothing_else_is() -> None:
    for pattern, methods in _RESOURCES.items():
        found = _matching(["x" if one == "*" else one for one in pattern])
        assert found == (pattern, methods, ["x"] * pattern.count("*"))
    assert _matching([""]) is None
    assert _matching(["entities", "x", "attributes"]) is None
