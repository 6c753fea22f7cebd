"""A small city for the tests of watch and incidents: rules from TOML text, observations as frames, a real SQLite store."""

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
        lines.append(HEAD.replace("{{name} ", "{{name}} ").format(id=line[1:].strip()) if line.startswith("@") else line)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.toml").write_text("\n".join(lines), "utf-8")
    return load_rules(folder, zone=zone)


def describe(entity: str) -> Described:
    """Every entity of the small city."""
    name = {"ko": "센서", "zh": "传感器", "en": "Sensor"}
    pipe = {"refPipe": "urn:ngsi-ld:Pipe:t:9"}
    return Described((entity.split(":")[2],), name, ("/t/north",), (126.7, 37.6), {"ko": "북", "zh": "北", "en": "North"}, pipe)


def observed(seconds: float, value: Any, attribute: str = "pressure", quality: int = 0, **more: Any) -> Observation:
    """One observation of the sensor, received a tenth of a second later unless it says otherwise."""
    text = None if isinstance(value, float) else orjson.dumps(value).decode()
    received = more.pop("received", seconds + 0.1)
    return Observation(
        more.pop("entity", SENSOR), attribute, at(seconds), at(received), None if text else value, text, "KPA", quality, **more
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
