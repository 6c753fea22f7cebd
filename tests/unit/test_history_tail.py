"""The tail in memory: finds exactly the rows asked for, whether they are still loose or sorted into a run."""

import random

import pyarrow as pa
import pytest

from haechi.core.observation import STORED
from haechi.services.history.tail import Selection, Tail

NAMES = [f"urn:ngsi-ld:X:{number}" for number in range(50)]


def batch(seq: int, rows: int, chance: random.Random) -> pa.RecordBatch:
    columns: dict[str, list[object]] = {
        "entity": [chance.choice(NAMES) for _ in range(rows)],
        "attribute": [chance.choice(["flow", "head"]) for _ in range(rows)],
        "observed_at": [chance.randint(0, 1000) for _ in range(rows)],
        "received_at": [0] * rows,
        "value": [1.0] * rows,
        "text": [None] * rows,
        "unit": [None] * rows,
        "quality": [0] * rows,
        "link": ["mqtt"] * rows,
        "stored_at": [0] * rows,
        "seq": [seq] * rows,
    }
    return pa.RecordBatch.from_arrays([pa.array(columns[field.name], field.type) for field in STORED], schema=STORED)


@pytest.fixture(scope="module")
def batches() -> list[pa.RecordBatch]:
    chance = random.Random(1)
    return [batch(seq, 900, chance) for seq in range(1, 61)]


@pytest.mark.parametrize(
    "wanted",
    [
        Selection(),
        Selection((NAMES[3],)),
        Selection((NAMES[3], NAMES[9], "urn:nobody"), ("flow",)),
        Selection((), ("head",), 100, 200),
        Selection((NAMES[7],), ("flow",), None, 500),
        Selection(("urn:nobody",)),
    ],
)
def test_a_selection_holds_exactly_the_matching_rows_in_the_order_of_the_log(
    batches: list[pa.RecordBatch], wanted: Selection
) -> None:
    tail = Tail()
    for one in batches:
        tail = tail.grown([one])
    assert tail.runs
    assert tail.loose
    found = tail.after(25).select(wanted, 25).to_pylist()
    expected = [
        row
        for one in batches[25:]
        for row in one.to_pylist()
        if (not wanted.entities or row["entity"] in wanted.entities)
        and (not wanted.attributes or row["attribute"] in wanted.attributes)
        and (wanted.start is None or row["observed_at"].timestamp() * 1e6 >= wanted.start)
        and (wanted.end is None or round(row["observed_at"].timestamp() * 1e6) < wanted.end)
    ]
    assert [row["seq"] for row in found] == [row["seq"] for row in expected]
    assert sorted(map(str, found)) == sorted(map(str, expected))


def test_what_is_committed_leaves_memory_while_a_query_keeps_the_tail_it_began_with(
    batches: list[pa.RecordBatch],
) -> None:
    begun = Tail().grown(batches)
    after = begun.after(60)
    assert after.count == 0
    assert begun.select(Selection(), 0).num_rows == 60 * 900
