"""A batch is stored whole or not at all, whatever fails and whenever the process dies."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_kit import SqliteCase, entity, ids, put

from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Box, EntityQuery


def test_a_batch_that_fails_leaves_no_trace(store: SqliteEntities) -> None:
    put(store, entity(1, ("A",), (126.5, 37.5), x=1), position=1)
    good, bad = entity(1, ("New",), (10.0, 10.0), z=1), entity(2, ("B",), x=object())
    with pytest.raises(TypeError):
        store.apply({"urn:ngsi-ld:A:1": good, "urn:ngsi-ld:B:2": bad}, 2)
    assert store.position() == 1
    assert ids(store, types=("New",)) == []
    put(store, entity(1, ("A",), (127.5, 37.5), x=2), entity(2, ("New",)), position=2)
    assert ids(store, box=Box(127, 37, 128, 38)) == ["1"]
    assert ids(store, types=("New",)) == ["2"]


_OPERATIONS = st.lists(
    st.dictionaries(
        st.integers(0, 6),
        st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from([("A",), ("B",), ("A", "B")]),
                st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 3))),
                st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)),
            ),
        ),
        max_size=5,
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_OPERATIONS)
def test_any_history_of_puts_and_deletes_answers_like_a_dictionary(store: SqliteEntities, batches: list[Any]) -> None:
    store.apply({f"urn:ngsi-ld:E:{n}": None for n in range(7)}, 0)
    model: dict[str, Any] = {}
    for position, batch in enumerate(batches, 1):
        puts: dict[str, Any] = {}
        for n, made in batch.items():
            id = f"urn:ngsi-ld:E:{n}"
            one = (
                None
                if made is None
                else {**entity(n, ("E",), made[1] and tuple(map(float, made[1])), **made[2]), "type": list(made[0])}
            )
            model.pop(id, None) if one is None else model.__setitem__(id, one)
            puts[id] = one
        store.load(list(puts))
        store.apply(puts, position)
    box = Box(1.0, 1.0, 2.0, 2.0)
    for types in ((), ("A",), ("B",)):
        chosen = {id: one for id, one in model.items() if not types or set(types) & set(one["type"])}
        page = store.query(EntityQuery(types=types, limit=100, count=True))
        assert {one["id"]: one for one in page.entities} == chosen
        assert page.total == len(chosen)
        inside = {id for id, one in chosen.items() if _inside(one)}
        assert {one["id"] for one in store.query(EntityQuery(types=types, box=box)).entities} == inside
    assert sum(one.count for one in store.shapes()) == len(model)


def _inside(one: dict[str, Any]) -> bool:
    if "location" not in one["attrs"]:
        return False
    return all(1 <= c <= 2 for c in one["attrs"]["location"][0]["value"]["coordinates"])


def test_changes_are_numbered_in_order_kept_over_a_restart_and_forgotten_when_seen(case: SqliteCase) -> None:
    store = case.writer()
    store.apply({}, 1, [b"a", b"b"])
    store.apply({}, 2, [b"c"])
    reader = case.reader()
    assert reader.changes(0, 2) == [(1, b"a"), (2, b"b")]
    assert reader.changes(2, 10) == [(3, b"c")]
    store.forget_changes(2, keep=100)
    assert reader.changes(0, 10) == [(3, b"c")]
    store.forget_changes(3, keep=100)
    assert (reader.changes(0, 10), reader.last_change()) == ([], 3)
    store.close()
    store = case.writer()
    store.apply({}, 3, [b"d", b"e", b"f"])
    assert reader.changes(3, 10) == [(4, b"d"), (5, b"e"), (6, b"f")], "a number is never given twice"
    store.forget_changes(0, keep=1)
    assert reader.changes(0, 10) == [(6, b"f")], "more than may be kept is not"
    reader.close()
    store.close()


_VICTIM = """
import sys
from pathlib import Path
import numpy as np
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.core.values import Values
store = SqliteEntities(Path(sys.argv[1]))
turn = store.position()
while True:
    turn += 1
    point = {"type": "Point", "coordinates": [turn % 180, 0]}
    attrs = {"x": [{"type": "Property", "value": turn}], "location": [{"type": "GeoProperty", "value": point}]}
    body = lambda n: {"id": f"urn:ngsi-ld:S:{n}", "type": ["S"], "attrs": attrs}
    ids, rows = [f"urn:ngsi-ld:Sensor:{n}" for n in range(300)], np.arange(300)
    made = {id: {"id": id, "type": ["Sensor"], "attrs": {"y": [{"type": "Property", "value": 0}]}} for id in ids}
    one, none = np.full(300, turn), np.full(300, None)
    seen = Values(ids, ["y"], rows, rows * 0, one, one.astype(object), none, rows * 0, turn)
    puts = {f"urn:ngsi-ld:S:{n}": body(n) for n in range(300)}
    store.apply(puts if turn > 1 else puts | made, turn, values=[seen])
    print(turn, flush=True)
"""


def test_kill_9_at_any_instant_leaves_documents_indexes_and_position_of_one_batch(tmp_path: Path) -> None:
    path, seed, acknowledged = tmp_path / "entities.db", random.Random(11), 0
    for _ in range(6):
        command = [sys.executable, "-c", _VICTIM, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as victim:
            assert victim.stdout is not None
            acknowledged = int(victim.stdout.readline())
            time.sleep(seed.uniform(0.01, 0.15))
            victim.send_signal(signal.SIGKILL)
            told = victim.stdout.read().split()
        acknowledged = max([acknowledged, *map(int, told)])
        store = SqliteEntities(path)
        position = store.position()
        assert position >= acknowledged
        found = store.query(EntityQuery(types=("S",), limit=1000)).entities
        assert {one["attrs"]["x"][0]["value"] for one in found} == {position}
        assert len(found) == 300
        beside = store.query(EntityQuery(types=("Sensor",), limit=1000)).entities
        assert [one["attrs"]["y"][0]["value"] for one in beside] == [position] * 300
        assert len(store.query(EntityQuery(box=Box(position % 180, 0, position % 180, 0), limit=1000)).entities) == 300
        store.close()
