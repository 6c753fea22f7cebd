"""A small city for the tests of watch and incidents: rules from TOML text, frames, a real SQLite store."""

import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from haechi.core import frame
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND, from_us, parse_iso
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Notice, Record
from haechi.services.watch import COLLECTIONS, Described, Rule, WatchProjection, load_rules

T0 = parse_iso("2026-03-02T03:00:00Z")  # a Monday, noon in Seoul
SENSOR = "urn:ngsi-ld:Sensor:t:1"

HEAD = """
[[rule]]
id = "{id}"
name = {{ ko = "이름", zh = "名", en = "name" }}
text = {{ ko = "{{name}} {{value}}{{unit}}", zh = "{{name}} {{limit}}", en = "{{name} {{value}} {{limit}} {{level}}" }}
domain = "water"
entities = {{ type = "Sensor" }}
attribute = "pressure"
"""


def at(seconds: float) -> int:
    """Microseconds of an instant some seconds after the beginning."""
    return T0 + round(seconds * SECOND)


def clock(seconds: float) -> datetime:
    """The same as a datetime."""
    return from_us(at(seconds))


def rules(folder: Path, body: str, zone: str = "Asia/Seoul") -> list[Rule]:
    """Rules from TOML in which `@id` stands for the head of a rule."""
    lines = []
    for line in body.splitlines():
        lines.append(
            HEAD.replace("{{name} ", "{{name}} ").format(id=line[1:].strip()) if line.startswith("@") else line
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.toml").write_text("\n".join(lines), "utf-8")
    return load_rules(folder, zone=zone)


def describe(entity: str) -> Described:
    """Every entity of the small city."""
    name = {"ko": "센서", "zh": "传感器", "en": "Sensor"}
    pipe = {"refPipe": "urn:ngsi-ld:Pipe:t:9"}
    return Described(
        (entity.split(":")[2],), name, ("/t/north",), (126.7, 37.6), {"ko": "북", "zh": "北", "en": "North"}, pipe
    )


def observed(seconds: float, value: Any, attribute: str = "pressure", quality: int = 0, **more: Any) -> Observation:
    """One observation of the sensor, received a tenth of a second later unless it says otherwise."""
    text = None if isinstance(value, float) else orjson.dumps(value).decode()
    received = more.pop("received", seconds + 0.1)
    return Observation(
        more.pop("entity", SENSOR),
        attribute,
        at(seconds),
        at(received),
        None if text else value,
        text,
        "KPA",
        quality,
        **more,
    )


class City:
    """Watch over a store, with a log that counts."""

    def __init__(self, folder: Path, rules: Sequence[Rule], **more: Any) -> None:
        self.folder, self.rules, self.more = folder, rules, more
        self.seq = 0
        self.notices: list[Notice] = []
        self.open()

    def open(self) -> None:
        self.store = SqliteRecords(self.folder / "watch.db", COLLECTIONS)
        self.watch = WatchProjection(self.store, self.rules, self.more.get("describe", describe))
        self.ticked: float | None = None

    def restart(self) -> None:
        self.watch.close()
        self.open()

    def record(self, subject: str, payload: bytes, stored: float) -> Record:
        self.seq += 1
        return Record(self.seq, subject, payload, at(stored))

    def frame(self, *observations: Observation, stored: float | None = None, **more: Any) -> Record:
        newest = max((one.received_at for one in observations), default=T0)
        payload = frame.encode(frame.Frame(observations=to_batch(list(observations)), **more))
        return self.record("obs", payload, (newest - T0) / SECOND if stored is None else stored)

    def hear(self, *observations: Observation) -> list[Notice]:
        """Each observation as a record of its own, applied as it comes."""
        found: list[Notice] = []
        for one in observations:
            record = self.frame(one)
            found += self.watch.apply([record], from_us(record.stored_at))
        self.notices += found
        return found

    def feel(self, *values: tuple[float, Any]) -> None:
        """(second, value) pairs of the sensor's pressure."""
        self.hear(*(observed(second, value) for second, value in values))

    def tick(self, seconds: float) -> list[Notice]:
        """Lets time pass until then, with a tick every four seconds, as nobody stands still."""
        found: list[Notice] = []
        while self.ticked is not None and self.ticked < seconds - 4:
            found += self.leap(self.ticked + 4)
        return found + self.leap(seconds)

    def leap(self, seconds: float) -> list[Notice]:
        """One tick then: our clock was set, or we stood still."""
        self.ticked = seconds
        found = list(self.watch.tick(clock(seconds)))
        self.notices += found
        return found

    def order(self, kind: str, seconds: float, user: str = "kim", **fields: Any) -> dict[str, Any]:
        """An operator command; returns the reply."""
        command = {"id": f"c{self.seq + 1}", "kind": kind, "user": user, "at": at(seconds), **fields}
        record = self.record("ops", orjson.dumps(command), seconds)
        notices = self.watch.apply([record], clock(seconds))
        self.notices += notices
        reply = next(one for one in notices if one.subject == f"reply.{command['id']}")
        return orjson.loads(reply.payload)

    def alarms(self) -> list[dict[str, Any]]:
        return self.store.find("alarms", order="raised_at")

    def alarm(self) -> dict[str, Any]:
        (one,) = self.alarms()
        return one

    def moves(self) -> list[tuple[float, str, str, str]]:
        """(second, kind, to, level) of every transition."""
        found = self.store.find("transitions", order="at", limit=100_000)
        return [((one["at"] - T0) / SECOND, one["kind"], one["to"], one["level"]) for one in found]


BUSY_RULES = """
@low
group = "refPipe"
[rule.levels.caution]
when = { below = 30.0 }
clear = { at_least = 35.0 }
for_s = 20
clear_for_s = 30
[rule.levels.serious]
when = { below = 10.0 }
for_s = 5
clear_for_s = 40
@both
suppress = { attribute = "mode", equals = "test" }
[rule.levels.alert]
when = { all = [{ above = 60.0 }, { attribute = "flow", above = 50.0 }] }
for_s = 10
@fast
[rule.levels.attention]
when = { rate_above = 1.0, window_s = 60 }
@stuck
[rule.levels.attention]
when = { stuck_s = 30, epsilon = 0.5 }
@noon
active = { from = "12:05", to = "12:10" }
[rule.levels.attention]
when = { above = 40.0 }
for_s = 15
"""


def busy_log(rng: random.Random, count: int, sensors: int = 4) -> list[Record]:
    """A log with frames of several sensors, late and doubtful values, and operators who work on what may be there."""
    records: list[Record] = []
    levels: dict[tuple[str, str], tuple[float, float]] = {}  # per series: newest instant, value
    for seq in range(1, count + 1):
        now = seq * 2.0
        if rng.random() < 0.2:
            records.append(Record(seq, "ops", b"", at(now)))  # filled in while it runs: ids come from the run itself
            continue
        rows = [
            _row(rng, levels, now, f"urn:ngsi-ld:Sensor:t:{rng.randrange(sensors)}") for _ in range(rng.randint(1, 6))
        ]
        records.append(Record(seq, "obs", frame.encode(frame.Frame(observations=to_batch(rows))), at(now)))
    return records


def _row(
    rng: random.Random, levels: dict[tuple[str, str], tuple[float, float]], now: float, entity: str
) -> Observation:
    name = rng.choice(["pressure", "pressure", "pressure", "flow", "mode", "battery"])
    newest, level = levels.get((entity, name), (now - 1, rng.uniform(0, 100)))
    late = rng.random() < 0.1
    instant = newest - rng.uniform(1, 60) if late else max(newest, now - rng.uniform(0.0, 0.5))
    if rng.random() < 0.7:
        level = min(100.0, max(0.0, level + rng.uniform(-30, 30)))
    if not late:
        levels[entity, name] = instant, level
    content = rng.choice(["on", "on", "test"]) if name == "mode" else level
    quality = 4 if rng.random() < 0.05 else 0
    return observed(instant, content, name, quality, entity=entity, received=now)


def command_for(store: SqliteRecords, record: Record, seed: int) -> Record:
    """An operator command that depends on nothing but the record and the alarms of the store."""
    rng = random.Random(record.seq * 1000 + seed)
    alarms = store.find("alarms", {"open": True}, order="id")
    alarm = rng.choice(alarms)["id"] if alarms else "none"
    kind = rng.choice(["alarm.acknowledge", "alarm.acknowledge", "alarm.shelve", "alarm.unshelve"])
    fields = {"alarms": [alarm]} if kind == "alarm.acknowledge" else {"alarm": alarm, "duration_s": 45, "reason": "r"}
    command = {"id": f"c{record.seq}", "kind": kind, "user": "kim", "at": record.stored_at, **fields}
    return Record(record.seq, "ops", orjson.dumps(command), record.stored_at)


def outcome(store: SqliteRecords) -> tuple[list[Any], list[Any]]:
    """Everything that must be the same however the log was cut."""
    return store.find("alarms", limit=100_000), store.find("transitions", limit=100_000)
