"""Stored entities as clients see them: normalized, concise, simplified (clause 4.5). Used by all resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from haechi.core.entity import KINDS
from haechi.core.times import format_iso
from haechi.services.ngsi_ld import languages, versions
from haechi.services.ngsi_ld.names import Context

_WORDS = frozenset({"lang", "unitCode", "datasetId", "valueType", "entityIdSealed"})
_TYPES = frozenset({"objectType", "entityTypeSealed"})
_TRANSLATED = frozenset({"VocabProperty", "ListRelationship"})  # whose content is not shown as it is stored


@dataclass(frozen=True, slots=True)
class Linked:
    """Entities to show inside the relationships that lead to them, `level` links deep; never those of `above`."""

    entities: Mapping[str, Mapping[str, Any]]
    level: int
    above: frozenset[str]


@dataclass(frozen=True, slots=True)
class View:
    """How entities are shown. `only`, `without`: internal names of attributes and id, type, scope; empty: all.

    `datasets`: which instances, `@none` for the default ones, empty: all; `languages`: ranges, best first; `unknown`:
    kinds of attributes that the client's edition lacks; `inner`: views of entities linked by an attribute.
    """

    context: Context
    form: str = "normalized"
    sys_attrs: bool = False
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()
    languages: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    inner: Mapping[str, View] = field(default_factory=dict)
    linked: Linked | None = None

    def shows(self, name: str) -> bool:
        """Whether that member is in the answer."""
        return (not self.only or name in self.only) and name not in self.without

    def of_datasets(self, instances: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The instances asked for (clause 4.5.5)."""
        if not self.datasets:
            return instances
        return [one for one in instances if one.get("datasetId", "@none") in self.datasets]

    def inside(self, name: str) -> View:
        """How entities are shown that this attribute leads to."""
        found = self.inner.get(name)
        return found if found is not None else replace(self, only=frozenset(), without=frozenset(), inner={})

    def with_linked(self, linked: Linked | None) -> View:
        """The same with those entities inside."""
        return replace(self, linked=linked)


