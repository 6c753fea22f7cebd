"""Stored entities as clients see them: normalized, concise, simplified (clause 4.5). Used by all resources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.entity import KINDS
from haechi.core.times import format_iso
from haechi.services.ngsi_ld.names import Context

_WORDS = ("unitCode", "datasetId", "valueType", "entityIdSealed")


@dataclass(frozen=True, slots=True)
class View:
    """How entities are shown. `only`, `without`: internal names of attributes and id, type, scope; empty: all."""

    context: Context
    form: str = "normalized"
    sys_attrs: bool = False
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def shows(self, name: str) -> bool:
        """Whether that member is in the answer."""
        return (not self.only or name in self.only) and name not in self.without


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
        found |= {name: format_iso(entity[name]) for name in ("createdAt", "modifiedAt") if name in entity}
    for name, instances in entity["attrs"].items():
        if view.shows(name):
            found[compact(name)] = attribute(instances, view)
    return found


def attribute(instances: Sequence[Mapping[str, Any]], view: View) -> Any:
    """One attribute: its only instance, or the list of them (clause 4.5.5)."""
    if view.form == "simplified":
        if len(instances) == 1:
            return _simplified(instances[0], view)
        return {"dataset": {one.get("datasetId", "@none"): _simplified(one, view) for one in instances}}
    if view.form == "normalized":
        found = [_normalized(one, view) for one in instances]
    else:  # among several instances a bare value would read as a member of a list value
        found = [_concise(one, view, bare=len(instances) == 1) for one in instances]
    return found[0] if len(found) == 1 else found


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
    return {"type": instance["type"], KINDS[instance["type"]]: _content(instance, view), **_metadata(instance, view)}


def _metadata(instance: Mapping[str, Any], view: View) -> dict[str, Any]:
    found: dict[str, Any] = {name: instance[name] for name in _WORDS if name in instance}
    if "observedAt" in instance:
        found["observedAt"] = format_iso(instance["observedAt"])
    for member in ("objectType", "entityTypeSealed"):
        if types := instance.get(member):
            names = [view.context.compact(one) for one in types]
            found[member] = names[0] if len(names) == 1 else names
    if view.sys_attrs:
        found |= {name: format_iso(instance[name]) for name in ("createdAt", "modifiedAt") if name in instance}
    for name, instances in instance.get("attrs", {}).items():
        found[view.context.compact(name)] = attribute(instances, view)
    return found


def _concise(instance: Mapping[str, Any], view: View, bare: bool) -> Any:
    """Clause 4.5.4: no type, and a value that needs nothing beside it stands alone."""
    kind, metadata, content = instance["type"], _metadata(instance, view), _content(instance, view)
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
    content = _content(instance, view)
    wrap = _BARE.get(instance["type"])
    return content if wrap is None else wrap(content)
