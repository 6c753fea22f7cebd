"""The live model and the log as one tenant sees them. Made by `Tenancy`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.frame import EntityCommand, Frame
from haechi.core.pattern import compile_pattern
from haechi.ports import EntityCensus, EntityPage, EntityQuery, EntityShape, EntityStore, EntityVersion
from haechi.services.tenants.names import MARK, belongs, document_inside, document_outside, inside, prefix, split

Test = Callable[[Mapping[str, Any]], bool]


class Model(EntityStore, EntityCensus, Protocol):
    """Entities and what kinds of them there are."""


class _CityStore:
    """The default tenant's: the city's own entities, without anything of another tenant.

    A look-up by key is the store's own; a query is narrowed only where no type does it and there are other tenants.
    """

    def __init__(self, store: EntityStore, others: Callable[[], bool]) -> None:
        self._store, self._others = store, others
        self.load, self.position, self.close, self.apply = store.load, store.position, store.close, store.apply

    def query(self, query: EntityQuery) -> EntityPage:
        if query.types or query.ids or not self._others():
            return self._store.query(query)
        asked = query.matches
        return self._store.query(
            replace(query, matches=lambda entity: entity["id"][0] != MARK and (asked is None or asked(entity)))
        )


class CityModel(Model, EntityVersion, Protocol):
    """And whether anything changed."""


class CityEntities(_CityStore):
    """With what kinds of them there are, and the version of it all."""

    def __init__(self, store: CityModel, others: Callable[[], bool]) -> None:
        super().__init__(store, others)
        self._census, self.version = store, store.version

    def shapes(self) -> Sequence[EntityShape]:
        return [one for one in self._census.shapes() if not one.types[0].startswith(MARK)]


class _TenantStore:
    """Another tenant's: ids and types are marked on the way in, and bare on the way out."""

    def __init__(self, store: EntityStore, tenant: str) -> None:
        self._store, self._tenant = store, tenant
        self.position, self.close, self.apply = store.position, store.close, store.apply

    def load(self, ids: Sequence[str]) -> dict[str, bytes]:
        found = self._store.load(inside(self._tenant, ids))
        return {split(id)[1]: orjson.dumps(document_outside(orjson.loads(body))) for id, body in found.items()}

    def query(self, query: EntityQuery) -> EntityPage:
        asked = query.matches
        fits = None if query.id_pattern is None else compile_pattern(query.id_pattern)
        narrowed = replace(
            query,
            types=inside(self._tenant, query.types),
            ids=inside(self._tenant, query.ids),
            id_pattern=None,
            matches=_own(self._tenant, asked, fits),
        )
        page = self._store.query(narrowed)
        return EntityPage([document_outside(one) for one in page.entities], page.total)


class TenantEntities(_TenantStore):
    """With what kinds of them there are."""

    def __init__(self, store: Model, tenant: str) -> None:
        super().__init__(store, tenant)
        self._census = store

    def shapes(self) -> Sequence[EntityShape]:
        return [
            EntityShape(tuple(split(name)[1] for name in one.types), one.attributes, one.count)
            for one in self._census.shapes()
            if belongs(one.types[0], self._tenant)
        ]


def store_of(store: EntityStore, tenant: str) -> EntityStore:
    """The entities of a tenant, or of the city, alone."""
    return _TenantStore(store, tenant) if tenant else _CityStore(store, lambda: True)


def own_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Those of the city's own entities: what screens show."""
    marked = pc.starts_with(rows.column("entity"), MARK)
    return rows.filter(pc.invert(marked)) if pc.any(marked).as_py() else rows


def _own(tenant: str, asked: Test | None, fits: Callable[[str], bool] | None) -> Test:
    """The client's question, of the entity as the client knows it."""

    def test(entity: Mapping[str, Any]) -> bool:
        if not belongs(entity["id"], tenant):
            return False
        bare = document_outside(entity)
        return (fits is None or fits(bare["id"])) and (asked is None or asked(bare))

    return test


def write_as(tenant: str, write: Callable[[Frame], Awaitable[None]]) -> Callable[[Frame], Awaitable[None]]:
    """Frames of the face, with the tenant's names."""

    async def written(frame: Frame) -> None:
        commands = tuple(_marked(tenant, one) for one in frame.commands)
        await write(
            Frame(frame.tallies, frame.quarantined, frame.resolved, commands, _rows(tenant, frame.observations))
        )

    return written


def _marked(tenant: str, command: EntityCommand) -> EntityCommand:
    body = command.body
    if body and command.op != "delete_attribute":
        body = orjson.dumps(document_inside(tenant, orjson.loads(body)))
    return EntityCommand(command.id, command.op, prefix(tenant) + command.entity, body, command.attribute, command.at)


def _rows(tenant: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    if not rows.num_rows:
        return rows
    names = pc.binary_join_element_wise(prefix(tenant), rows.column("entity"), "")
    return pa.RecordBatch.from_arrays([names, *rows.columns[1:]], schema=rows.schema)
