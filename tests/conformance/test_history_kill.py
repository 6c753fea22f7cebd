"""History under kill -9: wherever the writing process dies, the files end up with exactly what the log holds.

Run as a program this file is the writing process: it feeds a log made by rule, commits and merges all the time.
"""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from haechi.core.errors import Conflict
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.ports import Record, SeriesQuery
from haechi.services.history import HistoryTail, HistoryWriter

MIDNIGHT = 1_763_769_600_000_000
SECOND, DAY = 1_000_000, 86_400_000_000
RECORDS, EACH = 160, 40
BUSY = HistorySettings(merge_files=3, merge_rows=5_000, rollup_rows=400)


def observations(seq: int) -> list[Observation]:
    """Of each message: mostly new rows, some a day late, the first five sent once before."""
    chance = random.Random(seq)
    rows = [
        Observation(
            f"urn:ngsi-ld:AirQualityObserved:gimpo:A-{number % 7}",
            "pm25",
            MIDNIGHT + seq * SECOND + number - (DAY if chance.random() < 0.1 else 0),
            MIDNIGHT + seq * SECOND + 999,
            float(number),
            link="mqtt",
        )
        for number in range(EACH)
    ]
    return rows if seq == 1 else observations(seq - 1)[-5:] + rows[5:] if seq % 10 == 0 else rows


def message(seq: int) -> Record:
    return Record(seq, "obs", encode(Frame(observations=to_batch(observations(seq)))), MIDNIGHT + seq * SECOND)


def write_on(folder: Path) -> None:
    """The writing process: begins where the committed position says, commits every few messages, tells each one."""
    writer = HistoryWriter(IcebergStore(folder, BUSY), flush_rows=EACH * 8)
    now = datetime(2025, 11, 22, tzinfo=UTC)
    print("ready", flush=True)
    for seq in range(writer.position() + 1, RECORDS + 1):
        now += timedelta(seconds=10)
        writer.apply([message(seq)], now)
        writer.tick(now)
        print(seq, flush=True)
    writer.flush()
    writer.close()


def start(folder: Path) -> subprocess.Popen[bytes]:
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def table_rows(folder: Path) -> list[tuple[object, ...]]:
    """What the files of the newest state hold, read by DuckDB alone."""
    files = IcebergFiles(folder)
    paths = [one.path for one in files.newest().state.files]
    rows = duckdb.sql(
        f"SELECT entity, attribute, epoch_us(observed_at), value, seq FROM read_parquet({paths!r})"
    ).fetchall()
    files.close()
    return rows


def expected_rows() -> list[tuple[object, ...]]:
    first: dict[tuple[object, ...], int] = {}
    for seq in range(1, RECORDS + 1):
        for one in observations(seq):
            first.setdefault((one.entity, one.attribute, one.observed_at, one.value), seq)
    return [(*content, seq) for content, seq in first.items()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_writer_killed_again_and_again_leaves_exactly_the_rows_of_the_log(tmp_path: Path) -> None:
    chance = random.Random(7)
    positions = []
    for _ in range(6):
        process = start(tmp_path)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 24)):
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.2))  # a commit or a merge takes about as long: most kills hit one
        process.send_signal(signal.SIGKILL)
        process.communicate()
        files = IcebergFiles(tmp_path)
        positions.append(files.newest().position)
        assert files.newest().position <= RECORDS
        files.close()
    assert positions == sorted(positions), "a committed position never goes back"
    assert 0 < positions[-1] < RECORDS, f"the kills hit nothing or came too late: {positions}"
    last = start(tmp_path)
    last.communicate()
    assert last.returncode == 0
    found = table_rows(tmp_path)
    assert len(found) == len(set(found)), "nothing is there twice"
    assert sorted(found) == sorted(expected_rows())
    everything = SeriesQuery((), (), MIDNIGHT - 2 * DAY, MIDNIGHT + DAY, DAY, ("count",))
    reader = HistoryTail(IcebergFiles(tmp_path))
    assert sum(reader.series(everything).column("count").to_pylist()) == len(found), "the hourly sums agree"
    assert reader.counts() == {"mqtt": len(found)}
    reader.close()


def test_the_files_of_a_commit_that_was_cut_short_are_ignored_and_then_removed(tmp_path: Path) -> None:
    writer = HistoryWriter(IcebergStore(tmp_path, BUSY))
    writer.apply([message(1)], datetime(2025, 11, 22, tzinfo=UTC))
    writer.flush()
    writer.close()
    orphan = tmp_path / "warehouse/haechi/observations/data/day=2025-11-22/cut-short.parquet"
    half_manifest = tmp_path / "warehouse/haechi/observations/metadata/cut-short-m0.avro"
    for path in (orphan, half_manifest):
        path.write_bytes(b"PAR1 and no more")
    assert len(table_rows(tmp_path)) == EACH
    store, now = IcebergStore(tmp_path, BUSY), datetime(2025, 11, 22, tzinfo=UTC)
    store.upkeep.sweep(now)
    assert orphan.exists(), "a reader could be using it: files outlive their state by files_kept_s"
    assert store.upkeep.sweep(now + timedelta(seconds=BUSY.files_kept_s)) == 2
    store.close()
    assert not orphan.exists()
    assert not half_manifest.exists()
    assert len(table_rows(tmp_path)) == EACH


def test_a_second_writer_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    first = IcebergStore(tmp_path, BUSY)
    with pytest.raises(Conflict, match="another process writes history"):
        IcebergStore(tmp_path, BUSY)
    first.close()
    IcebergStore(tmp_path, BUSY).close()


if __name__ == "__main__":
    write_on(Path(sys.argv[1]))
