"""Questions to history: across commits, while files expire, with late rows and every kind of value, and refused
when wrong.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from haechi.core.errors import InvalidData, InvalidSettings, Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.observation import SCHEMA, Observation, to_batch
from haechi.core.times import from_us
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.plugins.stores.iceberg.written import WriterCatalogue
from haechi.ports import Record, SeriesQuery
from haechi.services.history import HistoryTail, HistoryWriter

MIDNIGHT = 1_763_769_600_000_000
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
PUMP = "urn:ngsi-ld:WaterPump:gimpo:P-1"
ALWAYS = (MIDNIGHT - 400 * DAY, MIDNIGHT + 400 * DAY)
NOW = datetime(2025, 11, 22, tzinfo=UTC)
SETTINGS = HistorySettings(merge_files=2, rollup_rows=10, synced=False)


class Bench:
    """A writer and a reader that are fed the same log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = IcebergStore(folder, SETTINGS)
        self.writer = HistoryWriter(self.store)
        self.files = IcebergFiles(folder)
        self.reader = HistoryTail(self.files)
        self.seq = 0

    def feed(self, *observations: Observation) -> None:
        self.seq += 1
        payload = encode(Frame(observations=to_batch(list(observations))))
        record = Record(self.seq, "obs", payload, MIDNIGHT + self.seq * 1_000_000)
        self.writer.apply([record], NOW)
        self.reader.absorb([record])

    def commit(self) -> None:
        self.writer.flush()
        self.reader.refresh()

    def values(self, **changed: object) -> list[float | None]:
        rows = self.reader.series(question(**changed))
        return rows.column("value").to_pylist()


def question(**changed: object) -> SeriesQuery:
    asked = {"entities": (PUMP,), "attributes": ("flow",), "start": ALWAYS[0], "end": ALWAYS[1], **changed}
    return SeriesQuery(**asked)  # type: ignore[arg-type]


def flow(at: int, value: float | None = 1.0, entity: str = PUMP, **more: object) -> Observation:
    return Observation(entity, "flow", at, at + 5, value, **more)  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.writer.close()
    bench.reader.close()


def test_what_was_acknowledged_a_moment_ago_is_in_the_answer_before_any_commit(history: Bench) -> None:
    history.feed(flow(MIDNIGHT, 3.5))
    assert history.values() == [3.5]
    assert history.files.newest().position == 0
    assert history.reader.position() == 1


def test_a_commit_moves_rows_from_the_tail_to_files_and_no_answer_changes(history: Bench) -> None:
    for number in range(5):
        history.feed(flow(MIDNIGHT + number, float(number)))
    before = history.reader.series(question())
    history.writer.flush()
    assert history.reader.series(question()).equals(before), "the reader has not heard of the commit"
    assert history.reader.refresh() == 5
    assert history.reader.tail_rows() == 0
    assert history.reader.series(question()).equals(before)


def test_answers_stay_whole_while_another_thread_commits_merges_and_refreshes(history: Bench) -> None:
    wrong: list[str] = []
    stop = threading.Event()
    whole = question(window_us=4 * DAY, aggregates=("count", "sum"))

    def keep_asking() -> None:
        while not stop.is_set():
            before = history.seq  # that many records were absorbed for certain
            rows = history.reader.series(whole).to_pylist()
            count = sum(row["count"] for row in rows)
            if not before * 4 <= count <= (history.seq + 1) * 4 or sum(row["sum"] for row in rows) != count:
                wrong.append(f"{count} rows seen with {before * 4} to {history.seq * 4} fed")

    asking = threading.Thread(target=keep_asking)
    asking.start()
    now = NOW
    for step in range(25):
        rows = [flow(MIDNIGHT + step * HOUR + number) for number in range(4)]
        record = Record(history.seq + 1, "obs", encode(Frame(observations=to_batch(rows))), MIDNIGHT)
        history.reader.absorb([record])
        history.seq += 1
        history.writer.apply([record], now)
        now += timedelta(seconds=30)
        history.writer.tick(now)
        history.writer.tick(now)
        history.reader.refresh()
    stop.set()
    asking.join()
    assert wrong == []


