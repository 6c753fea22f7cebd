"""NGSI-LD entities to samples: normalized, concise or simplified, one, many or in a notification; `ngsi_ld` in links.

ETSI GS CIM 009 v1.9.1, clauses 4.5 (representations) and 5.3.1 (notification). device = the entity's id, field = the
attribute's name; a sub-attribute is the field `attribute.sub`, an instance with a datasetId `attribute#<datasetId>`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import parse_iso

DEEPEST = 8  # levels of sub-attributes
NULL = "urn:ngsi-ld:null"
# Clause 4.5: where an attribute keeps what it says, by kind; the first present counts.
VALUES = ("value", "object", "languageMap", "vocab", "json", "valueList", "objectList")
_KINDS = frozenset({"Property", "Relationship", "GeoProperty", "LanguageProperty", "VocabProperty", "JsonProperty"}) | {
    "ListProperty",
    "ListRelationship",
}
_ABOUT = frozenset({"id", "type", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
_ABOUT_ATTRIBUTE = frozenset(
    {"type", "unitCode", "observedAt", "datasetId", "createdAt", "modifiedAt", "deletedAt", "instanceId", "lang"}
    | {"objectType", "previousValue", "previousObject", "previousLanguageMap", "entity", "entityList", *VALUES}
)


def create(settings: Mapping[str, Any]) -> "NgsiLdCodec":
    """The codec of a link; it has no settings. `InvalidSettings` when some are given."""
    if settings:
        raise InvalidSettings(f"codec_settings: the codec ngsi_ld has none, remove {', '.join(settings)}")
    return NgsiLdCodec()


class NgsiLdCodec:
    """`ports.Codec`. Refuses: malformed, bad_entity, bad_attribute, bad_time, bad_unit, too_deep, empty."""

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples entity by entity, in the order of the payload; `InvalidData` names entity and attribute."""
        try:
            payload = orjson.loads(message.payload)
        except orjson.JSONDecodeError as error:
            raise InvalidData(f"not JSON: {error}; send NGSI-LD entities as JSON in UTF-8", "malformed") from error
        if isinstance(payload, dict) and payload.get("type") == "Notification":
            payload = payload.get("data")
        entities = payload if isinstance(payload, list) else [payload]
        found: list[Sample] = []
        for entity in entities:
            _read_entity(entity, found)
        if not found:
            raise InvalidData("no attribute with a value in the payload", "empty")
        return found


def _read_entity(entity: Any, found: list[Sample]) -> None:
    id = entity.get("id") if isinstance(entity, dict) else None
    if not isinstance(id, str) or ":" not in id:
        raise InvalidData(f"an entity is an object whose id is a URI, not {str(entity)[:60]!r}", "bad_entity")
    for name, attribute in entity.items():
        if name not in _ABOUT:
            _read_attribute(name, attribute, id, found)


def _read_attribute(field: str, attribute: Any, id: str, found: list[Sample], depth: int = 1) -> None:
    if depth > DEEPEST:
        raise InvalidData(f"{id} {field}: sub-attributes deeper than {DEEPEST} levels", "too_deep")
    if isinstance(attribute, list) and attribute and all(_is_instance(one) for one in attribute):
        for one in attribute:
            _read_attribute(field, one, id, found, depth + 1)
    elif _is_instance(attribute):
        _read_instance(field, attribute, id, found, depth)
    elif isinstance(attribute, dict) and attribute.get("type") in _KINDS:
        raise InvalidData(f"{id} {field}: a {attribute['type']} without {' or '.join(VALUES[:3])}", "bad_attribute")
    elif attribute not in (None, NULL):  # simplified: the value itself, a geometry included
        found.append(Sample(field, attribute, device=id))


def _is_instance(attribute: Any) -> bool:
    return isinstance(attribute, dict) and any(name in attribute for name in VALUES)


def _read_instance(field: str, instance: dict[str, Any], id: str, found: list[Sample], depth: int) -> None:
    where = f"{id} {field}"
    dataset = instance.get("datasetId")
    if dataset not in (None, "@none"):
        field = f"{field}#{dataset}"
    value = next(instance[name] for name in VALUES if name in instance)
    if value not in (None, NULL):
        unit = instance.get("unitCode")
        if unit is not None and not isinstance(unit, str):
            raise InvalidData(f"{where}: unitCode must be a text, not {str(unit)[:60]!r}", "bad_unit")
        found.append(Sample(field, value, _instant(instance, where), unit, device=id))
    for name, attribute in instance.items():
        if name not in _ABOUT_ATTRIBUTE:
            _read_attribute(f"{field}.{name}", attribute, id, found, depth + 1)


def _instant(instance: Mapping[str, Any], where: str) -> int | None:
    text = instance.get("observedAt")
    if text is None:
        return None
    try:
        return parse_iso(text)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidData(f"{where}: observedAt {text!r}: {error}", "bad_time") from error
