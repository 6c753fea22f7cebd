"""What was taken back (NGSI-LD clauses 5.6.13 to 5.6.16) as a condition on rows. Used by every question and the writer.

Rows are never rewritten for it: a row of `instances` says what is forgotten, and whoever reads leaves it out.
"""

from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.instances import ANY, FORGET, Forgotten
from haechi.core.observation import INSTANT
from haechi.plugins.stores.iceberg.engine import Engine, Sql, instant, join, scan
from haechi.plugins.stores.iceberg.plan import DataFile

_COLUMNS = "entity, attribute, dataset, observed_at, stated, seq"


def in_files(engine: Engine, files: Sequence[DataFile], position: int) -> tuple[Forgotten, ...]:
    """What these files of `instances` take back, up to that seq."""
    flagged = [one for one in files if one.revised]
    if not flagged:
        return ()
    return in_rows(engine.ask(scan(flagged, _COLUMNS, Sql("forgets = 1 AND seq <= ?", (position,)))))


def in_rows(rows: pa.Table) -> tuple[Forgotten, ...]:
    """The same of rows with `FORGET` at hand: `stated` says whether one instant is meant."""
    if "act" in rows.column_names:
        rows = rows.filter(pc.equal(rows.column("act"), FORGET))
    instants = rows.column("observed_at").cast(pa.int64()).to_pylist()
    columns = [rows.column(name).to_pylist() for name in ("entity", "attribute", "dataset", "stated", "seq")]
    return tuple(
        Forgotten(entity, attribute, dataset, at if stated else None, seq)
        for entity, attribute, dataset, stated, seq, at in zip(*columns, instants, strict=True)
    )


def of(forgotten: Iterable[Forgotten], entities: Collection[str]) -> tuple[Forgotten, ...]:
    """Those about these entities; about all when none is named."""
    return tuple(one for one in forgotten if not entities or one.entity in entities)


def kept(forgotten: Sequence[Forgotten], *, datasets: bool) -> Sql:
    """The condition that a row is not forgotten; `datasets`: the rows have that column (observations have none)."""
    parts = [_condition(one, datasets) for one in forgotten if datasets or one.dataset in (ANY, "")]
    if not parts:
        return Sql("true")
    either = join(" OR ", parts)
    return Sql(f"NOT ({either.text})", either.values)


def _condition(one: Forgotten, datasets: bool) -> Sql:
    parts = [Sql("entity = ? AND seq < ?", (one.entity, one.seq))]
    if one.attribute:
        parts.append(Sql("attribute = ?", (one.attribute,)))
    if one.observed_at is not None:
        at = instant(one.observed_at)
        parts.append(Sql(f"observed_at = {at.text}", at.values))
    if datasets and one.dataset != ANY:
        parts.append(Sql("dataset = ?", (one.dataset,)))
    inner = join(" AND ", parts)
    return Sql(f"({inner.text})", inner.values)


def visible(rows: pa.Table, forgotten: Sequence[Forgotten]) -> pa.Table:
    """Observations without those that are forgotten."""
    for one in forgotten:
        if one.dataset not in (ANY, "") or rows.num_rows == 0:
            continue
        gone = pc.and_(pc.equal(rows.column("entity"), one.entity), pc.less(rows.column("seq"), one.seq))
        if one.attribute:
            gone = pc.and_(gone, pc.equal(rows.column("attribute"), one.attribute))
        if one.observed_at is not None:
            gone = pc.and_(gone, pc.equal(rows.column("observed_at"), pa.scalar(one.observed_at, INSTANT)))
        rows = rows.filter(pc.invert(gone))
    return rows
