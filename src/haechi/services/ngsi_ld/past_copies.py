"""What a temporal query found, as rows to keep (clauses 5.2.41, 5.16.1.4). Used by the past of snapshots, in a worker
thread."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.errors import InvalidData
from haechi.core.instances import INSTANCES, NOTHING_SAID, PUT, TYPE
from haechi.ports import EvolutionQuery, EvolutionReader
from haechi.services.ngsi_ld.evolution import SCOPE
from haechi.services.ngsi_ld.temporal_answers import Asked, query_of

MOST = 200_000  # instances of one snapshot
AT_ONCE = 200  # entities
_KEYS = ("entity", "attribute", "dataset", "observed_at")


def copies(history: EvolutionReader, ids: Sequence[str], asked: Asked) -> Iterator[pa.Table]:
    """Rows of INSTANCES, of some entities at a time: the instances that the query finds, the scopes up to its end and
    what took something away by then."""
    count = 0
    for start in range(0, len(ids), AT_ONCE):
        rows = _of(history, tuple(ids[start : start + AT_ONCE]), asked, MOST - count)
        count += rows.num_rows
        yield rows


def _of(history: EvolutionReader, ids: tuple[str, ...], asked: Asked, room: int) -> pa.Table:
    query = replace(query_of(ids, asked), limit=room + 1)
    instances = history.evolution(query)
    scopes = history.evolution(EvolutionQuery(ids, (SCOPE,), by=query.by, end=query.end, limit=room + 1))
    if instances.num_rows + scopes.num_rows > room:
        raise too_many()
    others = instances.filter(pc.not_equal(instances.column("attribute"), SCOPE))
    said = history.said(ids)
    said = said.filter(pc.not_equal(said.column("act"), TYPE))
    if query.end is not None:
        said = said.filter(
            pc.less(said.column("modified_at"), pa.scalar(query.end, said.schema.field("modified_at").type))
        )
    return pa.concat_tables([_shaped(others), _shaped(scopes), _shaped(said)])


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of several queries as those of one: each instance once."""
    rows = pa.concat_tables(tables) if tables else NOTHING_SAID
    if rows.num_rows > MOST:
        raise too_many()
    if len(tables) < 2:
        return rows
    numbered = rows.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
    keys = [*_KEYS, "act", "seq", "place"]
    first = numbered.group_by(keys).aggregate([("number", "min")]).column("number_min")
    return rows.take(first)


def too_many() -> InvalidData:
    """What a snapshot does not take."""
    return InvalidData(f"the snapshot would hold more than {MOST} instances; narrow its queries", "too_complex")


def _shaped(rows: pa.Table) -> pa.Table:
    """Rows of history as rows of INSTANCES: what they lack follows from when they were said."""
    count = rows.num_rows
    own = {"stored_at": "modified_at", "observed_at": "modified_at", "created_at": "modified_at"}
    fixed = {"stated": 0, "act": PUT, "forgets": 0, "place": 0}
    columns = []
    for field in INSTANCES:
        if field.name in rows.column_names:
            column = rows.column(field.name)
        elif field.name in own:
            column = rows.column(own[field.name])
        else:
            column = pa.chunked_array([pa.repeat(pa.scalar(fixed.get(field.name), field.type), count)])
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=INSTANCES)
