"""The rows that hold, as SQL: files and settled tail together, of each instant only its last revision. Used by
`answer`.
"""

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.observation import STORED
from haechi.plugins.stores.iceberg.engine import Sql, among, between, instant, join, prefixed, scan
from haechi.plugins.stores.iceberg.forgotten import kept
from haechi.plugins.stores.iceberg.plan import DataFile
from haechi.ports import SeriesQuery

COLUMNS = ("entity", "attribute", "observed_at", "received_at", "stored_at", "value", "text", "unit", "quality", "link")
ANSWER = pa.schema([STORED.field(name) for name in COLUMNS])
READ = ", ".join((*COLUMNS, "revision", "seq"))
SUMMED = "entity, attribute, observed_at, value, revision, seq"


def asked(query: SeriesQuery) -> Sql:
    """The condition of a question on rows, apart from time."""
    parts = [among("entity", query.entities), among("attribute", query.attributes)]
    if query.known_at is not None:
        parts.append(prefixed("stored_at <= ", instant(query.known_at)))
    if query.without:
        parts.append(kept(query.without, datasets=False))
    return join(" AND ", parts)


def in_time(query: SeriesQuery, start: int, end: int) -> Sql:
    """The condition of a question on rows of [start, end)."""
    return join(" AND ", [between("observed_at", start, end), asked(query)])


def both(files: list[DataFile], columns: str, where: Sql) -> Sql:
    """Rows of files and tail that satisfy `where`, all revisions."""
    tail = Sql(f"SELECT {columns} FROM tail WHERE {where.text}", where.values)
    return join(" UNION ALL ", [scan(files, columns, where), tail]) if files else tail


def has_revisions(tail: pa.Table) -> bool:
    """Whether a settled tail holds another value of an instant that is stored, or two of one."""
    return bool(tail.num_rows) and bool(pc.max(tail.column("revision")).as_py())


def effective(files: list[DataFile], tail: pa.Table, columns: str, where: Sql) -> Sql:
    """Rows that satisfy `where` and that no later revision (which satisfies it too) replaces."""
    rows = both(files, columns, where)
    revised = [one for one in files if one.revised]
    if not revised and not has_revisions(tail):
        return rows
    later = both(revised, "entity, attribute, observed_at, revision", prefixed("", where, " AND revision > 0"))
    last = f"SELECT entity, attribute, observed_at, max(revision) AS newest FROM ({later.text}) GROUP BY ALL"
    text = (
        f"SELECT {columns} FROM ({rows.text}) LEFT JOIN ({last}) USING (entity, attribute, observed_at) "
        "WHERE revision = coalesce(newest, 0)"
    )
    return Sql(text, (*rows.values, *later.values))


def shaped(rows: pa.Table) -> pa.Table:
    """An answer of rows in the types the port promises."""
    return rows.select(list(COLUMNS)).cast(ANSWER)
