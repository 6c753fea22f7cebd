"""Rows of `core.instances.INSTANCES` out of entity commands: what no observation can say. Used by writer and readers.

Relationships, texts in languages, instances with a datasetId or attributes of their own, scopes, types, deletions. A
plain value of a Property is an observation beside its command already and is not kept twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from haechi.core.entity import KINDS, NULL
from haechi.core.frame import EntityCommand
from haechi.core.instances import ANY, DELETE, FORGET, INSTANCES, PATCH, PUT, REPLACE, TYPE
from haechi.core.urn import type_of
from haechi.ports import Record

RECORDS, FORGETS = "record", "forget"  # operations of the temporal API
SCOPE = "scope"
_PLAIN = frozenset({"type", "value", "observedAt", "unitCode"})
_COLUMNS = ("type", "observedAt", "unitCode", "datasetId", "createdAt", "modifiedAt", "instanceId")
_KNOWN = frozenset((*_COLUMNS, *KINDS.values()))  # what has a column; the rest of an instance is `more`
_ABSENT: Any = object()
_NUMBERS = frozenset({float, int})  # of what JSON has
_WORDS = _NUMBERS | {str, bool}


class _Row(NamedTuple):
    """One row, in the order of INSTANCES up to `forgets`."""

    entity: str
    attribute: str
    dataset: str
    observed_at: int
    stated: int
    created_at: int
    modified_at: int
    kind: str | None = None
    value: float | None = None
    text: str | None = None
    unit: str | None = None
    more: str | None = None
    instance: str | None = None
    act: str = PUT
    forgets: int = 0


class _Spoken(NamedTuple):
    """One command with what its rows share."""

    command: EntityCommand
    body: Mapping[str, Any]
    at: int
    observed: bool  # a face wrote it: its plain values are observations in the same frame

    def row(self, attribute: str, act: str, **more: Any) -> _Row:
        """A row that is no instance."""
        given = {"dataset": "", "observed_at": self.at, "stated": 0, **more}
        return _Row(self.command.entity, attribute, created_at=self.at, modified_at=self.at, act=act, **given)


def of_records(records: Sequence[Record]) -> pa.RecordBatch:
    """What the commands of these records say, in order."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        frame = record.frame() if record.subject == "entity" else None
        if frame is None or not frame.commands:
            continue
        observed = frame.observations.num_rows > 0
        stored_at, seq = record.stored_at, record.seq
        said = [row for command in frame.commands for row in _rows(command, observed, stored_at)]
        rows += [(*row, stored_at, seq, place) for place, row in enumerate(said)]
    columns = zip(*rows, strict=True) if rows else [()] * len(INSTANCES)
    arrays = [pa.array(column, one.type) for column, one in zip(columns, INSTANCES, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=INSTANCES)


def to_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """One table of these batches."""
    return pa.Table.from_batches(batches, schema=INSTANCES)


def _rows(command: EntityCommand, observed: bool, stored_at: int) -> list[_Row]:
    body = orjson.loads(command.body) if command.body else {}
    spoken = _Spoken(command, body, command.at or stored_at, observed)
    if command.op in {"delete", "delete_attribute"}:
        return [spoken.row(command.attribute, DELETE, dataset=ANY if _all(spoken) else body.get("datasetId") or "")]
    if command.op == FORGETS:
        return [_forgetting(spoken)]
    found = _about_entity(spoken)
    for name, instances in body.get("attrs", {}).items():
        if instances is None:
            found.append(spoken.row(name, DELETE, dataset=ANY))
            continue
        for place, instance in enumerate(instances):
            if not (observed and instance.get("type") == "Property" and _is_observed(instance)):
                found.append(_instance(spoken, name, instance, place))
    return found


def _is_observed(instance: Mapping[str, Any]) -> bool:
    """Whether an observation in the same frame says all of this Property."""
    content = instance.get("value")
    plain = type(content) in _WORDS and content != NULL
    return plain and (len(instance) == 2 or instance.keys() <= _PLAIN)


def _all(spoken: _Spoken) -> bool:
    return spoken.command.op == "delete" or bool(spoken.body.get("all"))


def _forgetting(spoken: _Spoken) -> _Row:
    at = spoken.body.get("observedAt")
    dataset = ANY if spoken.body.get("all") or not spoken.command.attribute else spoken.body.get("datasetId") or ""
    stated = {} if at is None else {"observed_at": at, "stated": 1}
    return spoken.row(spoken.command.attribute, FORGET, dataset=dataset, forgets=1, **stated)


def _about_entity(spoken: _Spoken) -> list[_Row]:
    body, entity = spoken.body, spoken.command.entity
    found: list[_Row] = []
    if spoken.command.op == "replace":
        kept = [*body["attrs"], *([SCOPE] if body.get(SCOPE) else [])]
        found.append(spoken.row("", REPLACE, text=orjson.dumps(kept).decode()))
    types = body.get("type")
    if types and types != [type_of(entity)]:
        found.append(spoken.row("", TYPE, text=orjson.dumps(types).decode()))
    if SCOPE in body:
        if body[SCOPE]:  # its observedAt is a copy of modifiedAt (clause 4.5.6)
            text = orjson.dumps(body[SCOPE]).decode()
            found.append(spoken.row(SCOPE, PUT, stated=1, kind="Property", text=text))
        else:
            found.append(spoken.row(SCOPE, DELETE, dataset=ANY))
    return found


def _instance(spoken: _Spoken, name: str, given: Mapping[str, Any], place: int) -> _Row:
    """The row of one instance. The `place` keeps apart what has no instant."""
    kind = given.get("type")
    content = given.get(KINDS[kind], _ABSENT) if kind else _ABSENT
    dataset = given.get("datasetId") or ""
    if content is None:
        return spoken.row(name, DELETE, dataset=dataset)
    stated = given.get("observedAt") is not None
    observed_at = given["observedAt"] if stated else spoken.at + place
    if content is _ABSENT or _is_part(spoken, kind, content):
        row = spoken.row(name, PATCH, dataset=dataset, observed_at=observed_at, stated=int(stated))
        return row._replace(more=orjson.dumps(given).decode())
    rest = None
    if len(given) > 2 and not given.keys() <= _KNOWN:
        rest = orjson.dumps({key: one for key, one in given.items() if key not in _KNOWN}).decode()
    number = type(content) in _NUMBERS
    return _Row(
        spoken.command.entity,
        name,
        dataset,
        observed_at,
        int(stated),
        given.get("createdAt", spoken.at),
        spoken.at,
        kind,
        float(content) if number else None,
        None if number else orjson.dumps(content).decode(),
        given.get("unitCode"),
        rest,
        given.get("instanceId"),
    )


def _is_part(spoken: _Spoken, kind: str | None, content: object) -> bool:
    """A merge into an object says only what changes in it; the rest is in the instance before."""
    whole = spoken.body.get("shallow") or spoken.body.get("whole") or kind == "GeoProperty"
    return spoken.command.op == "merge" and isinstance(content, dict) and not whole
