"""Stored entities as clients see them: normalized, concise, simplified (clause 4.5). Used by all resources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.attribute import name_from
from haechi.core.entity import KINDS
from haechi.core.errors import InvalidData, NotSupported
from haechi.core.times import format_iso
from haechi.faces.ngsi_ld.contexts import Context
from haechi.faces.ngsi_ld.requests import Parameters

_SIMPLIFIED = frozenset({"keyValues", "simplified"})
_WORDS = ("unitCode", "datasetId", "valueType")


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


def view_of(given: Parameters, context: Context) -> View:
    """The view that parameters ask for (clauses 6.3.7, 6.3.11, 4.21): options, format, attrs, pick, omit."""
    forms = {
        "simplified" if one in _SIMPLIFIED else one for one in given.options & {*_SIMPLIFIED, "concise", "normalized"}
    }
    if len(forms) > 1:
        raise InvalidData(f"options ask for {' and '.join(sorted(forms))} at once; choose one", "bad_request")
    attrs = frozenset(map(context.expand, given.names("attrs")))
    pick, omit = _projection(given, "pick", context), _projection(given, "omit", context)
    if attrs and (pick or omit):
        raise InvalidData("attrs is the older way to say pick and omit; send attrs or those", "bad_request")
    if both := pick & omit:
        raise InvalidData(f"{sorted(both)[0]} is both in pick and in omit; take it out of one", "bad_request")
    only = attrs | {"id", "type", "scope"} if attrs else pick
    form = forms.pop() if forms else "normalized"
    return View(context, form, "sysAttrs" in given.options, only, omit)


def _projection(given: Parameters, name: str, context: Context) -> frozenset[str]:
    """The members a projection names (clause 4.21): separated by , or |; those of linked entities are not read yet."""
    text = given.get(name)
    if text is None:
        return frozenset()
    if text.count("{") == text.count("}") > 0:
        raise NotSupported(f"{name} of linked entities, {text[:60]!r}, is not supported yet; leave the braces out")
    return frozenset(context.expand(name_from(one.strip())) for one in text.replace("|", ",").split(","))


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
    if types := instance.get("objectType"):
        names = [view.context.compact(one) for one in types]
        found["objectType"] = names[0] if len(names) == 1 else names
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
    "ListProperty": lambda content: {"valueList": content},
    "ListRelationship": lambda content: {"objectList": content},
}


def _simplified(instance: Mapping[str, Any], view: View) -> Any:
    content = _content(instance, view)
    wrap = _BARE.get(instance["type"])
    return content if wrap is None else wrap(content)
