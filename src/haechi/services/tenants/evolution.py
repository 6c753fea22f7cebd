"""History of one tenant's entities (`EvolutionReader`). Made by the NGSI-LD face."""

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import TYPE
from haechi.ports import EvolutionQuery, EvolutionReader, Periods
from haechi.services.tenants.names import inside, prefix, split


class TenantEvolution:
    """Names are marked on the way in and bare on the way out; the order of rows stays, because all have one mark."""

    def __init__(self, reader: EvolutionReader, tenant: str) -> None:
        self._reader, self._tenant = reader, tenant

    def evolution(self, query: EvolutionQuery) -> pa.Table:
        return self._bare(self._reader.evolution(self._marked(query)))

    def sums(self, query: EvolutionQuery, periods: Periods) -> pa.Table:
        return self._bare(self._reader.sums(self._marked(query), periods))

    def entities_with(self, query: EvolutionQuery) -> frozenset[str]:
        return frozenset(split(one)[1] for one in self._reader.entities_with(self._marked(query)))

    def said(self, entities: Sequence[str]) -> pa.Table:
        rows = self._bare(self._reader.said(inside(self._tenant, entities)))
        texts = [
            orjson.dumps([split(name)[1] for name in orjson.loads(text)]).decode() if act == TYPE and text else text
            for act, text in zip(rows.column("act").to_pylist(), rows.column("text").to_pylist(), strict=True)
        ]
        place = rows.schema.get_field_index("text")
        return rows.set_column(place, rows.schema.field(place), pa.array(texts, pa.string()))

    def _marked(self, query: EvolutionQuery) -> EvolutionQuery:
        return replace(query, entities=inside(self._tenant, query.entities))

    def _bare(self, rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index("entity")
        names = pc.utf8_slice_codeunits(rows.column("entity"), start=len(prefix(self._tenant)))
        return rows.set_column(place, rows.schema.field(place), names.cast(rows.schema.field(place).type))
