"""What the API said is kept packed until somebody asks, and says the same then."""

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from haechi.core.frame import EntityCommand, Frame, encode
from haechi.core.instances import INSTANCES
from haechi.ports import Record
from haechi.services.history import said, told
from haechi.services.history.told import Told

MANY = 60  # of a large frame: more than is kept as it came


def spoke(seq: int, many: int, op: str = "upsert") -> Record:
    commands = []
    for number in range(many):
        id = f"urn:ngsi-ld:Building:{seq}-{number}"
        body = {"id": id, "type": ["Building"], "attrs": {"owner": [{"type": "Relationship", "object": "urn:x:1"}]}}
        commands.append(EntityCommand(f"c{seq}-{number}", op, id, orjson.dumps(body), at=seq))
    return Record(seq, "entity", encode(Frame(commands=tuple(commands))), seq)


def rows(records: list[Record]) -> pa.Table:
    return pa.Table.from_batches([said.of_records(records)], schema=INSTANCES)


@pytest.mark.parametrize("many", [1, MANY])
def test_what_was_said_is_found_by_entity_after_it_was_packed(many: int) -> None:
    records = [spoke(seq, many) for seq in range(1, 5)]
    kept = Told().grown(records[:1]).grown(records[1:3]).grown(records[3:])
    asked = ["urn:ngsi-ld:Building:2-0", "urn:ngsi-ld:Building:4-0"]
    expected = rows(records)
    wanted = expected.filter(pc.is_in(expected.column("entity"), value_set=pa.array(asked)))
    assert kept.of(asked, 0).equals(wanted)
    assert kept.of(asked, 2).column("seq").to_pylist() == [4]
    assert kept.after(4).runs == ()


def test_what_is_taken_back_is_told_of_all_entities() -> None:
    kept = Told().grown([spoke(1, MANY), spoke(2, 1, "forget"), spoke(3, MANY)])
    assert kept.forgotten(0).column("seq").to_pylist() == [2]
    assert kept.forgotten(2).num_rows == 0


def test_packed_records_take_little_room_and_rows_take_their_place_beyond_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = spoke(1, MANY)
    kept = Told().grown([record])
    assert kept.runs[0].size < len(record.payload) / 3
    monkeypatch.setattr(told, "_UNREAD_BYTES", kept.runs[0].size + 1)
    grown = kept.grown([spoke(2, MANY)])
    assert [one.size for one in grown.runs] == [0]
    assert grown.of(["urn:ngsi-ld:Building:2-0"], 0).num_rows == 1
