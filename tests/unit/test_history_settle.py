"""Which rows are new, which repeat stored ones, and how corrections are numbered: against a loop over a list."""

import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as some

from haechi.core.observation import STORED
from haechi.plugins.stores.iceberg.settle import KEY, settle

values = some.one_of(some.none(), some.sampled_from([0.0, -0.0, 1.0, 2.5, math.nan]))
keys = some.tuples(
    some.sampled_from(["urn:a", "urn:b", "urn:é"]),
    some.sampled_from(["flow", "head"]),
    some.integers(-3, 3),
    values,
    some.sampled_from([None, '"x"', '"y"']),
)
lists = some.lists(keys, max_size=40)


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(KEY)}
    count = range(len(rows))
    columns |= {"received_at": [0 for _ in count], "stored_at": [0 for _ in count], "seq": list(count)}
    columns |= {"unit": [None for _ in count], "quality": [0 for _ in count], "link": ["mqtt" for _ in count]}
    return pa.table([pa.array(columns[field.name], field.type) for field in STORED], schema=STORED)


def content(row: tuple[object, ...]) -> tuple[object, ...]:
    value = row[3]
    same = "nan" if isinstance(value, float) and math.isnan(value) else value if value is None else value + 0.0  # type: ignore[operator]
    return (*row[:3], same, row[4])


def by_hand(
    stored: list[tuple[object, ...]], new: list[tuple[object, ...]]
) -> list[tuple[tuple[object, ...], int, int]]:
    """(instant of a series, revision, place in `new`) of the rows that stay, sorted."""
    seen = {content(row) for row in stored}
    revisions: dict[tuple[object, ...], int] = {}
    for row in {content(row): row for row in stored}.values():
        revisions[row[:3]] = revisions.get(row[:3], 0) + 1
    kept = []
    for place, row in enumerate(new):
        if content(row) in seen:
            continue
        seen.add(content(row))
        revision = revisions.get(row[:3], 0)
        revisions[row[:3]] = revision + 1
        kept.append(((str(row[0]).encode(), str(row[1]).encode(), row[2]), revision, place))
    return sorted(kept)


@given(stored=lists, new=lists)
def test_repeats_are_left_out_and_corrections_numbered_as_a_loop_would(
    stored: list[tuple[object, ...]], new: list[tuple[object, ...]]
) -> None:
    once = list({content(row): row for row in stored}.values())
    found = settle(table(new), table(once).select(KEY) if once else None)
    expected = by_hand(once, new)
    assert found.rows.column("seq").to_pylist() == [place for _, _, place in expected]
    assert found.rows.column("revision").to_pylist() == [revision for _, revision, _ in expected]
    assert sum(found.duplicates.values()) == len(new) - len(expected)


def test_a_batch_without_repeats_is_only_sorted() -> None:
    rows = [("urn:b", "flow", 2, 1.0, None), ("urn:a", "flow", 2, 1.0, None), ("urn:a", "flow", 1, 1.0, None)]
    found = settle(table(rows))  # type: ignore[arg-type]
    assert found.rows.column("seq").to_pylist() == [2, 1, 0]
    assert found.duplicates == {}
