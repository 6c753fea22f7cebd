"""The evolution of entities as an answer: instances, pairs or sums, cut where it would be too long (clauses 5.7.3,
5.7.4, 6.3.10). Used by the temporal API, in a worker thread; windows and sums are made by the engine of history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from haechi.core.entity import Entity
from haechi.core.times import format_iso
from haechi.ports import EvolutionQuery, EvolutionReader, Periods
from haechi.services.ngsi_ld import evolution, temporal
from haechi.services.ngsi_ld.evolution import SCOPE, Row
from haechi.services.ngsi_ld.representation import View
from haechi.services.ngsi_ld.scoped import Scoped
from haechi.services.ngsi_ld.temporal import TemporalQuery

_ALL = 10_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants of which time, and how it is shown. `form`: normalized, simplified or aggregated; `bare`:
    no attribute is shown."""

    time: TemporalQuery
    view: View
    form: str = "normalized"
    datasets: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    bare: bool = False
    scoped: Mapping[str, Scoped] = field(default_factory=dict)  # entity -> when its scope fitted; absent: always


@dataclass(frozen=True, slots=True)
class Answer:
    """A body per entity; `content_range` where not all of the time fits (clause 6.3.10)."""

    bodies: list[dict[str, Any]]
    content_range: str | None = None
    has_instances: bool = False


class Answers:
    """`most`: instances in one answer; `now`: what has expired by then is history no more (clause 4.22)."""

    def __init__(self, history: EvolutionReader, most: int, now: int) -> None:
        self._history, self._most, self._now = history, most, now

    def of(self, entities: Sequence[Entity], asked: Asked) -> Answer:
        """The evolution of these entities, in their order."""
        if not entities:
            return Answer([])
        ids = tuple(str(one["id"]) for one in entities)
        if asked.time.by == "deleted_at":
            return self._composed(entities, asked, self._deleted(ids, asked), {})
        if asked.form == "aggregated":
            return self._aggregated(entities, ids, asked)
        query = query_of(ids, asked)
        table = self._history.evolution(replace(query, limit=self._most + 1))
        if table.num_rows <= self._most:
            return self._composed(entities, asked, _ascending(table, query), {})
        return self._part(entities, asked, query, table)

    def _part(self, entities: Sequence[Entity], asked: Asked, query: EvolutionQuery, table: pa.Table) -> Answer:
        """What fits, whole instants only, and where the rest begins; series cut away stay as empty ones."""
        rows = evolution.rows_of(table, query.by)
        cut = rows[-1].at
        kept = [row for row in rows if row.at != cut] or self._instant(query, cut)
        names: dict[str, list[str]] = {}
        for one in self._series(query):
            names.setdefault(one["entity"], []).append(one["attribute"])
        answer = self._composed(entities, asked, sorted(kept, key=_order), names)
        return replace(answer, content_range=_range(asked.time, kept))

    def _instant(self, query: EvolutionQuery, at: int) -> list[Row]:
        """More than fits, but all of one instant: it cannot be cut."""
        return evolution.rows_of(self._history.evolution(replace(query, start=at, end=at + 1, limit=_ALL)), query.by)

    def _series(self, query: EvolutionQuery) -> list[dict[str, Any]]:
        """entity, attribute, dataset, kind of each series there is."""
        found = self._history.sums(replace(query, limit=_ALL, last=None), Periods())
        names = ["entity", "attribute", "dataset", "kind", "first_at", "last_at"]
        series: list[dict[str, Any]] = found.select(names).to_pylist()
        return series

    def _deleted(self, ids: tuple[str, ...], asked: Asked) -> list[Row]:
        known = self._series(EvolutionQuery(ids, asked.attributes, asked.datasets))
        said = self._history.said(ids)
        listed = said.select(["entity", "attribute", "dataset", "text", "act"]).to_pylist()
        for one, at in zip(listed, said.column("modified_at").cast(pa.int64()).to_pylist(), strict=True):
            one["modified_at"] = at
        start, end = asked.time.start, asked.time.end
        rows = [
            row
            for row in evolution.deletions(listed, known)
            if (start is None or row.at >= start) and (end is None or row.at < end)
        ]
        return rows if asked.time.last is None else rows[-asked.time.last :]

    def _composed(
        self, entities: Sequence[Entity], asked: Asked, rows: Sequence[Row], names: Mapping[str, list[str]]
    ) -> Answer:
        shows, view = asked.view.shows, asked.view
        of: dict[str, list[Row]] = {}
        for row in self._of_scopes(rows, asked):
            if not asked.bare and shows(row.attribute) and row.instance.get("expiresAt", self._now + 1) > self._now:
                of.setdefault(row.entity, []).append(row)
        render = evolution.simplified if asked.form == "simplified" else evolution.normalized
        bodies = []
        for one in entities:
            listed = [name for name in names.get(one["id"], ()) if not asked.bare and shows(name)]
            bodies.append(_head(one, view) | render(of.get(one["id"], ()), listed, view))
        return Answer(bodies, None, bool(rows))

    @staticmethod
    def _of_scopes(rows: Sequence[Row], asked: Asked) -> Sequence[Row]:
        """What was while the scope fitted, and the scopes that did (annex C.5.16)."""
        if not asked.scoped:
            return rows
        kept = [row for row in rows if row.entity not in asked.scoped or asked.scoped[row.entity].holds(row)]
        return [*(row for one in asked.scoped.values() for row in one.rows), *kept]

    def _aggregated(self, entities: Sequence[Entity], ids: tuple[str, ...], asked: Asked) -> Answer:
        sums, how = self._periods(replace(query_of(ids, asked), last=None, limit=_ALL), asked.time)
        of: dict[str, list[dict[str, Any]]] = {}
        for one in sums:
            if asked.view.shows(one["attribute"]) and not asked.bare and one["attribute"] != SCOPE:
                of.setdefault(one["entity"], []).append(one)
        bodies = [
            _head(one, asked.view) | evolution.aggregated(of.get(one["id"], ()), asked.time.methods, how, asked.view)
            for one in entities
        ]
        return Answer(bodies, None, bool(sums))

    def _periods(self, query: EvolutionQuery, time: TemporalQuery) -> tuple[list[dict[str, Any]], Periods]:
        """Sums by periods that begin at the start of the time asked about, else with the first instance in it."""
        length = time.duration
        if time.start is not None and length.us and not length.months and time.end is not None:
            how = temporal.periods(length, time.start, time.end)
            return self._sums(query, how), how
        whole = self._sums(query, Periods())
        if not whole:
            return [], Periods()
        start = time.start if time.start is not None else min(one["first_at"] for one in whole)
        last = max(one["last_at"] for one in whole)
        how = temporal.periods(length, start, last)
        if how.width_us is not None or how.bounds:
            return self._sums(query, how), how
        return [{**one, "period_at": start, "last_at": last if time.end is None else time.end} for one in whole], how

    def _sums(self, query: EvolutionQuery, how: Periods) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._history.sums(query, how).to_pylist()
        return rows


