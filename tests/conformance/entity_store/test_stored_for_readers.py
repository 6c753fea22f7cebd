"""What readers of a store see of its one writer, and how it is found."""

import threading

import pytest
from stored_kit import SqliteCase, entity, ids, put, values

from haechi.core.errors import Unavailable
from haechi.plugins.stores.sqlite import live
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import EntityQuery


def test_a_reader_sees_what_the_writer_committed_and_nothing_else(case: SqliteCase, store: SqliteEntities) -> None:
    reader = case.reader()
    put(store, entity(1), position=1)
    assert (reader.position(), ids(reader)) == (1, ["1"])
    put(store, entity(2), position=2)
    assert (reader.position(), ids(reader)) == (2, ["1", "2"])
    reader.close()


def test_a_reader_before_the_first_writer_says_what_to_start(case: SqliteCase) -> None:
    early = case.reader()
    with pytest.raises(Unavailable, match="start the pipeline"):
        early.position()
    writer = case.writer()
    assert early.position() == 0
    early.close()
    writer.close()


def test_readers_in_threads_see_whole_batches_while_the_writer_goes_on(case: SqliteCase, store: SqliteEntities) -> None:
    put(store, *(entity(n, x=0) for n in range(200)))
    reader, torn, stop = case.reader(), [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            values = {
                one["attrs"]["x"][0]["value"]
                for one in reader.query(EntityQuery(types=("Sensor",), limit=500)).entities
            }
            if len(values) != 1:
                torn.append(values)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(1, 60):
        put(store, *(entity(n, x=turn) for n in range(200)), position=turn)
    stop.set()
    for thread in threads:
        thread.join()
    reader.close()
    assert torn == []


def test_the_version_changes_with_every_commit_and_with_nothing_else(case: SqliteCase, store: SqliteEntities) -> None:
    reader = case.reader()
    put(store, entity(1, x=0))
    seen = [(store.version(), reader.version())]
    for change in (
        lambda: put(store, entity(1, x=1)),
        lambda: put(store, entity(2, x=1)),
        lambda: store.apply({}, 3, values=[values(5, [1], 1.5)]),
        lambda: store.apply({"urn:ngsi-ld:Sensor:2": None}, 4),
    ):
        change()
        now = (store.version(), reader.version())
        assert now[0] != seen[-1][0] and now[1] != seen[-1][1]
        store.query(EntityQuery(types=("Sensor",)))
        reader.load(["urn:ngsi-ld:Sensor:1"])
        assert (store.version(), reader.version()) == now
        seen.append(now)
    reader.close()


@pytest.mark.parametrize("statement", [live._ONE, live._OF_TYPE, live._PAGE, live._BY_ID[20], live._ROWS[20]])
def test_what_is_read_most_is_found_by_indexes(case: SqliteCase, store: SqliteEntities, statement: str) -> None:
    reader = case.reader()
    steps = reader._reader().execute(f"EXPLAIN QUERY PLAN {statement}", ["1"] * statement.count("?")).fetchall()
    tables = [step[3] for step in steps if step[3].startswith("SCAN") and step[3] != "SCAN 20 CONSTANT ROWS"]
    inner = {"SCAN entity"} if any("entity" in step[3] and step[3][0] in "CM" for step in steps) else set()
    assert set(tables) <= inner, "only a list that another step made is walked from end to end"
    reader.close()
