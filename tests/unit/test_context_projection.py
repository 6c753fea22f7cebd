"""The live model follows the log: observations move it forward, commands change it, a batch is all or nothing."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core import frame as frames
from haechi.core.errors import InvalidData, Unavailable
from haechi.core.frame import EntityCommand, Frame
from haechi.core.observation import Observation, to_batch
from haechi.core.values import Values
from haechi.ports import EntityPage, EntityQuery, Record
from haechi.services.context.outbox import Outbox
from haechi.services.context.projection import ContextProjection

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PUMP = "urn:ngsi-ld:Pump:1"


class Shelf:
    """An `EntityStore` in a dictionary: the smallest thing that keeps the port, with a switch for a full disk."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.seq = 0
        self.full = False
        self.told: list[dict[str, Any]] = []

    def position(self) -> int:
        return self.seq

    def held(self, values: Any) -> Any:
        return np.zeros(len(values), dtype=bool)

    def apply(self, puts: Any, position: int, changes: Any = (), values: Any = ()) -> None:
        if self.full:
            raise Unavailable("the disk is full; make room")
        self.seq = position
        self.told += map(orjson.loads, changes)
        self.bodies.update({id: orjson.dumps(body) for id, body in puts.items() if body is not None})
        for id in [id for id, body in puts.items() if body is None]:
            self.bodies.pop(id, None)
        for some in values:
            for row in range(len(some)):
                self._put_value(some, row)

    def _put_value(self, some: Values, row: int) -> None:
        one = self[some.entities[some.entity[row]]]
        (instance,) = [each for each in one["attrs"][some.attributes[some.attribute[row]]] if "datasetId" not in each]
        if instance.get("observedAt", 0) <= some.observed_at[row]:
            said = some.content[row]
            instance["value"] = orjson.loads(said) if isinstance(said, str) else said
            instance["observedAt"], instance["quality"] = int(some.observed_at[row]), int(some.quality[row])
            instance["modifiedAt"] = one["modifiedAt"] = some.at
            instance.pop("unitCode", None)
            if some.unit[row] is not None:
                instance["unitCode"] = some.unit[row]
            self.bodies[one["id"]] = orjson.dumps(one)

    def load(self, ids: Any) -> dict[str, bytes]:
        return {id: self.bodies[id] for id in ids if id in self.bodies}

    def query(self, query: EntityQuery) -> EntityPage:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __getitem__(self, id: str) -> dict[str, Any]:
        entity: dict[str, Any] = orjson.loads(self.bodies[id])
        return entity


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def context(shelf: Shelf) -> ContextProjection:
    return ContextProjection(shelf)


def record(seq: int, *content: Observation | EntityCommand, subject: str = "obs", at: int = 1000) -> Record:
    rows = [one for one in content if isinstance(one, Observation)]
    commands = tuple(one for one in content if isinstance(one, EntityCommand))
    frame = Frame(commands=commands, observations=to_batch(rows)) if rows else Frame(commands=commands)
    return Record(seq, subject, frames.encode(frame), at)


def seen(value: Any, at: int, entity: str = PUMP, attribute: str = "flow", **more: Any) -> Observation:
    if isinstance(value, float):
        return Observation(entity, attribute, at, at, value=value, **more)
    return Observation(entity, attribute, at, at, text=orjson.dumps(value).decode(), **more)


def command(op: str, entity: str = PUMP, body: Any = None, id: str = "c1", **more: Any) -> EntityCommand:
    return EntityCommand(id, op, entity, orjson.dumps(body) if body is not None else b"", **more)


def body(entity: str = PUMP, types: tuple[str, ...] = ("Pump",), **attributes: Any) -> dict[str, Any]:
    attrs = {
        name: one if isinstance(one, list) else [{"type": "Property", "value": one}] for name, one in attributes.items()
    }
    return {"id": entity, "type": list(types), "attrs": attrs}