def shown(entity: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The entity in the form of the view, names compacted."""
    compact = view.context.compact
    found: dict[str, Any] = {"id": entity["id"]} if view.shows("id") else {}
    if view.shows("type"):
        types = [compact(one) for one in entity["type"]]
        found["type"] = types[0] if len(types) == 1 else types
    scope = entity.get("scope")
    if scope and view.shows("scope"):
        found["scope"] = scope[0] if len(scope) == 1 else scope
    if view.sys_attrs:
        found |= {name: format_iso(entity[name]) for name in ("createdAt", "modifiedAt", "expiresAt") if name in entity}
    chosen = bool(view.only or view.without)
    for name, instances in entity["attrs"].items():
        if chosen and not view.shows(name):
            continue
        if view.datasets and not (instances := view.of_datasets(instances)):
            continue
        found[compact(name)] = attribute(instances, view if view.linked is None else _towards(name, view))
    return found


def _towards(name: str, view: View) -> View:
    """The view of an attribute, whose `inner` is that of the entities it leads to."""
    linked = view.linked
    if linked is None or linked.level < 1:
        return view.with_linked(None)
    return replace(view, inner={"": view.inside(name)})


def attribute(instances: Sequence[Mapping[str, Any]], view: View) -> Any:
    """One attribute: its only instance, or the list of them (clause 4.5.5)."""
    if view.unknown:
        instances = [versions.amended(_compacted(one, view), view.unknown) for one in instances]
    if view.languages:
        instances = [languages.chosen(one, view.languages) for one in instances]
    if view.form == "simplified":
        if len(instances) == 1:
            return _simplified(instances[0], view)
        return {"dataset": {one.get("datasetId", "@none"): _simplified(one, view) for one in instances}}
    if view.form == "normalized":
        if len(instances) == 1:
            return _normalized(instances[0], view)
        found = [_normalized(one, view) for one in instances]
    else:  # among several instances a bare value would read as a member of a list value
        found = [_concise(one, view, bare=len(instances) == 1) for one in instances]
    return found[0] if len(found) == 1 else found


def _compacted(instance: Mapping[str, Any], view: View) -> Mapping[str, Any]:
    """A VocabProperty with the terms of the client instead of IRIs, before it becomes something else."""
    if instance["type"] != "VocabProperty" or "VocabProperty" not in view.unknown:
        return instance
    return {**instance, "vocab": _content(instance, view)}


def _entity_at(target: object, view: View) -> dict[str, Any] | None:
    """The linked entity as it is shown inside; None when there is none to show."""
    linked = view.linked
    if linked is None or not isinstance(target, str) or target in linked.above:
        return None
    entity = linked.entities.get(target)
    if entity is None:
        return None
    deeper = Linked(linked.entities, linked.level - 1, linked.above | {target})
    return shown(entity, view.inner[""].with_linked(deeper)) or None


def _entities(instance: Mapping[str, Any], view: View) -> dict[str, Any]:
    """`entity` or `entityList` of a relationship (clause 4.5.23.2)."""
    kind = instance["type"]
    if kind not in {"Relationship", "ListRelationship"}:
        return {}
    target = instance.get(KINDS[kind])
    found = [_entity_at(one, view) for one in (target if isinstance(target, list) else [target])]
    there = [one for one in found if one is not None]
    if not there:
        return {}
    if kind == "ListRelationship":
        return {"entityList": there}
    return {"entity": there if isinstance(target, list) else there[0]}


def _content(instance: Mapping[str, Any], view: View) -> Any:
    content = instance.get(KINDS[instance["type"]])
    if instance["type"] == "VocabProperty":
        return (
            [view.context.compact(one) for one in content]
            if isinstance(content, list)
            else view.context.compact(str(content))
        )
    if instance["type"] == "ListRelationship" and isinstance(content, list):
        return [{"object": one} for one in content]
    return content


def _normalized(instance: Mapping[str, Any], view: View) -> dict[str, Any]:
    kind = instance["type"]
    member = KINDS[kind]
    content = _content(instance, view) if kind in _TRANSLATED else instance.get(member)
    found = {"type": kind, member: content, **_metadata(instance, view)}
    return found if view.linked is None else {**found, **_entities(instance, view)}


def _metadata(instance: Mapping[str, Any], view: View) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in instance.items():
        if name in _WORDS:
            found[name] = value
        elif name == "observedAt":
            found[name] = format_iso(value)
        elif name in _TYPES and value:
            names = [view.context.compact(one) for one in value]
            found[name] = names[0] if len(names) == 1 else names
    if view.sys_attrs:
        found |= {
            name: format_iso(instance[name]) for name in ("createdAt", "modifiedAt", "expiresAt") if name in instance
        }
    if attributes := instance.get("attrs"):
        flat = view if view.linked is None else view.with_linked(None)
        for name, instances in attributes.items():
            found[view.context.compact(name)] = attribute(instances, flat)
    return found


def _concise(instance: Mapping[str, Any], view: View, bare: bool) -> Any:
    """Clause 4.5.4: no type, and a value that needs nothing beside it stands alone."""
    kind, metadata, content = instance["type"], _metadata(instance, view), _content(instance, view)
    if view.linked is not None:
        metadata |= _entities(instance, view)
    if bare and kind in {"Property", "GeoProperty"} and not metadata and not _needs_member(kind, content):
        return content
    return {KINDS[kind]: content, **metadata}


def _needs_member(kind: str, content: Any) -> bool:
    """Whether the bare value would be read back as something else."""
    return kind == "Property" and isinstance(content, dict | list)


_BARE: Mapping[str, Callable[[Any], Any]] = {
    "LanguageProperty": lambda content: {"languageMap": content},
    "VocabProperty": lambda content: {"vocab": content},
    "JsonProperty": lambda content: {"json": content},
    "ListRelationship": lambda content: [one["object"] for one in content],
}


def _simplified(instance: Mapping[str, Any], view: View) -> Any:
    if view.linked is not None and (inside := _with_entities(instance, view)) is not None:
        return inside
    content = _content(instance, view)
    wrap = _BARE.get(instance["type"])
    return content if wrap is None else wrap(content)


def _with_entities(instance: Mapping[str, Any], view: View) -> Any:
    """Simplified, the linked entity stands where its id would (clause 4.5.23.2); None when there is none."""
    if instance["type"] not in {"Relationship", "ListRelationship"}:
        return None
    target = instance.get(KINDS[instance["type"]])
    if not isinstance(target, list):
        return _entity_at(target, view)
    return [one if (inside := _entity_at(one, view)) is None else inside for one in target]
