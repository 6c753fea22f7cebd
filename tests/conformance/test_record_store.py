"""The suite of the `RecordStore` port; a new backend joins by adding itself to `STORES`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Change, RecordStore

COLLECTIONS = {"alarms": ("state", "at"), "meta": ()}


def sqlite(folder: Path) -> RecordStore:
    return SqliteRecords(folder / "records.db", COLLECTIONS)


STORES = [sqlite]


@pytest.fixture(params=STORES)
def make(request: pytest.FixtureRequest) -> Callable[[Path], RecordStore]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def store(make: Callable[[Path], RecordStore], tmp_path: Path) -> RecordStore:
    return make(tmp_path)


def test_a_folder_may_have_any_name(make: Callable[[Path], RecordStore], tmp_path: Path) -> None:
    folder = tmp_path / "a#b?c%41 d"
    make(folder).close()
    assert list(folder.iterdir())


def put(id: str, **body: object) -> Change:
    return Change("alarms", id, body)


def test_a_commit_holds_all_its_changes_and_its_position(store: RecordStore) -> None:
    assert store.position() == 0
    store.commit([put("a", state="open", at=1), put("b", state="open", at=2)], 7)
    assert store.position() == 7
    assert store.get("alarms", "a") == {"id": "a", "state": "open", "at": 1}
    assert store.get("alarms", "c") is None


def test_the_last_change_to_an_id_wins_and_none_deletes(store: RecordStore) -> None:
    store.commit([put("a", state="open", at=1), put("a", state="shut", at=2)])
    assert store.find("alarms") == [{"id": "a", "state": "shut", "at": 2}]
    store.commit([put("a", state="x", at=3), Change("alarms", "a", None)], 3)
    assert (store.find("alarms"), store.position()) == ([], 3)


def test_documents_are_found_by_fields_in_order_and_in_pages(store: RecordStore) -> None:
    states = ["open", "shut", "held"]
    store.commit([put(f"a{i}", state=states[i % 3], at=i) for i in range(9)])
    assert [one["at"] for one in store.find("alarms", {"state": "open"}, "-at")] == [6, 3, 0]
    assert [one["at"] for one in store.find("alarms", {"state": ("open", "held")}, "at")] == [0, 2, 3, 5, 6, 8]
    assert [one["at"] for one in store.find("alarms", {}, "at", limit=3, offset=4)] == [4, 5, 6]
    assert [one["id"] for one in store.find("alarms", {"id": ["a1", "a2"]})] == ["a1", "a2"]
    assert store.find("alarms", {"state": ()}) == []


def test_any_text_is_an_id_and_a_value(store: RecordStore) -> None:
    odd = "x'; DROP TABLE alarms; -- \u2028 경보 🔥"
    store.commit([put(odd, state=odd, at=None)])
    assert store.find("alarms", {"state": odd}) == [{"id": odd, "state": odd, "at": None}]


def test_a_collection_nobody_declared_is_a_bug(store: RecordStore) -> None:
    for wrong in (lambda: store.get("nobody", "x"), lambda: store.find("alarms", {"at2": 1}), lambda: store.find("x")):
        with pytest.raises(AssertionError):
            wrong()


def test_what_was_committed_is_there_after_opening_again(make: Callable[[Path], RecordStore], tmp_path: Path) -> None:
    first = make(tmp_path)
    first.commit([put("a", state="open", at=1)], 5)
    first.close()
    again = make(tmp_path)
    assert (again.position(), len(again.find("alarms"))) == (5, 1)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_record_store import put, sqlite
store = sqlite(Path(sys.argv[1]))
for number in range(store.position() + 1, 100_000):
    store.commit([put("count", state="open", at=number), put(f"n{number}", state="open", at=number)], number)
    if number % 20 == 0:
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_commits(tmp_path: Path) -> None:
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(round_ + 1):
            assert child.stdout.readline(), "the child wrote"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        store = sqlite(tmp_path)
        count = store.get("alarms", "count")
        assert count is not None
        assert count["at"] == store.position()
        assert len(store.find("alarms", limit=10**6)) == store.position() + 1
        store.close()


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path / "records.db", COLLECTIONS)
    store.commit([put("a", state="open", at=1)], 1)
    store._db.execute(f"PRAGMA max_page_count = {store._db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(Unavailable, match="full"):
        store.commit([put(f"b{i}", state="x" * 1000, at=i) for i in range(100)], 2)
    assert (store.position(), len(store.find("alarms"))) == (1, 1)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSettings, match="file"):
        SqliteRecords(tmp_path / "file" / "records.db", COLLECTIONS)