def test_an_observation_of_an_unknown_entity_creates_it_with_the_type_in_its_name(
    shelf: Shelf, context: ContextProjection
) -> None:
    context.apply([record(4, seen(2.5, 100, unit="MQH", quality=1))], NOW)
    assert context.position() == 4
    assert shelf[PUMP] == {
        "id": PUMP,
        "type": ["Pump"],
        "createdAt": 1000,
        "modifiedAt": 1000,
        "attrs": {
            "flow": [
                {
                    "type": "Property",
                    "createdAt": 1000,
                    "value": 2.5,
                    "observedAt": 100,
                    "quality": 1,
                    "modifiedAt": 1000,
                    "unitCode": "MQH",
                }
            ]
        },
    }


def test_a_name_without_a_type_creates_nothing_and_the_stream_goes_on(shelf: Shelf, context: ContextProjection) -> None:
    context.apply([record(1, seen(1.0, 1, entity="pump-1"), seen(2.0, 1))], NOW)
    assert set(shelf.bodies) == {PUMP}
    assert context.position() == 1


@pytest.mark.parametrize("split", [False, True])
def test_late_observations_change_nothing_and_of_equal_instants_the_later_arrival_wins(
    shelf: Shelf, context: ContextProjection, split: bool
) -> None:
    rows = [seen(1.0, 200), seen(2.0, 100), seen(3.0, 200), seen(4.0, 150)]
    records = [record(n, one) for n, one in enumerate(rows, 1)] if split else [record(1, *rows)]
    for one in records:
        context.apply([one], NOW)
    assert shelf[PUMP]["attrs"]["flow"][0]["value"] == 3.0
    assert shelf[PUMP]["attrs"]["flow"][0]["observedAt"] == 200


def test_words_switches_and_places_come_out_as_what_they_are(shelf: Shelf, context: ContextProjection) -> None:
    place = {"type": "Point", "coordinates": [126.7, 37.6]}
    rows = [seen("open", 1, attribute="state"), seen(True, 1, attribute="on"), seen(place, 1, attribute="location")]
    context.apply(
        [record(1, *rows, seen({"type": "Point"}, 1, attribute="odd"), seen([1, 2], 1, attribute="list"))], NOW
    )
    attributes = shelf[PUMP]["attrs"]
    assert {name: (one[0]["type"], one[0]["value"]) for name, one in attributes.items()} == {
        "state": ("Property", "open"),
        "on": ("Property", True),
        "location": ("GeoProperty", place),
        "odd": ("Property", {"type": "Point"}),
        "list": ("Property", [1, 2]),
    }


def test_an_observation_keeps_other_instances_sub_attributes_and_the_instant_of_creation(
    shelf: Shelf, context: ContextProjection
) -> None:
    flow = [
        {"type": "Property", "value": 1, "attrs": {"accuracy": [{"type": "Property", "value": 0.1}]}},
        {"type": "Property", "value": 9, "datasetId": "urn:d:2"},
    ]
    context.apply([record(1, command("upsert", body=body(flow=flow), at=10), subject="entity")], NOW)
    context.apply([record(2, seen(5.0, 500))], NOW)
    default, other = shelf[PUMP]["attrs"]["flow"]
    assert (default["value"], default["createdAt"], default["modifiedAt"]) == (5.0, 10, 1000)
    assert default["attrs"]["accuracy"][0]["value"] == 0.1
    assert (other["value"], other["modifiedAt"]) == (9, 10)


def test_a_relationship_observed_as_a_value_becomes_a_property(shelf: Shelf, context: ContextProjection) -> None:
    pipe = [{"type": "Relationship", "object": "urn:ngsi-ld:Pipe:1", "objectType": "Pipe"}]
    context.apply(
        [record(1, command("upsert", body=body(flow=pipe)), subject="entity"), record(2, seen(5.0, 500))], NOW
    )
    assert "object" not in shelf[PUMP]["attrs"]["flow"][0]
    assert "objectType" not in shelf[PUMP]["attrs"]["flow"][0]


