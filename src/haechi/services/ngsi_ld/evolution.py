"""Rows of history as instances of attributes, and as clients see them (clauses 4.5.6 to 4.5.9, 4.5.19). Used by the
temporal API.

An instanceId follows from attribute, datasetId and instant, so that history needs none of its own; where an instance
was moved to another instant, it is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
import pyarrow as pa

from haechi.core.entity import KINDS, NULL, Instance
from haechi.core.geo import is_geometry
from haechi.core.times import format_iso
from haechi.ports import Periods
from haechi.services.ngsi_ld.representation import View, attribute
from haechi.services.ngsi_ld.temporal import end_of

PREFIX = "urn:ngsi-ld:Instance:"
SCOPE = "scope"
_PLURAL: Mapping[str, str] = {
    "value": "values",
    "object": "objects",
    "languageMap": "languageMaps",
    "vocab": "vocabs",
    "json": "jsons",
    "valueList": "valueLists",
    "objectList": "objectLists",
}
_WRAPPED = frozenset({"languageMap", "vocab", "json"})
_SUMS: Mapping[str, str] = {
    "totalCount": "rows",
    "distinctCount": "distinct_rows",
    "sum": "total",
    "avg": "mean",
    "min": "low",
    "max": "high",
    "stddev": "spread",
    "sumsq": "squares",
}
_EXACT = 1 << 53
_INSTANTS = ("observed_at", "created_at", "modified_at")


@dataclass(frozen=True, slots=True)
class Row:
    """One instance of the evolution of an entity; `at` is the instant it is ordered by."""

    entity: str
    attribute: str
    dataset: str
    observed_at: int
    at: int
    instance: Instance  # stored form, with instanceId, createdAt, modifiedAt


def rows_of(table: pa.Table, by: str) -> list[Row]:
    """Instances of an answer of history (`core.instances.EVOLUTION`), in its order. Parts of instances are completed
    from the one before."""
    series = zip(*(table.column(name).to_pylist() for name in ("entity", "attribute", "dataset")), strict=True)
    contents = zip(*(table.column(name).to_pylist() for name in ("kind", "value", "text", "unit", "more")), strict=True)
    instants = [table.column(name).cast(pa.int64()).to_pylist() for name in _INSTANTS]
    order = instants[_INSTANTS.index(by) if by in _INSTANTS else 0]
    others = zip(*(table.column(name).to_pylist() for name in ("stated", "instance")), order, strict=True)
    whole: dict[tuple[str, str, str], Instance] = {}
    found = []
    rows = zip(series, contents, zip(*instants, strict=True), others, strict=True)
    for key, content, (observed_at, created_at, modified_at), (stated, id, at) in rows:
        entity, name, dataset = key
        if content[:3] == (None, None, None):
            given = _completed(whole.get(key), orjson.loads(content[4]))
        else:
            given = _instance(*content)
        if given is None:
            continue  # a part of what was before the time asked about
        whole[key] = given
        own = {"createdAt": created_at, "modifiedAt": modified_at}
        own["instanceId"] = id or instance_id(entity, name, dataset, observed_at)
        if stated:
            own["observedAt"] = observed_at
        if dataset:
            own["datasetId"] = dataset
        found.append(Row(entity, name, dataset, observed_at, at, {**given, **own}))
    return found


def _completed(before: Instance | None, part: Instance) -> Instance | None:
    """The instance that a part changes, with it: members of an object join those there were (clause 5.5.12)."""
    kind = part.get("type") or (before and before["type"])
    member = KINDS[kind] if kind else ""
    if before is None or before["type"] != kind:
        return part if member in part else None
    joined = {**before, **part}
    if isinstance(part.get(member), dict) and isinstance(before[member], dict):
        joined[member] = {**before[member], **part[member]}
        joined[member] = {name: one for name, one in joined[member].items() if one is not None and one != NULL}
    return {name: one for name, one in joined.items() if one is not None}


def _instance(kind: str | None, value: float | None, text: str | None, unit: str | None, more: str | None) -> Instance:
    content = (int(value) if value.is_integer() and abs(value) < _EXACT else value) if value is not None else None
    if text is not None:
        content = orjson.loads(text)
    if kind is None:
        kind = "GeoProperty" if isinstance(content, dict) and is_geometry(content) else "Property"
    instance = {"type": kind, KINDS[kind]: content, **(orjson.loads(more) if more else {})}
    return instance if unit is None else {**instance, "unitCode": unit}


def instance_id(entity: str, name: str, dataset: str, observed_at: int) -> str:
    """The URI of the instance of that series at that instant."""
    digest = blake2b("\0".join((entity, name, dataset)).encode(), digest_size=8).hexdigest()
    return f"{PREFIX}{observed_at}-{digest}"


def instant_of(id: str) -> int | None:
    """The instant in an instanceId of ours; None when it has none."""
    text = id.removeprefix(PREFIX).rpartition("-")[0]
    return int(text) if id.startswith(PREFIX) and text.removeprefix("-").isdecimal() and len(text) < 20 else None


def normalized(rows: Sequence[Row], names: Iterable[str], view: View) -> dict[str, Any]:
    """Attributes as arrays of instances (clause 4.5.7); of `names` also those without any."""
    shown: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        shown.setdefault(row.attribute, []).append(_normalized(row, view))
    return {view.context.compact(name): instances for name, instances in shown.items()}


def _normalized(row: Row, view: View) -> Any:
    if row.attribute == SCOPE:
        scope = row.instance["value"]
        value = scope[0] if isinstance(scope, list) and len(scope) == 1 else scope
        found: Any = {"type": "Property", "value": value}
        instants = ("observedAt", "deletedAt", *(("createdAt", "modifiedAt") if view.sys_attrs else ()))
        return found | {name: format_iso(row.instance[name]) for name in instants if name in row.instance}
    found = attribute([row.instance], view)
    if not isinstance(found, dict) or KINDS[row.instance["type"]] not in found:
        found = {KINDS[row.instance["type"]]: found}  # concise: a bare value has nowhere to put its instanceId
    deleted = {"deletedAt": format_iso(row.instance["deletedAt"])} if "deletedAt" in row.instance else {}
    return {**found, **deleted, "instanceId": row.instance["instanceId"]}


def simplified(rows: Sequence[Row], names: Iterable[str], view: View) -> dict[str, Any]:
    """Per attribute and dataset the pairs of content and instant (clause 4.5.9)."""
    series: dict[str, dict[str, list[Row]]] = {name: {} for name in names}
    for row in rows:
        series.setdefault(row.attribute, {}).setdefault(row.dataset, []).append(row)
    shown: dict[str, Any] = {}
    for name, datasets in series.items():
        many = [_pairs(one, dataset, view) for dataset, one in datasets.items()] or [{"type": "Property", "values": []}]
        shown[view.context.compact(name)] = many[0] if len(many) == 1 else many
    return shown


def _pairs(rows: Sequence[Row], dataset: str, view: View) -> dict[str, Any]:
    kind = rows[-1].instance["type"]
    member = KINDS[kind]
    pairs = [[_content(row.instance, view), format_iso(row.at)] for row in rows if row.instance["type"] == kind]
    return {"type": kind, **({"datasetId": dataset} if dataset else {}), _PLURAL[member]: pairs}


def _content(instance: Instance, view: View) -> Any:
    member = KINDS[instance["type"]]
    content = instance[member]
    if member == "vocab":
        compact = view.context.compact
        content = [compact(one) for one in content] if isinstance(content, list) else compact(str(content))
    return {member: content} if member in _WRAPPED else content


def aggregated(sums: Iterable[Mapping[str, Any]], methods: Sequence[str], how: Periods, view: View) -> dict[str, Any]:
    """Per attribute and dataset, per method, triples of value, start and end of the period (clause 4.5.19)."""
    series: dict[str, dict[str, dict[str, Any]]] = {}
    for one in sums:
        given = _kind_of(one)
        shown = series.setdefault(one["attribute"], {}).setdefault(one["dataset"], given)
        start, end = one["period_at"], end_of(one["period_at"], how, one["last_at"])
        for method, value in _values(one, methods):
            shown.setdefault(method, []).append([value, format_iso(start), format_iso(end)])
    found = {}
    for name, datasets in series.items():
        many = list(datasets.values())
        found[view.context.compact(name)] = many[0] if len(many) == 1 else many
    return found


def _kind_of(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": one["kind"] or "Property", **({"datasetId": one["dataset"]} if one["dataset"] else {})}


def _values(one: Mapping[str, Any], methods: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What a method says of these instances; nothing where it says nothing of such contents (table 4.5.19.1-1)."""
    for method in methods:
        value = one[_SUMS[method]]
        if value is None and method in {"min", "max"}:
            text = one["low_text" if method == "min" else "high_text"]
            value = None if text is None else orjson.loads(text)
        if value is not None:
            yield method, value