def test_a_query_on_an_old_state_still_finds_its_files_after_merging_and_the_sweep(history: Bench) -> None:
    for number in range(4):
        history.feed(flow(MIDNIGHT + number, float(number)))
        history.commit()
    old = history.files.newest()
    while history.store.maintain(NOW):
        pass
    assert history.store.observations.table.metadata.snapshot_log
    history.store.observations.forget(1)
    history.store.upkeep.sweep(NOW)
    history.store.upkeep.sweep(NOW + timedelta(seconds=SETTINGS.files_kept_s - 1))
    empty = history.reader.series(question(start=0, end=1))
    assert empty.num_rows == 0
    tail = pa.Table.from_batches([], schema=pa.schema([*SCHEMA, *_stored_fields()]))
    assert old.series(question(), tail).column("value").to_pylist() == [0.0, 1.0, 2.0, 3.0]


def _stored_fields() -> list[pa.Field]:
    return [pa.field("stored_at", pa.timestamp("us", "UTC"), False), pa.field("seq", pa.int64(), False)]


def test_a_reader_that_missed_every_notice_and_lost_its_files_takes_the_newest_state_by_itself(history: Bench) -> None:
    for number in range(4):
        history.feed(flow(MIDNIGHT + number, float(number)))
        history.commit()
    stale = history.reader
    while history.store.maintain(NOW):
        pass
    history.store.observations.forget(1)
    history.store.upkeep.sweep(NOW)
    assert history.store.upkeep.sweep(NOW + timedelta(seconds=SETTINGS.files_kept_s)) > 0
    assert stale.series(question()).column("value").to_pylist() == [0.0, 1.0, 2.0, 3.0]


def test_late_rows_land_with_both_times_and_what_was_known_when_stays_answerable(history: Bench) -> None:
    history.feed(flow(MIDNIGHT, 1.0))
    history.commit()
    history.feed(flow(MIDNIGHT - 3 * DAY, 9.0))  # stored two seconds after midnight, observed three days before
    late = history.reader.series(question()).to_pylist()[0]
    assert late["observed_at"] == from_us(MIDNIGHT - 3 * DAY)
    assert late["received_at"] == from_us(MIDNIGHT - 3 * DAY + 5)
    assert late["stored_at"] == from_us(MIDNIGHT + 2_000_000)
    for _ in range(2):  # from the tail, then from files
        assert history.values(known_at=MIDNIGHT + 1_000_000) == [1.0]
        assert history.values(known_at=MIDNIGHT + 2_000_000) == [9.0, 1.0]
        history.commit()


def test_a_value_sent_again_counts_once_and_a_corrected_one_replaces_the_first_but_both_are_kept(
    history: Bench,
) -> None:
    history.feed(flow(MIDNIGHT, 1.0, link="mqtt"))
    history.feed(flow(MIDNIGHT, 1.0, link="mqtt"))
    for _ in range(2):
        assert history.values() == [1.0]
        assert history.reader.counts() == {"mqtt": 1}
        history.commit()
    history.feed(flow(MIDNIGHT, 2.0, link="mqtt"))
    history.feed(flow(MIDNIGHT, 1.0, link="mqtt"))  # a repetition of the first, which stays replaced
    for _ in range(2):
        assert history.values() == [2.0]
        assert history.values(known_at=MIDNIGHT + 2_000_000) == [1.0]
        assert history.reader.counts() == {"mqtt": 2}
        history.commit()
    assert history.store.counters() == {"mqtt": (2, 2, 0)}


