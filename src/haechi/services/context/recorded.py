"""What the temporal API's writes mean to the live model (NGSI-LD clauses 5.6.11 to 5.6.16). Used by the projection.

Instances recorded there are observations that come late or fresh: the live model takes the newest, only ever forward.
An entity nobody else has written is there because of its history, and goes with it.
"""

from collections.abc import Mapping
from typing import Any

from haechi.core import entity as stored
from haechi.core.entity import NULL, Entity, Instance

RECORD, FORGET = "record", "forget"
_MARK = "recorded"


def record(old: Entity | None, body: Mapping[str, Any], at: int) -> Entity | None:
    """The entity with the newest of the instances of `body`; types are added, the scope is replaced when given. What is
    recorded of an entity that is no more (`"past": true`) does not bring it back."""
    entity = old
    if entity is None:
        if body.get("past"):
            return None
        entity = {**stored.new(body["id"], body["type"], at), _MARK: True}
    entity["type"] = list(dict.fromkeys([*entity["type"], *body.get("type", ())]))
    if body.get("scope"):
        entity["scope"] = body["scope"]
    for name, instances in body["attrs"].items():
        for one in instances:
            _forward(entity, name, one, at)
    entity["modifiedAt"] = at
    return entity


def _forward(entity: Entity, name: str, given: Instance, at: int) -> None:
    content = stored.content(given)
    if name == "scope" or content is None or NULL in (content, content.get("@none") if _is_map(content) else None):
        return
    known: list[Instance] = entity["attrs"].setdefault(name, [])
    before = stored.find(known, given.get("datasetId"))
    fresh = {key: value for key, value in given.items() if key not in {"instanceId", "createdAt"}}
    fresh |= {"createdAt": at if before is None else before.get("createdAt", at), "modifiedAt": at}
    if before is None:
        known.append(fresh)
    elif _instant(before, 0) <= given.get("observedAt", at):
        known[known.index(before)] = fresh


def _is_map(content: object) -> bool:
    return isinstance(content, dict)


def _instant(instance: Instance, default: int) -> int:
    known = instance.get("observedAt", instance.get("modifiedAt"))
    return default if known is None else int(known)


def forget(old: Entity | None, attribute: str, where: Mapping[str, Any]) -> Entity | None:
    """What stays of an entity when its history is taken back: all of it, unless it is there by its history alone."""
    if old is None or not old.get(_MARK):
        return old
    if not attribute:
        return None
    if "observedAt" not in where and attribute in old["attrs"]:
        dataset = where.get("datasetId")
        left = [] if where.get("all") else [one for one in old["attrs"][attribute] if one.get("datasetId") != dataset]
        old["attrs"] = {**old["attrs"], attribute: left} if left else _without(old["attrs"], attribute)
    return old


def _without(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != name}


def adopted(entity: Entity) -> None:
    """Somebody wrote it through another interface: from now on it outlives its history."""
    entity.pop(_MARK, None)
