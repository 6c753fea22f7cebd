"""A small city whose setpoints are worked on, over a real record store."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND, from_us, to_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Notice, Record
from haechi.services.commands import COLLECTIONS, CommandProjection, CommandReader, Setpoint
from haechi.testing.clock import StandingClock

START = to_us(StandingClock().now())
SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-1"
VALVE = "urn:ngsi-ld:Valve:tiny:V-1"


def setpoint(attribute: str, entity: str = SENSOR, **changes: Any) -> Setpoint:
    fields: dict[str, Any] = {
        "entity": entity, "attribute": attribute, "link": "plant", "device": "PLC-1", "channel": "", "field": "p",
        "datatype": "number", "unit": "KPA", "device_unit": "BAR", "low": 0.0, "high": 1600.0, "tolerance": 0.5,
        "timeout_s": 30.0, "undo": False,
    }  # fmt: skip
    return Setpoint(**{**fields, **changes})


SETPOINTS = [
    setpoint("pressure", undo=True),
    setpoint("level", unit=None, device_unit=None, low=None, high=None, tolerance=None),
    setpoint("status", VALVE, datatype="text", unit=None, device_unit=None),
]


class City:
    """A log, a projection over a store on disk, and a live model of one value each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seq, self.now = folder, 0, START
        self.values: dict[tuple[str, str], Any] = {(SENSOR, "pressure"): 300.0}
        self.told: list[Notice] = []
        self.ids = itertools.count(1)
        self.open()

    def open(self) -> None:
        self.store = SqliteRecords(self.folder / "commands.db", COLLECTIONS)
        table = {(one.entity, one.attribute): one for one in SETPOINTS}
        self.reader = CommandReader(self.store, table)
        self.projection = CommandProjection(self.store, table, lambda *key: self.values.get(key))

    def record(self, subject: str, payload: bytes) -> Record:
        self.seq += 1
        return Record(self.seq, subject, payload, self.now)

    def take(self, *records: Record) -> list[Notice]:
        notices = list(self.projection.apply(records, from_us(self.now)))
        self.told += notices
        return notices

    def wait(self, seconds: float) -> list[Notice]:
        self.now += int(seconds * SECOND)
        notices = list(self.projection.tick(from_us(self.now)))
        self.told += notices
        return notices

    def asking(self, value: Any, **changes: Any) -> Record:
        body = {"entity": SENSOR, "attribute": "pressure", "value": value, "reason": "drill", "user": "kim"}
        body |= {"id": f"c{next(self.ids)}", "kind": "command.request", "at": self.now, **changes}
        return self.record("ops", orjson.dumps(body))

    def ask(self, value: Any, **changes: Any) -> dict[str, Any]:
        """The reply."""
        found = [one for one in self.take(self.asking(value, **changes)) if one.subject.startswith("reply.")]
        return dict(orjson.loads(found[0].payload))

    def outcome(self, id: str, **changes: Any) -> Record:
        body = {"id": f"{id}-x", "kind": "command.outcome", "user": "haechi", "command": id, "at": self.now, **changes}
        return self.record("ops", orjson.dumps(body))

    def confirm(self, id: str = "c1") -> None:
        self.take(self.outcome(id, ok=True, confirmed=True, detail="acknowledged"))

    def seen(self, value: Any, attribute: str = "pressure", entity: str = SENSOR, late_s: float = 0.0) -> Record:
        text = None if isinstance(value, float) else orjson.dumps(value).decode()
        observed_at = self.now - int(late_s * SECOND)
        number = value if isinstance(value, float) else None
        row = Observation(entity, attribute, observed_at, self.now, number, text, "KPA", link="plant")
        return self.record("obs", encode(Frame(observations=to_batch([row]))))

    def command(self, id: str = "c1") -> Mapping[str, Any]:
        return self.reader.command(id)

    def states(self, id: str = "c1") -> list[str]:
        return [str(one["state"]) for one in self.command(id)["steps"]]

    def sent(self) -> list[dict[str, Any]]:
        return [orjson.loads(one.payload) for one in self.told if one.subject == "command.plant"]
