"""What one observation or one command does to one stored entity. Pure; called by the context projection in log order.

`upsert` writes whole instances (an attribute's other instances stay), `replace` writes the whole entity, `merge` writes
only what its fragments name (null deletes), so that a partial change never undoes a device's newer value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from haechi.core import entity as stored
from haechi.core.entity import Entity, Instance
from haechi.core.geo import extent, is_geometry

_SYSTEM = ("createdAt", "modifiedAt")


def observe(entity: Entity, attribute: str, seen: tuple[Any, int, str | None, int], at: int) -> bool:
    """Takes over (value, observed_at, unit, quality) into the default instance unless it knows something newer.

    Between two observations of the same instant the later arrival wins. Returns whether anything changed.
    """
    content, observed_at, unit, quality = seen
    instances = entity["attrs"].setdefault(attribute, [])
    instance = stored.find(instances, None)
    if instance is None:
        instance = {"type": "Property", "createdAt": at}
        instances.append(instance)
    elif instance.get("observedAt", observed_at) > observed_at:
        return False
    kind = _kind_of(content)
    if instance["type"] != kind:
        for member in {*stored.KINDS.values(), "objectType"}:
            instance.pop(member, None)
        instance["type"] = kind
    instance["value"], instance["observedAt"], instance["quality"], instance["modifiedAt"] = (
        content,
        observed_at,
        quality,
        at,
    )
    if unit is not None:
        instance["unitCode"] = unit
    else:
        instance.pop("unitCode", None)
    entity["modifiedAt"] = at
    return True


def _kind_of(content: Any) -> str:
    return "GeoProperty" if isinstance(content, dict) and is_geometry(content) and extent(content) else "Property"


def upsert(old: Entity | None, body: Entity, at: int) -> Entity:
    """The entity with the instances of `body` put in; types are added, the scope is replaced when given."""
    if old is None:
        return _made(body, at, at)
    entity = old
    entity["type"] = list(dict.fromkeys([*entity["type"], *body.get("type", ())]))
    for member in ("scope", "expiresAt"):
        if member in body:
            entity[member] = body[member]
    for name, instances in body["attrs"].items():
        known = entity["attrs"].setdefault(name, [])
        for instance in instances:
            _put_instance(known, instance, at)
    entity["modifiedAt"] = at
    return entity


def _put_instance(known: list[Instance], instance: Instance, at: int) -> None:
    before = stored.find(known, instance.get("datasetId"))
    fresh = {**instance, "createdAt": at if before is None else before.get("createdAt", at), "modifiedAt": at}
    if before is None:
        known.append(fresh)
    else:
        known[known.index(before)] = fresh


def replace(old: Entity | None, body: Entity, at: int) -> Entity:
    """The entity as `body` says; only the instant of creation stays."""
    return _made(body, at if old is None else old.get("createdAt", at), at)


def _made(body: Entity, created_at: int, at: int) -> Entity:
    """The entity with nothing but what `body` says."""
    entity: Entity = {
        "id": body["id"],
        "type": list(dict.fromkeys(body["type"])),
        "createdAt": created_at,
        "modifiedAt": at,
        "attrs": {name: _fresh(instances, at) for name, instances in body["attrs"].items()},
    }
    for member in ("scope", "expiresAt"):
        if member in body:
            entity[member] = body[member]
    return entity


def _fresh(instances: Sequence[Instance], at: int) -> list[Instance]:
    if len(instances) == 1:
        return [{**instances[0], "createdAt": at, "modifiedAt": at}]
    known: list[Instance] = []
    for one in instances:
        _put_instance(known, one, at)
    return known


def delete_attribute(entity: Entity, attribute: str, where: Mapping[str, Any], at: int) -> bool:
    """Removes one instance (`{"datasetId": …}`, absent: the default) or `{"all": true}` of them; whether any went."""
    instances = entity["attrs"].get(attribute)
    if not instances:
        return False
    left = [] if where.get("all") else [one for one in instances if one.get("datasetId") != where.get("datasetId")]
    if len(left) == len(instances):
        return False
    entity["attrs"][attribute] = left
    if not left:
        del entity["attrs"][attribute]
    entity["modifiedAt"] = at
    return True


def merge(entity: Entity, body: Mapping[str, Any], at: int) -> Entity:
    """NGSI-LD merge (clause 5.5.12): members of `body` replace or join those of the entity, null removes them.

    `"shallow": true` in the body replaces compound values as a whole (partial attribute update, clause 5.6.4),
    `"whole": true` instances as a whole (attribute update, clause 5.6.2).
    """
    entity["type"] = list(dict.fromkeys([*entity["type"], *body.get("type", ())]))
    for member in ("scope", "expiresAt"):
        if body.get(member):
            entity[member] = body[member]
        elif member in body:
            entity.pop(member, None)
    if body.get("whole"):
        _replace_instances(entity["attrs"], body["attrs"], at)
    else:
        _merge_attributes(entity["attrs"], body["attrs"], at, not body.get("shallow"))
    entity["modifiedAt"] = at
    return entity


def _replace_instances(known: dict[str, Any], given: Mapping[str, Any], at: int) -> None:
    """Puts whole instances in, and takes those out whose content is null."""
    for name, instances in given.items():
        there = known.setdefault(name, [])
        for one in instances if instances is not None else ():
            if one[stored.KINDS[one["type"]]] is not None:
                _put_instance(there, one, at)
            elif (before := stored.find(there, one.get("datasetId"))) is not None:
                there.remove(before)
        if instances is None or not there:
            del known[name]


def _merge_attributes(known: dict[str, Any], fragments: Mapping[str, Any], at: int, deep: bool) -> None:
    for name, instances in fragments.items():
        if instances is None:
            known.pop(name, None)
            continue
        for fragment in instances:
            _merge_instance(known.setdefault(name, []), fragment, at, deep)
        if not known[name]:
            del known[name]


def _merge_instance(known: list[Instance], fragment: Instance, at: int, deep: bool) -> None:
    before = stored.find(known, fragment.get("datasetId"))
    kind: str | None = fragment.get("type") or (before["type"] if before else None)
    if kind is None:
        return  # nothing to merge into: the attribute was deleted after the face had looked
    member = stored.KINDS[kind]
    if member in fragment and fragment[member] is None:
        if before is not None:
            known.remove(before)
        return
    if before is None or before["type"] != kind:
        if member in fragment:
            _put_instance(known, {**_pruned(fragment), "type": kind}, at)
        return
    for name, value in fragment.items():
        if name == "attrs":
            _merge_attributes(before.setdefault("attrs", {}), value, at, deep)
        elif value is None:
            before.pop(name, None)
        else:
            before[name] = _merged(before.get(name), value) if name == member and deep else value
    before["modifiedAt"] = at


def _pruned(fragment: Mapping[str, Any]) -> dict[str, Any]:
    pruned = {name: value for name, value in fragment.items() if value is not None and name != "attrs"}
    if attributes := {name: one for name, one in fragment.get("attrs", {}).items() if one is not None}:
        pruned["attrs"] = attributes
    return pruned


def _merged(old: Any, new: Any) -> Any:
    """RFC 7396 on values, with the NGSI-LD null; geometries are replaced as a whole."""
    if not isinstance(new, dict) or is_geometry(new):
        return new
    result = dict(old) if isinstance(old, dict) and not is_geometry(old) else {}
    for name, value in new.items():
        if value is None or value == stored.NULL:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
