"""History's figures against the bare engine under it: `python bench/history.py [--rows 1000000 10000000]`.

Feeds log records of 500 observations through the writer (settling, roll-ups and merging included), beside the same rows
written by pyarrow alone; then asks what consoles and indicators ask, also while rows keep coming.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from haechi.core.frame import Frame, encode
from haechi.core.observation import INSTANT, SCHEMA
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.ports import Record, SeriesQuery
from haechi.services.history import HistoryTail, HistoryWriter
from haechi.services.history.rows import of_records, to_table

ENTITIES, ATTRIBUTES, BATCH = 1_000, ("pressure", "flow", "temperature"), 500
SERIES = ENTITIES * len(ATTRIBUTES)
START = 1_763_769_600_000_000  # a midnight
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
NAMES = [f"urn:ngsi-ld:WaterPressureSensor:gimpo:P-{number:05d}" for number in range(ENTITIES)]
CLOCK = datetime(2025, 11, 22, tzinfo=UTC)


def records(first: int, count: int, seq: int) -> Iterator[Record]:
    """Every series once a minute, rows `first` to `first + count` of that endless list."""
    entities = pa.array(NAMES).dictionary_encode().dictionary
    attributes = pa.array(ATTRIBUTES)
    noise = np.random.default_rng(first)
    for start in range(first, first + count, BATCH):
        rows = np.arange(start, start + BATCH)
        at = START + rows // SERIES * MINUTE
        columns = [
            entities.take(pa.array(rows % SERIES // len(ATTRIBUTES))),
            attributes.take(pa.array(rows % len(ATTRIBUTES))),
            pa.array(at, pa.int64()).cast(INSTANT),
            pa.array(at + 200_000, pa.int64()).cast(INSTANT),
            pa.array(np.round(400 + 20 * np.sin(at / HOUR) + noise.normal(size=BATCH), 2)),
            pa.nulls(BATCH, pa.string()),
            pa.repeat(pa.scalar("KPA"), BATCH),
            pa.array(np.zeros(BATCH, np.uint8)),
            pa.repeat(pa.scalar("mqtt"), BATCH),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
        yield Record(seq, "obs", encode(Frame(observations=batch)), int(at[-1]) + 300_000)
        seq += 1


def ingest(folder: Path, rows: int) -> dict[str, float]:
    """Feeds `rows` rows; seconds of the writer alone, of its upkeep, and of pyarrow writing the same tables."""
    spent = {"writer": 0.0, "upkeep": 0.0, "pyarrow": 0.0}
    writer = HistoryWriter(IcebergStore(folder / "history"))
    plain = folder / "plain"
    plain.mkdir()
    now, chunk = CLOCK, 200_000
    for first in range(0, rows, chunk):
        fed = list(records(first, chunk, first // BATCH + 1))
        spent["writer"] += timed(partial(feed, writer, fed, now))
        spent["upkeep"] += timed(partial(writer.tick, now))
        table = to_table(of_records(fed).batches)
        spent["pyarrow"] += timed(partial(pq.write_table, table, plain / f"{first}.parquet", compression="zstd"))
        now += timedelta(seconds=1)
    spent["writer"] += timed(writer.flush)
    while writer.tick(now):
        pass
    writer.close()
    return spent


def feed(writer: HistoryWriter, fed: list[Record], now: datetime) -> None:
    """As the runner does: some records at a time."""
    for start in range(0, len(fed), 50):
        writer.apply(fed[start : start + 50], now)


def timed(work: Callable[[], object]) -> float:
    """Seconds it took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def spread(work: Callable[[int], object], times: int) -> str:
    """p50 and p99 in milliseconds."""
    taken = sorted(timed(lambda number=number: work(number)) * 1000 for number in range(times))
    return f"p50 {statistics.median(taken):7.1f} ms   p99 {taken[int(len(taken) * 0.99)]:7.1f} ms"


def one_series(number: int, end: int, span: int = DAY) -> SeriesQuery:
    return SeriesQuery((NAMES[number * 37 % ENTITIES],), (ATTRIBUTES[number % 3],), end - span, end)


