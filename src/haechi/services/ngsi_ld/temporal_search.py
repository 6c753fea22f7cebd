"""Which entities a temporal query finds (clause 5.7.4.4): of the live model those whose instances in that time match.

Used by the temporal API, in a worker thread. The values filter sees every instance of the time asked about, and none
outside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.core.instances import DELETE
from haechi.ports import EntityQuery, EntityStore, EvolutionQuery, EvolutionReader
from haechi.services.ngsi_ld import geoq, q, scopeq
from haechi.services.ngsi_ld.evolution import SCOPE, Row, rows_of
from haechi.services.ngsi_ld.scoped import Scoped, valid
from haechi.services.ngsi_ld.temporal_answers import Asked

AT_ONCE = 200  # candidates looked at together
ROWS_MOST = 1_000_000  # instances that one look may weigh
_ALL = 10_000_000
Test = Callable[[Mapping[str, Any]], bool]
Get = Callable[[str], str | None]
Expand = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Tests:
    """What instances are weighed by, and the attributes that needs."""

    tests: tuple[Test, ...]
    attributes: tuple[str, ...]
    scope: Test | None = None


def tests_of(get: Get, expand: Expand, expanded: frozenset[str]) -> Tests:
    """q, scopeQ and the geographical query of a request."""
    tests: list[Test] = []
    names: set[str] = set()
    if (text := get("q")) is not None:
        tests.append(q.compile_q(text, expand, expanded))
        names |= {path.names[0] for path in q.paths_of(q.parse(text, expand))}
    if (geographical := geoq.parse(get, expand)) is not None:
        tests.append(geographical[1])
        names.add(expand(get("geoproperty") or "location"))
    scopes = get("scopeQ")
    return Tests(tuple(tests), tuple(sorted(names)), None if scopes is None else scopeq.parse(scopes))


@dataclass(frozen=True, slots=True)
class Search:
    """One request's."""

    store: EntityStore
    history: EvolutionReader
    asked: Asked
    tests: Tests
    scoped: dict[str, Scoped] = field(default_factory=dict)  # of what was found: when its scope fitted

    def page(
        self, selectors: Sequence[EntityQuery], page: tuple[int, int], count: bool, by_id: str
    ) -> tuple[list[Entity], int]:
        """The entities of (limit, offset) and one more if there is one, in order of creation or by id; how many match
        in all (so far, unless `count`)."""
        limit, offset = page
        found: list[Entity] = []
        total = 0
        for some in self._candidates(selectors, by_id):
            for entity in self._matching(some):
                if offset <= total <= offset + limit:
                    found.append(entity)
                total += 1
            if total > offset + limit and not count:
                break
        return found, total

    def _candidates(self, selectors: Sequence[EntityQuery], by_id: str) -> Iterator[list[Entity]]:
        seen: set[str] = set()
        if by_id:
            everyone = [one for some in self._candidates(selectors, "") for one in some]
            everyone.sort(key=lambda one: str(one["id"]), reverse=by_id == "desc")
            yield from (everyone[at : at + AT_ONCE] for at in range(0, len(everyone), AT_ONCE))
            return
        for one in selectors:
            offset = 0
            while True:
                entities = self.store.query(replace(one, limit=AT_ONCE, offset=offset)).entities
                fresh = [entity for entity in entities if entity["id"] not in seen]
                if len(selectors) > 1:
                    seen.update(entity["id"] for entity in fresh)
                if fresh:
                    yield fresh
                if len(entities) < AT_ONCE:
                    break
                offset += AT_ONCE

    def _matching(self, candidates: Sequence[Entity]) -> list[Entity]:
        present = self._present([one["id"] for one in candidates])
        left = [one for one in candidates if one["id"] in present]
        if left and self.tests.scope is not None:
            left = self._in_scope(left, self.tests.scope)
        if not left or not self.tests.tests:
            return left
        evolved = self._evolved(left)
        return [one for one in left if all(test(evolved[one["id"]]) for test in self.tests.tests)]

    def _in_scope(self, entities: Sequence[Entity], test: Test) -> list[Entity]:
        """Those whose scope fitted at some instant of the time asked about (clauses 4.18, 4.19)."""
        time = self.asked.time
        ids = tuple(str(one["id"]) for one in entities)
        by = "modified_at" if time.by == "deleted_at" else time.by
        rows = self.history.evolution(EvolutionQuery(ids, (SCOPE,), by=by, end=time.end, limit=ROWS_MOST))
        ends = _scope_ends(self.history.said(ids))
        known: dict[str, list[Row]] = {}
        for row in rows_of(rows, by):
            known.setdefault(row.entity, []).append(row)
        found = []
        for one in entities:
            scoped = valid(known.get(one["id"], ()), ends.get(one["id"], ()), one, test).within(time.start, time.end)
            if scoped.spans:
                self.scoped[one["id"]] = scoped
                found.append(one)
        return found

    def _present(self, ids: Sequence[str]) -> frozenset[str]:
        time, asked = self.asked.time, self.asked
        if time.by == "deleted_at":
            return frozenset(_deleted(self.history.said(ids), time.start, time.end))
        query = EvolutionQuery(
            tuple(ids), asked.attributes, asked.datasets, time.by, time.start, time.end, time.stated, limit=_ALL
        )
        return self.history.entities_with(query)

    def _evolved(self, entities: Sequence[Entity]) -> dict[str, Entity]:
        """Each with all instances of the time asked about, as one entity with many instances."""
        time = self.asked.time
        by = "modified_at" if time.by == "deleted_at" else time.by
        ids = tuple(one["id"] for one in entities)
        query = EvolutionQuery(
            ids, self.tests.attributes, (), by, time.start, time.end, time.stated, limit=ROWS_MOST + 1
        )
        rows = self.history.evolution(query)
        if rows.num_rows > ROWS_MOST:
            raise InvalidData(
                f"q weighs more than {ROWS_MOST} instances at once; ask for a shorter time or fewer entities",
                "too_complex",
            )
        found = {one["id"]: {**one, "attrs": {}} for one in entities}
        for row in rows_of(rows, by):
            if row.attribute == SCOPE:
                continue
            found[row.entity]["attrs"].setdefault(row.attribute, []).append(row.instance)
        return found


def _scope_ends(said: pa.Table) -> dict[str, list[int]]:
    """When the scope of each entity was taken away."""
    instants = said.column("modified_at").cast(pa.int64()).to_pylist()
    columns = [said.column(name).to_pylist() for name in ("entity", "attribute", "act")]
    found: dict[str, list[int]] = {}
    for entity, attribute, act, at in zip(*columns, instants, strict=True):
        if act == DELETE and attribute in ("", SCOPE):
            found.setdefault(entity, []).append(at)
    return found


def _deleted(said: pa.Table, start: int | None, end: int | None) -> Iterator[str]:
    instants = said.column("modified_at").cast(pa.int64()).to_pylist()
    for entity, act, at in zip(
        said.column("entity").to_pylist(), said.column("act").to_pylist(), instants, strict=True
    ):
        if act != "type" and (start is None or at >= start) and (end is None or at < end):
            yield entity