def test_every_kind_of_value_comes_back_as_it_went_in(history: Bench) -> None:
    numbers = [0.0, -1.5, 1e308, 5e-324, 12345678.901234567]
    texts = ['"열림"', "true", '{"type":"Point","coordinates":[126.7,37.6]}', '"关"', "[1,2]", '""']
    rows = [flow(MIDNIGHT + at, value) for at, value in enumerate(numbers)]
    rows += [flow(MIDNIGHT + 100 + at, None, text=text) for at, text in enumerate(texts)]
    rows += [flow(-5, 7.0, unit="MQH", quality=255, link="hj212")]  # before 1970, all flags
    history.feed(*rows)
    for _ in range(2):
        found = history.reader.series(question(start=-DAY)).to_pylist()
        assert [row["value"] for row in found[1:6]] == numbers
        assert [row["text"] for row in found[6:]] == texts
        assert {name: found[0][name] for name in ("unit", "quality", "link")} == {
            "unit": "MQH",
            "quality": 255,
            "link": "hj212",
        }
        assert history.reader.series(question(start=-DAY, window_us=DAY)).column("window_at")[0].as_py() == from_us(
            -DAY
        )
        history.commit()


def test_the_columns_of_an_answer_are_those_the_port_promises_whether_from_files_tail_or_nothing(
    history: Bench,
) -> None:
    stored_at = _stored_fields()[0]
    names = [
        "entity",
        "attribute",
        "observed_at",
        "received_at",
        "stored_at",
        "value",
        "text",
        "unit",
        "quality",
        "link",
    ]
    promised = pa.schema([stored_at if name == "stored_at" else SCHEMA.field(name) for name in names])
    for _ in range(3):
        assert history.reader.series(question()).schema == promised
        assert history.reader.latest([PUMP], ["flow"], MIDNIGHT).schema == promised
        history.feed(flow(MIDNIGHT))
        history.commit()


def test_the_latest_row_is_found_years_back_and_of_a_series_that_never_was_there_is_none(history: Bench) -> None:
    history.feed(flow(MIDNIGHT - 300 * DAY, 4.0), flow(MIDNIGHT, 5.0))
    for _ in range(2):
        assert history.reader.latest([PUMP, "urn:x:none:1"], ["flow", "head"], MIDNIGHT - 1).column(
            "value"
        ).to_pylist() == [4.0]
        assert history.reader.latest([PUMP], ["flow"], MIDNIGHT).column("value").to_pylist() == [5.0]
        assert history.reader.latest([PUMP], ["flow"], MIDNIGHT - 301 * DAY).num_rows == 0
        history.commit()


def test_hourly_sums_of_many_series_wait_until_each_sums_several_rows_or_long_enough(history: Bench) -> None:
    def summed(rows: int, now: datetime = NOW) -> int:
        """Feeds rows of as many series; up to which seq the sums reach then."""
        history.feed(*(flow(MIDNIGHT + history.seq, entity=f"urn:x:{one}") for one in range(rows)))
        history.commit()
        while history.store.maintain(now):
            pass
        return history.store.hourly.position

    assert summed(20) == 1
    assert summed(40) == 1
    assert summed(40) == 3, "now four rows wait for each of the twenty sums"
    assert summed(1) == 3
    assert summed(1, NOW + timedelta(seconds=SETTINGS.rollup_s + 1)) == 5