def test_commands_and_observations_take_effect_in_the_order_of_the_log(
    shelf: Shelf, context: ContextProjection
) -> None:
    context.apply(
        [
            record(1, seen(1.0, 100)),
            record(2, command("delete"), subject="entity"),
            record(3, seen(2.0, 50)),
            record(4, command("upsert", body=body(name="p")), subject="entity"),
            record(5, seen(3.0, 40)),
        ],
        NOW,
    )
    assert {name: one[0]["value"] for name, one in shelf[PUMP]["attrs"].items()} == {"flow": 2.0, "name": "p"}


def test_observations_beside_a_command_are_for_history_and_do_not_date_the_attribute(
    shelf: Shelf, context: ContextProjection
) -> None:
    context.apply([record(1, command("upsert", body=body(flow=7)), seen(7.0, 999, link="api"), subject="entity")], NOW)
    assert "observedAt" not in shelf[PUMP]["attrs"]["flow"][0]


def test_only_a_command_that_is_refused_is_answered(shelf: Shelf, context: ContextProjection) -> None:
    commands = [
        command("delete", id="a"),
        command("upsert", id="b", body=body(x=1)),
        command("delete_attribute", id="c", attribute="y"),
        command("paint", id="d"),
        command("upsert", id="e", body=body("urn:ngsi-ld:Pump:2")),
        EntityCommand("f", "replace", PUMP, b"{torn"),
        command("merge", "urn:ngsi-ld:Pump:404", id="g", body=body("urn:ngsi-ld:Pump:404")),
        command("delete_attribute", id="h", attribute="x"),
    ]
    notices = context.apply([record(1, *commands, subject="entity")], NOW)
    answers = {one.subject: orjson.loads(one.payload) for one in notices}
    assert {name: answer["error"] for name, answer in answers.items()} == {
        "reply.a": "NotFound",
        "reply.c": "NotFound",
        "reply.d": "InvalidData",
        "reply.e": "InvalidData",
        "reply.f": "InvalidData",
        "reply.g": "NotFound",
    }
    assert shelf[PUMP]["attrs"] == {}


def test_replace_keeps_only_the_instant_of_creation(shelf: Shelf, context: ContextProjection) -> None:
    context.apply([record(1, command("upsert", body=body(types=("Pump", "Old"), x=1), at=10), subject="entity")], NOW)
    context.apply([record(2, command("replace", body=body(y=2), at=20), subject="entity")], NOW)
    entity = shelf[PUMP]
    assert (entity["type"], entity["createdAt"], entity["modifiedAt"], set(entity["attrs"])) == (
        ["Pump"],
        10,
        20,
        {"y"},
    )


