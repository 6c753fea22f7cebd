"""How many observations a second watch evaluates on one core, with real SQLite: `python bench/watch.py [observations]`.

Twenty rules (thresholds with dwell, rate, stuck, silence, all), 20,000 series that one rule reads, 2,000 that several
read; one row in five is of an attribute no rule reads. Frames of 500 rows, four an apply, each one durable commit.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from haechi.core import frame
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND, from_us, parse_iso
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Record
from haechi.services.watch import COLLECTIONS, Described, WatchProjection, load_rules

START = parse_iso("2026-03-02T03:00:00Z")
ROWS, FRAMES = 500, 4
HEAD = """
[[rule]]
id = "{id}"
name = {{ ko = "가", zh = "中", en = "a" }}
text = {{ ko = "{{name}} {{value}}", zh = "{{name}} {{value}}", en = "{{name}} {{value}}" }}
domain = "water"
entities = {{ type = "{type}" }}
attribute = "{attribute}"
"""
LEVELS = """
[rule.levels.caution]
when = { above = 90.0 }
clear = { at_most = 85.0 }
for_s = 30
[rule.levels.serious]
when = { above = 99.5 }
for_s = 10
"""
OTHERS = (
    "[rule.levels.attention]\nwhen = { rate_above = 50.0, per_s = 60, window_s = 300 }\n",
    "[rule.levels.attention]\nwhen = { stuck_s = 3600 }\n",
    "[rule.levels.attention]\nwhen = { silence_s = 600 }\n",
    "[rule.levels.alert]\nwhen = { all = [{ above = 95.0 }, { attribute = 'flow', above = 95.0 }] }\nfor_s = 20\n",
)


def write_rules(folder: Path) -> None:
    text = [HEAD.format(id=f"level{number}", type=f"Type{number}", attribute="level") + LEVELS for number in range(15)]
    text += [HEAD.format(id=f"pump{n}", type="Pump", attribute="pressure") + body for n, body in enumerate(OTHERS)]
    text.append(HEAD.format(id="pump", type="Pump", attribute="pressure") + LEVELS)
    (folder / "rules.toml").write_text("\n".join(text), "utf-8")


def frames(count: int) -> list[Record]:
    rng = random.Random(7)
    series = [(f"urn:ngsi-ld:Type{n % 15}:t:{n}", "level") for n in range(20_000)]
    series += [(f"urn:ngsi-ld:Pump:t:{n}", name) for n in range(1000) for name in ("pressure", "flow")]
    series += [(f"urn:ngsi-ld:Type{n % 15}:t:{n}", "battery") for n in range(5_500)]
    rng.shuffle(series)
    levels = {one: rng.uniform(20, 80) for one in series}
    records, rows = [], []
    for number in range(count):
        key = series[number % len(series)]
        levels[key] = min(100.0, max(0.0, levels[key] + rng.uniform(-4, 4)))
        at = START + number * SECOND // 2_000
        rows.append(Observation(*key, at, at + 50_000, levels[key], None, "KPA", 0, "bench"))
        if len(rows) == ROWS:
            records.append(
                Record(len(records) + 1, "obs", frame.encode(frame.Frame(observations=to_batch(rows))), at + 60_000)
            )
            rows = []
    return records


def describe(entity: str) -> Described:
    return Described((entity.split(":")[2],), {"ko": "가", "zh": "中", "en": "a"})


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    with tempfile.TemporaryDirectory() as folder:
        write_rules(Path(folder))
        rules = load_rules(Path(folder), zone="Asia/Seoul")
        records = frames(count)
        store = SqliteRecords(Path(folder) / "watch.db", COLLECTIONS)
        watch = WatchProjection(store, rules, describe)
        spent, slowest, heaviest, cpu = 0.0, 0.0, 0.0, time.process_time()
        for start in range(0, len(records), FRAMES):
            batch = records[start : start + FRAMES]
            began, worked = time.perf_counter(), time.process_time()
            watch.apply(batch, from_us(batch[-1].stored_at))
            watch.tick(from_us(batch[-1].stored_at))
            took = time.perf_counter() - began
            spent, slowest = spent + took, max(slowest, took)
            heaviest = max(heaviest, time.process_time() - worked)
        cpu = time.process_time() - cpu
        alarms = len(store.find("alarms", limit=1_000_000))
        size = sum(one.stat().st_size for one in Path(folder).glob("watch.db*")) / 1e6
        began, worked = time.perf_counter(), time.process_time()
        WatchProjection(store, rules, describe)
        restart, reborn = time.perf_counter() - began, time.process_time() - worked
    print(f"{count} observations, {len(rules)} rules, {alarms} alarms")
    print(f"{count / spent:,.0f} observations/s, {count / cpu:,.0f} per CPU second")
    print(f"slowest apply of 2,000: {slowest * 1e3:.0f} ms, {heaviest * 1e3:.0f} ms of CPU")
    print(f"store {size:.1f} MB, restart {restart:.2f} s, {reborn:.2f} s of CPU")


if __name__ == "__main__":
    main()