def deletions(said: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What deletions and replacements took away, as instances with a deletedAt (clause 4.5.7), in order.

    `said`: rows of `EvolutionReader.said`; `known`: entity, attribute, dataset and kind of every series there was.
    """
    found = []
    for one in said:
        if one["act"] == "type":
            continue
        kept = set(orjson.loads(one["text"])) if one["act"] == "replace" else set()
        for series in known:
            if series["entity"] == one["entity"] and series["attribute"] not in kept and _is_gone(one, series):
                found.append(_deleted(series, one["modified_at"]))
    return found


def _is_gone(one: Mapping[str, Any], series: Mapping[str, Any]) -> bool:
    if not one["attribute"]:
        return True
    return bool(one["attribute"] == series["attribute"] and one["dataset"] in ("*", series["dataset"]))


def _deleted(series: Mapping[str, Any], at: int) -> Row:
    name, dataset, kind = series["attribute"], series["dataset"], series["kind"] or "Property"
    content: Any = {"@none": NULL} if kind == "LanguageProperty" else [] if name == SCOPE else NULL
    instance = {"type": kind, KINDS[kind]: content, "deletedAt": at, "modifiedAt": at}
    instance["instanceId"] = instance_id(series["entity"], name, f"{dataset} deleted", at)
    if dataset:
        instance["datasetId"] = dataset
    return Row(series["entity"], name, dataset, at, at, instance)