def test_a_merge_changes_only_what_it_names_and_null_removes(shelf: Shelf, context: ContextProjection) -> None:
    before = body(
        flow=[{"type": "Property", "value": {"a": 1, "b": {"c": 2, "d": 3}}, "unitCode": "X"}],
        name=[{"type": "LanguageProperty", "languageMap": {"ko": "펌프", "en": "pump"}}],
        gone=1,
        multi=[{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:2"}],
    )
    fragments = {
        "flow": [{"value": {"b": {"c": None}, "e": 5}, "unitCode": None}],
        "name": [{"languageMap": {"en": "urn:ngsi-ld:null", "zh": "泵"}}],
        "gone": None,
        "multi": [{"datasetId": "urn:d:2", "value": 20}],
        "added": [
            {"type": "Property", "value": 1, "attrs": {"kept": [{"type": "Property", "value": 1}], "none": None}}
        ],
        "vanished": [{"unitCode": "CEL"}],
    }
    context.apply([record(1, command("upsert", body=before), subject="entity")], NOW)
    patch = {"id": PUMP, "type": [], "attrs": fragments}
    context.apply([record(2, command("merge", body=patch), subject="entity")], NOW)
    attributes = shelf[PUMP]["attrs"]
    assert attributes["flow"][0]["value"] == {"a": 1, "b": {"d": 3}, "e": 5}
    assert "unitCode" not in attributes["flow"][0]
    assert attributes["name"][0]["languageMap"] == {"ko": "펌프", "zh": "泵"}
    assert [one["value"] for one in attributes["multi"]] == [1, 20]
    assert list(attributes["added"][0]["attrs"]) == ["kept"]
    assert "gone" not in attributes
    assert "vanished" not in attributes


def test_a_partial_change_keeps_the_newer_value_a_device_sent_meanwhile(
    shelf: Shelf, context: ContextProjection
) -> None:
    context.apply([record(1, seen(1.0, 100)), record(2, seen(2.0, 200))], NOW)
    patch = {"id": PUMP, "attrs": {"flow": [{"unitCode": "LTR"}]}}
    context.apply([record(3, command("merge", body=patch), subject="entity")], NOW)
    assert shelf[PUMP]["attrs"]["flow"][0]["value"] == 2.0
    assert shelf[PUMP]["attrs"]["flow"][0]["unitCode"] == "LTR"


def test_what_could_not_be_stored_is_forgotten_and_applied_again_whole(
    shelf: Shelf, context: ContextProjection
) -> None:
    context.apply([record(1, seen(1.0, 100))], NOW)
    shelf.full = True
    with pytest.raises(Unavailable):
        context.apply([record(2, seen(2.0, 200))], NOW)
    shelf.full = False
    context.apply([record(2, seen(1.5, 150))], NOW)
    assert shelf[PUMP]["attrs"]["flow"][0]["value"] == 1.5


def test_a_record_that_is_no_frame_stops_the_projection_instead_of_being_skipped(
    shelf: Shelf, context: ContextProjection
) -> None:
    with pytest.raises(InvalidData):
        context.apply([record(1, seen(1.0, 100)), Record(2, "obs", b"HF9 torn", 1)], NOW)
    assert (shelf.seq, shelf.bodies) == (0, {})


_ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40
)


@given(_ROWS, st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_however_the_rows_are_cut_into_batches_the_outcome_is_that_of_one_by_one(
    rows: list[Any], cuts: list[int]
) -> None:
    expected: dict[tuple[str, str], tuple[int, float]] = {}
    made = [seen(float(v), t, entity=f"urn:ngsi-ld:Pump:{n}", attribute=a) for n, a, t, v in rows]
    for one in made:
        known = expected.get((one.entity, one.attribute))
        if known is None or one.observed_at >= known[0]:
            expected[one.entity, one.attribute] = (one.observed_at, float(one.value or 0))
    shelf = Shelf()
    context = ContextProjection(shelf)
    start = seq = 0
    while start < len(made):
        size = cuts[seq % len(cuts)]
        seq += 1
        context.apply([record(seq, *made[start : start + size])], NOW)
        start += size
    found = {
        (id, name): (one[0]["observedAt"], one[0]["value"])
        for id in shelf.bodies
        for name, one in shelf[id]["attrs"].items()
    }
    assert found == expected


def test_what_subscriptions_ask_for_is_told_as_it_was_and_as_it_is_and_nothing_else(shelf: Shelf) -> None:
    outbox = Outbox(shelf)  # type: ignore[arg-type]  # it forgets nothing here
    context = ContextProjection(shelf, outbox)
    body = {"id": PUMP, "type": ["Pump"], "attrs": {"speed": [{"type": "Property", "value": 1}]}}
    commands = [EntityCommand("1", "upsert", PUMP, orjson.dumps(body), at=5)]
    context.apply([Record(1, "entity", frames.encode(Frame(commands=tuple(commands))), 5)], NOW)
    assert shelf.told == []
    outbox.interest = lambda id, types: "Pump" in types
    seen = to_batch([Observation(PUMP, "speed", 7, 7, 2.0), Observation("urn:ngsi-ld:Valve:1", "angle", 7, 7, 2.0)])
    context.apply([Record(2, "obs", frames.encode(Frame(observations=seen)), 8)], NOW)
    delete = EntityCommand("2", "delete", PUMP)
    context.apply([Record(3, "entity", frames.encode(Frame(commands=(delete,))), 9)], NOW)
    values = [
        [one and one["attrs"]["speed"][0]["value"] for one in (told["before"], told["after"])] for told in shelf.told
    ]
    assert [told["entity"] for told in shelf.told] == [PUMP, PUMP]
    assert values == [[1, 2.0], [2.0, None]]
