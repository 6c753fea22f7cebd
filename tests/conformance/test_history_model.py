"""History against a plain-Python model: whatever is fed, committed, merged or restarted, the answers are the
model's.
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest

from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.core.times import from_us, to_us
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.ports import Record, SeriesQuery
from haechi.services.history import HistoryTail, HistoryWriter

MIDNIGHT = 1_763_769_600_000_000
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
ENTITIES = tuple(f"urn:ngsi-ld:WaterPressureSensor:gimpo:P-{number}" for number in range(4))
ATTRIBUTES = ("pressure", "flow")
AGGREGATES = ("mean", "min", "max", "sum", "count", "first", "last", "stddev")
SMALL = HistorySettings(merge_files=2, merge_rows=120, rollup_rows=60, rollup_s=9000, synced=False)


def record(seq: int, observations: list[Observation]) -> Record:
    """One message of the log; stored a second after the one before."""
    return Record(seq, "obs", encode(Frame(observations=to_batch(observations))), MIDNIGHT + seq * 1_000_000)


@dataclass(frozen=True)
class Row:
    """What the model keeps of one observation."""

    seen: Observation
    stored_at: int

    @property
    def series(self) -> tuple[str, str]:
        return self.seen.entity, self.seen.attribute


class Model:
    """History as its rules say it, with nothing but a list."""

    def __init__(self) -> None:
        self.log: list[Record] = []
        self.rows: list[Row] = []
        self._contents: set[tuple[object, ...]] = set()

    def feed(self, observations: list[Observation]) -> Record:
        message = record(len(self.log) + 1, observations)
        self.log.append(message)
        for one in observations:
            content = (one.entity, one.attribute, one.observed_at, one.value, one.text)
            if content not in self._contents:
                self._contents.add(content)
                self.rows.append(Row(one, message.stored_at))
        return message

    def held(self, query: SeriesQuery) -> list[Row]:
        """Rows of the question, of each instant the one stored last, by series and time."""
        last: dict[tuple[str, str, int], Row] = {}
        for row in self.rows:
            if query.known_at is None or row.stored_at <= query.known_at:
                last[(*row.series, row.seen.observed_at)] = row
        wanted = [
            row
            for row in last.values()
            if query.start <= row.seen.observed_at < query.end
            and (not query.entities or row.seen.entity in query.entities)
            and (not query.attributes or row.seen.attribute in query.attributes)
        ]
        sign = -1 if query.descending else 1
        return sorted(wanted, key=lambda row: (*row.series, sign * row.seen.observed_at))

    def windows(self, query: SeriesQuery) -> list[dict[str, object]]:
        window = query.window_us or 0
        rows = self.held(query)
        answer = []
        for (entity, attribute, at), members in groupby(
            rows, key=lambda row: (*row.series, row.seen.observed_at // window * window)
        ):
            sums = summed([row.seen for row in sorted(members, key=lambda row: row.seen.observed_at)])
            answer.append(
                {"entity": entity, "attribute": attribute, "window_at": from_us(at)}
                | {name: sums[name] for name in query.aggregates}
            )
        return answer[: query.limit]

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for row in self.rows:
            found[row.seen.link] += 1
        return dict(found)


def summed(members: list[Observation]) -> dict[str, float | int | None]:
    """Aggregates of one window's rows in order of time."""
    numbers = [one.value for one in members if one.value is not None]
    if not numbers:
        return dict.fromkeys(AGGREGATES) | {"count": len(members)}
    return {
        "mean": math.fsum(numbers) / len(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "sum": math.fsum(numbers),
        "count": len(members),
        "first": numbers[0],
        "last": numbers[-1],
        "stddev": statistics.stdev(numbers) if len(numbers) > 1 else None,
    }


class City:
    """A writer and a reader on one folder, with the log between them, driven by a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.model = Model()
        self.now = datetime(2025, 11, 22, tzinfo=UTC)
        self.written = self.read = 0
        self.writer = HistoryWriter(IcebergStore(folder, SMALL), flush_s=20, flush_rows=40)
        self.reader = HistoryTail(IcebergFiles(folder))

    def feed(self) -> None:
        """A few messages: new, late, repeated and corrected observations."""
        for _ in range(self.chance.randint(1, 4)):
            self.model.feed([self._observation() for _ in range(self.chance.randint(0, 8))])

    def _observation(self) -> Observation:
        pick = self.chance
        if self.model.rows and pick.random() < 0.25:  # sent again, perhaps over another link
            old = pick.choice(self.model.rows).seen
            link = pick.choice(("mqtt", "hj212"))
            return Observation(
                old.entity, old.attribute, old.observed_at, old.received_at, old.value, old.text, link=link
            )
        at = MIDNIGHT + pick.choice((0, 1, 1, 2)) * DAY + pick.randint(0, 60 * 5) * 5 * MINUTE
        value, text = pick.choice(
            ((pick.randint(0, 9) / 4, None), (float(pick.randint(-3, 3)), None), (None, '{"a":1}'))
        )
        return Observation(pick.choice(ENTITIES), pick.choice(ATTRIBUTES), at, at + 5, value, text, "KPA", 0, "mqtt")

    def write(self) -> None:
        """The writer takes some of what it has not seen."""
        upto = self.chance.randint(self.written, len(self.model.log))
        self.writer.apply(self.model.log[self.written : upto], self.now)
        self.written = upto

    def absorb(self) -> None:
        """The reader takes all that was acknowledged."""
        self.reader.absorb(self.model.log[self.read :])
        self.read = len(self.model.log)

    def tick(self) -> None:
        self.now += timedelta(seconds=self.chance.choice((1, 30, 700, 4000)))
        self.writer.tick(self.now)

    def refresh(self) -> None:
        self.reader.refresh()

    def restart_writer(self) -> None:
        """What was gathered and not committed is gone; the log feeds it again from the committed position."""
        self.writer.close()
        self.writer = HistoryWriter(IcebergStore(self.folder, SMALL), flush_s=20, flush_rows=40)
        self.written = self.writer.position()

    def restart_reader(self) -> None:
        self.reader.close()
        self.reader = HistoryTail(IcebergFiles(self.folder))
        self.read = self.reader.start_after()

    def query(self) -> SeriesQuery:
        pick = self.chance
        start = MIDNIGHT + pick.randint(-HOUR, 2 * DAY)
        end = start + pick.choice((1, HOUR, DAY, 2 * DAY, 4 * DAY))
        window = pick.choice((None, 7 * MINUTE, HOUR, 3 * HOUR, DAY, 4 * DAY))
        if pick.random() < 0.4:
            start, end = MIDNIGHT, MIDNIGHT + 4 * DAY
        return SeriesQuery(
            entities=pick.choice(((), ENTITIES[:1], ENTITIES[1:3], (*ENTITIES, "urn:ngsi-ld:Nobody:x"))),
            attributes=pick.choice(((), ATTRIBUTES[:1], ATTRIBUTES)),
            start=start,
            end=end,
            window_us=window,
            aggregates=pick.choice((("mean",), AGGREGATES, AGGREGATES[:-1], ("last", "count"))),
            known_at=pick.choice((None, None, MIDNIGHT + pick.randint(0, len(self.model.log) + 1) * 1_000_000)),
            limit=pick.choice((100_000, 100_000, 3)),
            descending=window is None and pick.random() < 0.3,
        )

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def compare(city: City) -> None:
    """Every kind of question once."""
    query = city.query()
    if query.window_us is None:
        found = [
            (
                one["entity"],
                one["attribute"],
                to_us(one["observed_at"]),
                one["value"],
                one["text"],
                to_us(one["stored_at"]),
            )
            for one in city.reader.series(query).to_pylist()
        ]
        held = city.model.held(query)[: query.limit]
        assert found == [
            (*row.series, row.seen.observed_at, row.seen.value, row.seen.text, row.stored_at) for row in held
        ], query
    else:
        compare_windows(city, query)
    whole = SeriesQuery((), (), MIDNIGHT - 7 * MINUTE, MIDNIGHT + 3 * DAY + 11 * MINUTE, 2 * HOUR, AGGREGATES[:-1])
    compare_windows(city, whole)  # the kind that hourly sums answer
    compare_latest(city)
    assert {link: count for link, count in city.reader.counts().items() if count} == city.model.counts()


def compare_windows(city: City, query: SeriesQuery) -> None:
    found = city.reader.series(query).to_pylist()
    expected = city.model.windows(query)
    keys = ("entity", "attribute", "window_at")
    assert [[one[key] for key in keys] for one in found] == [[one[key] for key in keys] for one in expected], query
    for name in query.aggregates:  # sums in another order differ in the last bits, nothing else does
        for one, two in zip(found, expected, strict=True):
            assert is_close(one[name], two[name]), (name, one, two, query)


def is_close(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is two
    return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9)


def compare_latest(city: City) -> None:
    at = MIDNIGHT + city.chance.randint(-HOUR, 4 * DAY)
    found = city.reader.latest((*ENTITIES, "urn:ngsi-ld:Nobody:x"), ATTRIBUTES, at).to_pylist()
    rows = city.model.held(SeriesQuery((), (), MIDNIGHT - DAY, at + 1))
    newest = {row.series: row for row in rows}
    assert [(one["entity"], one["attribute"], to_us(one["observed_at"]), one["value"]) for one in found] == [
        (*series, row.seen.observed_at, row.seen.value) for series, row in sorted(newest.items())
    ], at


@pytest.fixture(params=range(3))
def city(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path, request.param)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_answers_are_the_models_whatever_is_committed_merged_or_restarted(city: City) -> None:
    steps = (city.write, city.write, city.tick, city.tick, city.refresh, city.restart_writer, city.restart_reader)
    for _ in range(50):
        city.feed()
        city.chance.choice(steps)()
        city.absorb()
        compare(city)
    city.writer.apply(city.model.log[city.written :], city.now)
    city.writer.flush()
    while city.writer.tick(city.now):
        pass
    city.reader.refresh()
    assert city.reader.tail_rows() == 0, "everything is in files by now"
    for _ in range(20):
        compare(city)