def query_of(ids: tuple[str, ...], asked: Asked) -> EvolutionQuery:
    """The question to history for the evolution of these entities."""
    time = asked.time
    return EvolutionQuery(
        ids,
        asked.attributes,
        asked.datasets,
        time.by,
        time.start,
        time.end,
        time.stated,
        time.last,
        descending=time.last is not None,
    )


def _ascending(table: pa.Table, query: EvolutionQuery) -> list[Row]:
    rows = evolution.rows_of(table, query.by)
    return sorted(rows, key=_order) if query.descending else rows


def _order(row: Row) -> int:
    return row.at


def _range(time: TemporalQuery, kept: Sequence[Row]) -> str:
    """Content-Range: from where the client's range begins to the last instant that is there (clause 6.3.10)."""
    first, last = min(row.at for row in kept), max(row.at for row in kept)
    if time.last is None:
        start, end, size = first if time.start is None else time.start, last, "*"
    else:
        start, end, size = last if time.end is None else time.end, first, str(time.last)
    return f"date-time {format_iso(start)}-{format_iso(end)}/{size}"


def _head(entity: Entity, view: View) -> dict[str, Any]:
    found: dict[str, Any] = {"id": entity["id"]} if view.shows("id") else {}
    if view.shows("type"):
        types = [view.context.compact(one) for one in entity["type"]]
        found["type"] = types[0] if len(types) == 1 else types
    if view.sys_attrs:
        found |= {name: format_iso(entity[name]) for name in ("createdAt", "modifiedAt") if name in entity}
    return found
