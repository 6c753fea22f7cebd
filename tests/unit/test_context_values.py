"""Observations that go beside the documents leave the same entities as observations that go into them."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haechi.core import entity as stored
from haechi.core import frame as frames
from haechi.core.frame import EntityCommand, Frame
from haechi.core.observation import Observation, to_batch
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.plugins.stores.sqlite.sets import Pairs
from haechi.ports import EntityQuery, Record
from haechi.services.context import changes
from haechi.services.context.outbox import Interest, Outbox
from haechi.services.context.projection import ContextProjection

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PUMP, VALVE = "urn:ngsi-ld:Pump:1", "urn:ngsi-ld:Valve:1"
IDS = (PUMP, VALVE)
Entities = dict[str, Any]


def seen(value: Any, at: int, entity: str = PUMP, attribute: str = "flow", **more: Any) -> Observation:
    if type(value) is float:
        return Observation(entity, attribute, at, at, value=value, **more)
    return Observation(entity, attribute, at, at, text=orjson.dumps(value).decode(), **more)


def record(seq: int, content: list[Any], stored_at: int) -> Record:
    commands = tuple(one for one in content if isinstance(one, EntityCommand))
    rows = [one for one in content if isinstance(one, Observation)]
    frame = Frame(commands=commands) if commands else Frame(observations=to_batch(rows))
    return Record(seq, "entity" if commands else "obs", frames.encode(frame), stored_at)


def command(op: str, entity: str = PUMP, attribute: str = "", **body: Any) -> EntityCommand:
    document = orjson.dumps({"id": entity, "type": [entity.split(":")[2]], "attrs": {}, **body})
    return EntityCommand("c", op, entity, document, attribute)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEntities]:
    opened = SqliteEntities(tmp_path / "context.db")
    yield opened
    opened.close()


def everything(store: SqliteEntities) -> Entities:
    return {one["id"]: one for one in store.query(EntityQuery(limit=100)).entities}


def obeyed(known: Entities, one: EntityCommand, at: int) -> bool:
    """The command on plain documents, one at a time; whether it was right."""
    old, body = known.get(one.entity), orjson.loads(one.body)
    if one.op in {"upsert", "replace"}:
        known[one.entity] = (changes.upsert if one.op == "upsert" else changes.replace)(old, body, at)
    elif old is None:
        return False
    elif one.op == "delete":
        del known[one.entity]
    elif one.op == "merge":
        changes.merge(old, body, at)
    else:
        return changes.delete_attribute(old, one.attribute, {"datasetId": None}, at)
    return True


def observed(known: Entities, one: Observation, at: int) -> bool:
    """The observation on plain documents, one at a time; whether it changed anything."""
    entity = known.get(one.entity) or stored.new(one.entity, [one.entity.split(":")[2]], at)
    said = (one.content, one.observed_at, one.unit, one.quality)
    known[one.entity] = entity
    return changes.observe(entity, one.attribute, said, at)


def asking_for(type_name: str) -> Interest:
    return lambda id, types: type_name in types


def told_of(store: SqliteEntities) -> list[tuple[Any, Any]]:
    """Value of flow before and after, of each change."""
    bodies = [orjson.loads(body) for _, body in store.changes(0, 100)]
    return [(stored.value(one["before"], "flow"), stored.value(one["after"], "flow")) for one in bodies]


def apply(context: ContextProjection, *content: Any, at: int = 0) -> None:
    seq = context.position() + 1
    context.apply([record(seq, list(content), at or seq * 100)], NOW)


def test_an_observation_of_a_known_property_changes_a_row_and_no_document(
    store: SqliteEntities, tmp_path: Path
) -> None:
    context, bare = ContextProjection(store), sqlite3.connect(tmp_path / "context.db")
    apply(context, seen(1.0, 10, unit="MQH"), seen("open", 10, attribute="state"))
    document = bare.execute("SELECT body FROM entity").fetchall()
    for turn in range(2, 5):
        apply(context, seen(float(turn), 10 * turn), seen("shut", 10 * turn, attribute="state", quality=turn))
    assert bare.execute("SELECT body FROM entity").fetchall() == document
    assert bare.execute("SELECT count(*) FROM live").fetchone() == (2,)
    bare.close()
    reader = SqliteEntities(tmp_path / "context.db", read_only=True)
    flow = {"type": "Property", "createdAt": 100, "value": 4.0, "observedAt": 40, "quality": 0, "modifiedAt": 400}
    for found in (everything(reader)[PUMP], everything(store)[PUMP], orjson.loads(reader.load([PUMP])[PUMP])):
        assert found["attrs"]["flow"] == [flow]
        assert (found["attrs"]["state"][0]["value"], found["attrs"]["state"][0]["quality"]) == ("shut", 4)
        assert (found["createdAt"], found["modifiedAt"]) == (100, 400)
    matches = EntityQuery(matches=lambda one: stored.value(one, "flow") > 3.5)
    assert [one["id"] for one in reader.query(matches).entities] == [PUMP]
    reader.close()


def test_numbers_that_are_none_are_null(store: SqliteEntities) -> None:
    context = ContextProjection(store)
    for turn, value in enumerate([1.0, float("inf"), float("nan"), float("-inf"), float("inf")], 1):
        apply(context, seen(value, turn))
        assert stored.value(everything(store)[PUMP], "flow") == (1.0 if turn == 1 else None)


def test_whoever_subscribes_is_told_what_was_and_what_is_of_values_kept_beside_the_document(
    store: SqliteEntities,
) -> None:
    outbox = Outbox(store)
    context = ContextProjection(store, outbox)
    for turn in (1, 2, 3):
        apply(context, seen(float(turn), turn))
    outbox.interest = asking_for("Extra")
    apply(context, seen(4.0, 4))
    apply(context, seen(5.0, 5))
    assert told_of(store) == []
    apply(context, command("merge", type=["Extra"]))
    apply(context, seen(6.0, 6))
    assert told_of(store) == [(5.0, 5.0), (5.0, 6.0)]
    outbox.interest = asking_for("Pump")
    apply(context, seen(7.0, 7), seen(1.0, 7, VALVE))
    assert told_of(store)[2:] == [(6.0, 7.0)]


def test_a_deleted_entity_leaves_no_values_to_the_next_of_its_name_or_number(store: SqliteEntities) -> None:
    context = ContextProjection(store)
    for turn in (1, 2, 3):
        apply(context, seen(1.0, turn), seen(2.0, turn, VALVE))
    apply(context, command("delete"), command("delete", VALVE))
    apply(context, command("upsert", VALVE, attrs={"flow": [{"type": "Property", "value": 7}]}))
    apply(context, command("upsert", PUMP, attrs={"flow": [{"type": "Property", "value": 8}]}))
    assert {id: stored.value(one, "flow") for id, one in everything(store).items()} == {VALVE: 7, PUMP: 8}
    for turn in (1, 2):
        apply(context, seen(10.0, turn), seen(20.0, turn, VALVE))
    assert {id: stored.value(one, "flow") for id, one in everything(store).items()} == {VALVE: 20.0, PUMP: 10.0}


def test_a_live_model_from_before_there_were_values_beside_documents_opens_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "context.db"
    store = SqliteEntities(path)
    apply(ContextProjection(store), seen(1.0, 10))
    store.close()
    with sqlite3.connect(path) as bare:
        bare.execute("DROP TABLE live")
        bare.execute("DROP TABLE attribute")
    bare.close()
    store = SqliteEntities(path)
    apply(ContextProjection(store), seen(2.0, 20), seen(0.0, 5, attribute="level"))
    apply(ContextProjection(store), seen(3.0, 15))
    assert stored.value(everything(store)[PUMP], "flow") == 2.0
    store.close()


def test_values_of_more_attributes_and_entities_than_are_remembered_are_looked_up() -> None:
    pairs = Pairs()
    rows, columns = np.array([1, 2000, 70_000]), np.array([1, 900, 5000])
    pairs.add(rows, columns)
    assert pairs.has(rows, columns).tolist() == [True, True, False]
    assert pairs.has(columns, rows).tolist() == [True, False, False]
    pairs.drop([2000, 10**9])
    assert pairs.has(rows, columns).tolist() == [True, False, False]


_CONTENTS = st.one_of(
    st.sampled_from([1.0, 2.5, -0.0, 1e300]),
    st.sampled_from(["open", True, None, 7, [1, 2], {"a": 1}, {"type": "Point", "coordinates": [126.7, 37.6]}]),
)
_NAMES = st.sampled_from(["flow", "state"])
_SEEN = st.builds(
    lambda value, at, entity, name, unit, quality: seen(value, at, entity, name, unit=unit, quality=quality),
    st.one_of(st.sampled_from([1.0, 2.5]), _CONTENTS),
    st.integers(1, 6),
    st.sampled_from(IDS),
    _NAMES,
    st.sampled_from([None, "KPA"]),
    st.integers(0, 2),
)
_INSTANCES = st.sampled_from(
    [
        [{"type": "Property", "value": 5}],
        [{"type": "Property", "value": 6, "observedAt": 3, "attrs": {"accuracy": [{"type": "Property", "value": 1}]}}],
        [{"type": "Property", "value": 8, "datasetId": "urn:d:2"}, {"type": "Property", "value": 9}],
        [{"type": "Property", "value": 8, "datasetId": "urn:d:2"}],
        [{"type": "Relationship", "object": "urn:ngsi-ld:Pipe:1"}],
    ]
)
_COMMAND = st.builds(
    lambda op, entity, name, more: command(op, entity, name, **more),
    st.sampled_from(["upsert", "upsert", "merge", "merge", "replace", "delete", "delete_attribute"]),
    st.sampled_from(IDS),
    _NAMES,
    st.one_of(
        st.fixed_dictionaries({"attrs": st.dictionaries(_NAMES, _INSTANCES, max_size=2)}),
        st.sampled_from([{}, {}, {"type": ["Extra"]}]),
    ),
)
# A record: some observations or some commands; a batch: some records. Before it the store may be reopened, or another
# type be subscribed to ("": a subscription to something else).
_SOME = st.lists(_SEEN, min_size=1, max_size=6)
_RECORD = st.one_of(_SOME, _SOME, st.lists(_COMMAND, min_size=1, max_size=2))
_BEFORE = st.sampled_from([None, None, None, "reopen", "", "Pump", "Extra"])
_BATCHES = st.lists(st.tuples(st.lists(_RECORD, min_size=1, max_size=3), _BEFORE), min_size=1, max_size=12)
_OFTEN = st.lists(st.tuples(st.lists(_SOME, min_size=1, max_size=2), _BEFORE))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(_BATCHES, _OFTEN))
def test_any_history_leaves_the_entities_and_the_changes_it_leaves_on_plain_documents(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("values") / "context.db"
    store, known, seq, told, asked = SqliteEntities(path), Entities(), 0, 0, None
    reader = SqliteEntities(path, read_only=True)
    outbox = Outbox(store)
    context = ContextProjection(store, outbox)
    for turn, (batch, first) in enumerate(batches, 1):
        if first == "reopen":
            store.close()
            store = SqliteEntities(path)
            asked, outbox = None, Outbox(store)
            context = ContextProjection(store, outbox)
        elif first is not None:
            asked = first
            outbox.interest = asking_for(first)
        before = orjson.dumps(known)
        context.apply([record(seq + n, content, turn * 100) for n, content in enumerate(batch, 1)], NOW)
        seq += len(batch)
        changed = {
            one.entity
            for content in batch
            for one in content
            if (obeyed if isinstance(one, EntityCommand) else observed)(known, one, turn * 100)
        }
        assert everything(reader) == known == {id: orjson.loads(one) for id, one in store.load(IDS).items()}
        notes = [orjson.loads(body) for _, body in reader.changes(told, 100)]
        told = reader.last_change()
        was = orjson.loads(before)
        # Of an entity there is, the types it has now count; of one there was, those it had.
        due = {id for id in changed if asked in (known.get(id) or was.get(id) or {"type": ()})["type"]}
        assert {one["entity"]: (one["before"], one["after"]) for one in notes} == {
            id: (was.get(id), known.get(id)) for id in due
        }
    reader.close()
    store.close()