def test_retention_drops_whole_days_from_rows_and_hourly_sums_and_the_account_still_balances(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for day in range(6):
        bench.feed(*[flow(MIDNIGHT - day * DAY + hour * HOUR, float(day), link="mqtt") for hour in range(24)])
    bench.commit()
    bench.store.upkeep.roll_up()
    bench.store.upkeep.retain_from(MIDNIGHT - 2 * DAY)
    bench.reader.refresh()
    daily = question(window_us=DAY, aggregates=("count",))
    assert bench.reader.series(daily).column("count").to_pylist() == [24, 24, 24]
    assert len(bench.values()) == 72
    assert bench.store.counters() == {"mqtt": (144, 0, 72)}
    assert bench.reader.counts() == {"mqtt": 72}
    bench.writer.close()
    bench.reader.close()


def test_another_engine_reads_the_table_as_it_lies_with_microseconds_and_utc(history: Bench) -> None:
    history.feed(flow(MIDNIGHT + 123_456, 2.0))
    history.commit()
    path = history.store.observations.files.files[0].path
    assert "/data/day=2025-11-22/" in path
    parquet = pq.ParquetFile(path)
    for name in ("observed_at", "received_at", "stored_at"):
        column = parquet.schema.column(parquet.schema_arrow.get_field_index(name))
        kind = str(column.logical_type)
        assert "timeUnit=microseconds" in kind, "Spark reads millisecond files as 1970 without a word"
        assert "isAdjustedToUTC=true" in kind
    assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"
    catalogue = SqlCatalog(
        "haechi", uri=f"sqlite:///{history.folder}/catalogue.db", warehouse=f"file://{history.folder}/warehouse"
    )
    table = catalogue.load_table("haechi.observations")
    assert table.scan(row_filter="entity = '" + PUMP + "'").to_arrow().column("observed_at")[0].as_py() == from_us(
        MIDNIGHT + 123_456
    )
    assert table.current_snapshot().summary["haechi.position"] == "1"
    catalogue.close()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"start": MIDNIGHT, "end": MIDNIGHT}, "start is inclusive, end exclusive"),
        ({"limit": 0}, "limit 0 is outside"),
        ({"window_us": 0}, "positive number of microseconds"),
        ({"window_us": HOUR, "aggregates": ("median",)}, "there are: mean, min, max"),
        ({"window_us": HOUR, "aggregates": ("mean", "mean")}, "named twice"),
        ({"entities": ("",)}, "exact, non-empty names"),
        ({"entities": "urn:x"}, "exact, non-empty names"),
        ({"start": 1 << 62}, "outside the years"),
        ({"known_at": 1.5}, "whole microseconds"),
    ],
)
def test_a_question_that_has_no_answer_is_refused_and_says_what_to_change(
    history: Bench, changed: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidData, match=says):
        history.reader.series(question(**changed))


def test_names_are_values_and_never_sql(history: Bench) -> None:
    history.feed(flow(MIDNIGHT))
    history.commit()
    for name in ("' OR '1'='1", 'x"; DROP TABLE tail; --', "%", "urn:ngsi-ld:WaterPump:gimpo:P-_"):
        assert history.values(entities=(name,)) == []
        assert history.values(attributes=(name,)) == []
        assert history.reader.latest([name], [name], MIDNIGHT).num_rows == 0


@pytest.mark.parametrize("reached", [False, True], ids=["before the catalogue", "after it"])
def test_a_commit_that_fails_is_tried_again_and_nothing_is_lost_or_doubled(
    history: Bench, monkeypatch: pytest.MonkeyPatch, *, reached: bool
) -> None:
    history.feed(flow(MIDNIGHT, 1.0), flow(MIDNIGHT + 1, 2.0, link="mqtt"))
    real = WriterCatalogue.commit_table

    def failing(self: WriterCatalogue, *arguments: Any) -> Any:
        if reached:
            real(self, *arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as fault:
        fault.setattr(WriterCatalogue, "commit_table", failing)
        with pytest.raises(Unavailable, match="free disk space"):
            history.writer.flush()
    history.feed(flow(MIDNIGHT + 2, 3.0))
    history.commit()
    assert history.writer.position() == 2
    assert history.values() == [1.0, 2.0, 3.0]
    assert history.store.counters() == {"api": (2, 0, 0), "mqtt": (1, 0, 0)}


def test_a_frame_nobody_can_read_is_passed_over_and_the_log_goes_on(history: Bench) -> None:
    history.feed(flow(MIDNIGHT))
    history.seq += 1
    broken = Record(history.seq, "obs", b"HF9 of another version", MIDNIGHT)
    history.writer.apply([broken], NOW)
    history.reader.absorb([broken])
    history.feed(flow(MIDNIGHT + 1, 2.0))
    assert history.values() == [1.0, 2.0]
    history.commit()
    assert history.writer.position() == 3
    assert history.values() == [1.0, 2.0]


def test_settings_that_would_break_queries_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="running queries read those files"):
        HistorySettings(files_kept_s=5)
    with pytest.raises(InvalidSettings, match="0 to keep all"):
        HistorySettings(retention_days=-1)