def ask(reader: HistoryTail, rows: int) -> None:
    end = START + rows // SERIES * MINUTE
    print(f"  one series, 24 h            {spread(lambda n: reader.series(one_series(n, end)), 200)}")
    many = SeriesQuery(tuple(NAMES[:50]), ("pressure",), end - HOUR, end)
    print(f"  50 series, 1 h              {spread(lambda n: reader.series(many), 30)}")
    everything = SeriesQuery((), (), START, end + DAY, HOUR, ("mean", "max"), None, 10_000_000)
    print(f"  hourly means of everything  {spread(lambda n: reader.series(everything), 5)}   (from hourly sums)")
    exact = SeriesQuery((), (), START, end + DAY, HOUR, ("mean", "stddev"), None, 10_000_000)
    print(f"  hourly stddev of everything {spread(lambda n: reader.series(exact), 3)}   (from all rows)")
    print(f"  latest of 20 series         {spread(lambda n: reader.latest(NAMES[n : n + 20], ('flow',), end), 30)}")


def fresh(reader: HistoryTail, rows: int) -> None:
    """What was absorbed is asked for at once: a last-minute query that must hold the new row."""
    feed = list(records(rows, 200 * BATCH, rows // BATCH + 1))

    def put_and_read(number: int) -> None:
        record = feed[number]
        reader.absorb([record])
        row = rows + number * BATCH + BATCH - 1
        at = START + row // SERIES * MINUTE
        query = SeriesQuery((NAMES[row % SERIES // 3],), (ATTRIBUTES[row % 3],), at - MINUTE, at + 1)
        assert at in [one.value for one in reader.series(query).column("observed_at")], "a fresh row is missing"

    print(f"  fresh read                  {spread(put_and_read, 200)}")


def put_while_queried(reader: HistoryTail, rows: int) -> None:
    """50,000 rows a second into the reader's tail while two threads ask for series and hourly means."""
    stop = threading.Event()
    end = START + rows // SERIES * MINUTE

    def keep_asking(offset: int) -> None:
        number = offset
        while not stop.is_set():
            reader.series(one_series(number, end))
            number += 1

    threads = [threading.Thread(target=keep_asking, args=(offset,)) for offset in range(2)]
    feed = list(records(rows + 200 * BATCH, 400 * BATCH, rows // BATCH + 201))
    for thread in threads:
        thread.start()
    taken = []
    begin = time.perf_counter()
    for number, record in enumerate(feed):
        taken.append(timed(lambda record=record: reader.absorb([record])) * 1000)
        time.sleep(max(0.0, begin + (number + 1) * BATCH / 50_000 - time.perf_counter()))
    stop.set()
    for thread in threads:
        thread.join()
    taken.sort()
    p99 = taken[int(len(taken) * 0.99)]
    print(f"  put while queried (50k/s)   p50 {statistics.median(taken):7.1f} ms   p99 {p99:7.1f} ms   per 500 rows")


def run(rows: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="haechi-bench-"))
    try:
        spent = ingest(folder, rows)
        size = sum(path.stat().st_size for path in (folder / "history").rglob("data/**/*.parquet"))
        print(f"{rows:,} rows, {SERIES:,} series")
        print(f"  into the writer             {rows / spent['writer']:12,.0f} rows/s")
        print(f"  … with its upkeep           {rows / (spent['writer'] + spent['upkeep']):12,.0f} rows/s")
        print(f"  pyarrow alone, same rows    {rows / spent['pyarrow']:12,.0f} rows/s")
        print(f"  ratio writer : pyarrow      {spent['pyarrow'] / spent['writer']:12.2f}")
        files = IcebergFiles(folder / "history")
        reader = HistoryTail(files)
        state = files.newest().state
        held = sum(one.size for one in state.files) / rows
        print(f"  bytes a row                 {held:12.1f}   in {len(state.files)} files")
        print(f"  … with states kept a while  {size / rows:12.1f}")
        ask(reader, rows)
        fresh(reader, rows)
        put_while_queried(reader, rows)
        reader.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    for wanted in parser.parse_args().rows:
        run(wanted)
