"""The live model's figures against a bare SQLite table of blobs: `python bench/context.py [--entities 1000000]`.

A million entities of about 577 bytes on a city-sized map. Updates run through the projection (frames decoded, values
put beside their documents, one durable commit per batch) and, beside it, as bare blobs by id, equally durable.
"""

import argparse
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Box, EntityQuery, Record
from haechi.services.context.projection import ContextProjection
from haechi.services.context.reader import facilities, latest, nearest
from haechi.services.ngsi_ld.q import compile_q

NOW = datetime(2026, 11, 22, tzinfo=UTC)
START = 1_795_300_000_000_000
TYPES = ("WaterPressureSensor", "WaterFlowSensor", "AirStation", "Hydrant", "Streetlight")
WEST, SOUTH, SIDE = 126.5, 37.4, 1.0  # degrees: about 88 by 111 km
ROWS, FRAMES = 500, 10
Result = dict[str, float]


def urn(number: int) -> str:
    return f"urn:ngsi-ld:{TYPES[number % 5]}:gimpo:P-{number:07d}"


def entity(number: int, chance: random.Random) -> dict[str, Any]:
    where = [round(WEST + SIDE * chance.random(), 6), round(SOUTH + SIDE * chance.random(), 6)]
    pressure = {
        "type": "Property",
        "value": 412.3,
        "unitCode": "KPA",
        "observedAt": START,
        "quality": 0,
        "modifiedAt": START,
    }
    return {
        "id": urn(number),
        "type": [TYPES[number % 5]],
        "scope": ["/gimpo/janggi"],
        "createdAt": START,
        "modifiedAt": START,
        "attrs": {
            "name": [{"type": "LanguageProperty", "languageMap": {"ko": "수압계", "en": f"P-{number}"}}],
            "location": [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": where}}],
            "pressure": [{**pressure, "value": round(300 + 200 * chance.random(), 1)}],
            "refPipe": [{"type": "Relationship", "object": "urn:ngsi-ld:WaterPipe:gimpo:17"}],
        },
    }


def fill(store: SqliteEntities, count: int) -> Result:
    chance, size = random.Random(1), 0
    began = time.perf_counter()
    for start in range(0, count, 20_000):
        made = [entity(n, chance) for n in range(start, min(count, start + 20_000))]
        size += sum(len(orjson.dumps(one)) for one in made)
        store.apply({one["id"]: one for one in made}, 0)
    return {"created/s": count / (time.perf_counter() - began), "bytes/entity": size / count}


def records(numbers: Sequence[int], turn: int, seq: int, attributes: Sequence[str] = ("pressure",)) -> list[Record]:
    """Records of ROWS observations: each attribute of each entity once."""
    at, found = START + turn * 1_000_000, []
    rows = [
        Observation(urn(n), name, at, at, value=400.0 + turn, unit="KPA", link="mqtt")
        for n in numbers
        for name in attributes
    ]
    for start in range(0, len(rows), ROWS):
        frame = Frame(observations=to_batch(rows[start : start + ROWS]))
        found.append(Record(seq + len(found), "obs", encode(frame), at))
    return found


def updates(context: ContextProjection, numbers: Sequence[int], seconds: float, attributes: Sequence[str]) -> Result:
    """Batches of 5,000 observations of entities drawn from `numbers`; frames are encoded outside the clock."""
    seq = context.position()
    chance, spent, cpu, done = random.Random(seq), 0.0, 0.0, 0
    while spent < seconds:
        entities = chance.sample(numbers, ROWS * FRAMES // len(attributes))
        batch = records(entities, seq + 1, seq + 1, attributes)
        seq += len(batch)
        began, used = time.perf_counter(), time.process_time()
        context.apply(batch, NOW)
        spent, cpu = spent + time.perf_counter() - began, cpu + time.process_time() - used
        done += len(entities) * len(attributes)
    return {"updates/s": done / spent, "updates per s of CPU": done / cpu}


def bare(folder: Path, count: int, seconds: float) -> Result:
    """The same documents in a table of id and blob: read by id, value changed, written, committed durably."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE entity (id TEXT PRIMARY KEY, body BLOB NOT NULL)")
    chance, spent, done = random.Random(1), 0.0, 0
    for start in range(0, count, 50_000):
        rows = [(urn(n), orjson.dumps(entity(n, chance))) for n in range(start, min(count, start + 50_000))]
        db.execute("BEGIN")
        db.executemany("INSERT INTO entity VALUES (?, ?)", rows)
        db.execute("COMMIT")
    while spent < seconds:
        ids = [urn(n) for n in chance.sample(range(count), ROWS * FRAMES)]
        began = time.perf_counter()
        found = db.execute(f"SELECT id, body FROM entity WHERE id IN ({','.join('?' * len(ids))})", ids).fetchall()
        changed = []
        for id, body in found:
            document = orjson.loads(body)
            document["attrs"]["pressure"][0]["value"] = 1.0
            changed.append((orjson.dumps(document), id))
        db.execute("BEGIN")
        db.executemany("UPDATE entity SET body = ? WHERE id = ?", changed)
        db.execute("COMMIT")
        spent, done = spent + time.perf_counter() - began, done + len(ids)
    result = {"updates/s": done / spent, "point reads/s": rate(lambda: _bare_read(db, chance, count))}
    began = time.perf_counter()
    test, box = compile_q("pressure>450", str), Box(126.9, 37.8, 126.92, 37.82)
    rows = (orjson.loads(body) for (body,) in db.execute("SELECT body FROM entity"))
    assert sum(1 for one in rows if one["type"] == [TYPES[0]] and _inside(one, box) and test(one))
    result["box and attribute ms"] = 1000 * (time.perf_counter() - began)
    db.close()
    return result


def _bare_read(db: sqlite3.Connection, chance: random.Random, count: int) -> None:
    db.execute("SELECT body FROM entity WHERE id = ?", (urn(chance.randrange(count)),)).fetchone()


def _inside(one: dict[str, Any], box: Box) -> bool:
    lon, lat = one["attrs"]["location"][0]["value"]["coordinates"]
    return bool(box.west <= lon <= box.east and box.south <= lat <= box.north)


def rate(one: Callable[[], object], seconds: float = 2.0) -> float:
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(100):
            one()
        done += 100
    return done / (time.perf_counter() - began)


def boxes(store: SqliteEntities, size: float, questions: int) -> Result:
    """Type, box and attribute: all answers of each of `questions` boxes of that many degrees."""
    chance, spent, found = random.Random(5), [], 0
    test = compile_q("pressure>450", str)
    for _ in range(questions):
        west, south = WEST + (SIDE - size) * chance.random(), SOUTH + (SIDE - size) * chance.random()
        question = EntityQuery((TYPES[0],), box=Box(west, south, west + size, south + size), matches=test, limit=1000)
        began = time.perf_counter()
        found += len(store.query(question).entities)
        spent.append(1000 * (time.perf_counter() - began))
    spent.sort()
    return {
        "p50 ms": statistics.median(spent),
        "p99 ms": spent[int(0.99 * questions)],
        "answers each": found / questions,
    }


def timed(one: Callable[[], Any]) -> float:
    began = time.perf_counter()
    one()
    return 1000 * (time.perf_counter() - began)


def tell(title: str, result: Result) -> None:
    print(f"{title:<58}" + "  ".join(f"{name} {value:,.1f}" for name, value in result.items()), flush=True)


def columns(folder: Path) -> None:
    store = SqliteEntities(folder / "city.db")
    fill(store, 50_000)
    types = dict.fromkeys(TYPES, "water")
    tell("50,000 entities: facilities columns", {"ms": timed(lambda: facilities(store, types))})
    tell("50,000 entities: latest columns", {"ms": timed(lambda: latest(store, types))})
    tell("50,000 entities: three nearest of a type", {"ms": timed(lambda: nearest(store, TYPES[2], 127.0, 37.9, 3))})
    store.close()


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--entities", type=int, default=1_000_000)
    count = asked.parse_args().entities
    folder = Path(tempfile.mkdtemp(prefix="bench-context-"))
    try:
        columns(folder)
        store = SqliteEntities(folder / "context.db")
        tell(f"{count:,} entities", fill(store, count))
        tell("type + box 0.02° (2 km) + attribute, all answers", boxes(store, 0.02, 300))
        tell("type + box 0.1° (10 km) + attribute, all answers", boxes(store, 0.1, 60))
        chance = random.Random(2)
        reads = rate(lambda: store.load([urn(chance.randrange(count))]))
        tell("point read, stored bytes", {"reads/s": reads})
        context = ContextProjection(store)
        one, three = ("pressure",), ("pressure", "flow", "temperature")
        busy, everyone = range(min(10_000, count)), range(count)
        tell("projection, batches of 5,000, 10,000 busy entities", updates(context, busy, 6.0, one))
        tell("the same, three attributes of each", updates(context, busy, 6.0, three))
        tell(f"projection, spread over {count:,}, three attributes each", updates(context, everyone, 8.0, three))
        spread = updates(context, everyone, 15.0, one)
        tell(f"projection, spread over {count:,}, one attribute each", spread)
        tell("type + box 0.02° + attribute after that", boxes(store, 0.02, 300))
        observed = rate(lambda: store.load([urn(chance.randrange(count))]))
        tell("point read, three observed attributes", {"reads/s": observed})
        store.close()
        plain = bare(folder, count, 10.0)
        tell("bare table of blobs, the same batches, spread", plain)
        print(f"ratio to the bare table: updates {spread['updates/s'] / plain['updates/s']:.2f}, ", end="")
        print(f"point reads {reads / plain['point reads/s']:.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
