"""`GET /api/history` over the real table and its tail: series, windows, an instant, known when, JSON and Arrow."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from console_city import SENSOR, Console, build, client
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND, from_us, parse_iso
from haechi.faces.console import history
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.ports import Record, SeriesQuery
from haechi.services.history import HistoryTail, HistoryWriter

START = parse_iso("2026-11-22T00:00:00Z")
COMMITTED, ALL = 600, 900  # seconds of data in files, and with the tail
DAY = {"entity": SENSOR, "attribute": "pressure", "from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z"}
SETTINGS = HistorySettings(synced=False)


def record(seq: int) -> Record:
    at = START + seq * SECOND
    seen = [Observation(SENSOR, "pressure", at, at + 1, 400.0 + seq % 10, unit="KPA", link="water-mqtt")]
    if seq == 5:
        seen.append(Observation(SENSOR, "state", at, at + 1, text='{"valve": "open"}', quality=4, link="water-mqtt"))
    return Record(seq, "obs", encode(Frame(observations=to_batch(seen))), at + 2 * SECOND)


@pytest.fixture
async def console(tmp_path: Path, clock: Any) -> AsyncIterator[Console]:
    writer = HistoryWriter(IcebergStore(tmp_path / "history", SETTINGS), flush_s=1)
    writer.apply([record(seq) for seq in range(1, COMMITTED + 1)], from_us(START))
    writer.tick(from_us(START) + timedelta(seconds=2))
    writer.close()
    tail = HistoryTail(IcebergFiles(tmp_path / "history", SETTINGS))
    assert tail.start_after() == COMMITTED
    tail.absorb([record(seq) for seq in range(COMMITTED + 1, ALL + 1)])
    yield await build(tmp_path / "console", clock, history=tail)
    tail.close()


async def ask(console: Console, **query: Any) -> Any:
    async with client(console, await console.token("viewer")) as http:
        return await http.get("/api/history", params={**DAY, **query})


async def test_files_and_tail_answer_as_one_series(console: Console) -> None:
    columns = (await ask(console)).json()["columns"]
    assert len(columns["value"]) == ALL
    assert columns["value"][:3] == [401.0, 402.0, 403.0] and set(columns["unit"]) == {"KPA"}
    assert columns["observed_at"][0] == "2026-11-22T00:00:01.000Z"
    assert columns["observed_at"] == sorted(columns["observed_at"])


async def test_a_question_for_more_rows_than_the_limit_says_so(console: Console) -> None:
    cut = await ask(console, limit=100)
    assert len(cut.json()["columns"]["value"]) == 100 and cut.headers["haechi-truncated"] == "true"
    assert "haechi-truncated" not in (await ask(console)).headers
    newest = await ask(console, limit=1, order="desc")
    assert newest.json()["columns"]["observed_at"] == ["2026-11-22T00:15:00.000Z"]


async def test_windows_carry_one_column_per_aggregate(console: Console) -> None:
    columns = (await ask(console, window_s=300, aggregate="mean,min,max,count")).json()["columns"]
    assert columns["window_at"][:2] == ["2026-11-22T00:00:00.000Z", "2026-11-22T00:05:00.000Z"]
    assert columns["count"] == [299, 300, 300, 1]
    assert columns["min"][1] == 400.0 and columns["max"][1] == 409.0 and columns["mean"][1] == 404.5


async def test_text_observations_come_as_what_their_json_says(console: Console) -> None:
    columns = (await ask(console, attribute="state")).json()["columns"]
    assert columns["value"] == [{"valve": "open"}] and columns["quality"] == [4]


async def test_at_an_instant_the_newest_value_before_it_holds(console: Console) -> None:
    async with client(console, await console.token("viewer")) as http:
        query = {"entity": SENSOR, "attribute": "pressure", "at": "2026-11-22T09:05:07+09:00"}
        columns = (await http.get("/api/history", params=query)).json()["columns"]
        assert columns["value"] == [407.0] and columns["observed_at"] == ["2026-11-22T00:05:07.000Z"]
        # A plus that nobody escaped arrives as a space.
        raw = await http.get(f"/api/history?entity={SENSOR}&attribute=pressure&at=2026-11-22T09:05:07+09:00")
    assert raw.json()["columns"] == columns


async def test_known_at_leaves_out_what_was_stored_later(console: Console) -> None:
    columns = (await ask(console, known_at="2026-11-22T00:00:12Z")).json()["columns"]
    assert len(columns["value"]) == 10


async def test_arrow_streams_the_same_rows_in_several_batches(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_ROWS_PER_BATCH", 250)
    answer = await ask(console, format="arrow")
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    with pa.ipc.open_stream(answer.content) as stream:
        batches = list(stream)
    table = pa.Table.from_batches(batches)
    assert table.num_rows == ALL and len(batches) > 3
    assert table.column("value").to_pylist() == (await ask(console)).json()["columns"]["value"]
    assert str(table.schema.field("observed_at").type) == "timestamp[us, tz=UTC]"


class Slow:
    """A reader whose answers wait until the test lets them go; counts how many are asked at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.now = self.most = 0

    def series(self, query: SeriesQuery) -> pa.Table:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.go.wait(10)
        with self.lock:
            self.now -= 1
        return pa.table({"entity": pa.array([], pa.string())})


async def test_only_a_few_questions_run_at_once_and_too_many_are_sent_away(tmp_path: Path, clock: Any) -> None:
    slow = Slow()
    console = await build(tmp_path, clock, history=slow)
    room = history.AT_ONCE + history.WAITING
    async with client(console, await console.token("viewer")) as http:
        asked = [asyncio.create_task(http.get("/api/history", params=DAY)) for _ in range(room + 5)]
        done, _ = await asyncio.wait(asked, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 5:
            more, _ = await asyncio.wait(set(asked) - done, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        slow.go.set()
        codes = sorted([(await one).status_code for one in asked])
        assert codes == [200] * room + [429] * 5
        assert slow.most == history.AT_ONCE
        assert (await http.get("/api/history", params=DAY)).status_code == 200
