"""The consumer of the log that keeps setpoints and follows them to their end. Run by the pipeline, joined in `app.py`.

It does no input or output: devices are told by notices, what they answer comes back on the log.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from haechi.core.errors import HaechiError, InvalidData
from haechi.core.observation import from_batch
from haechi.core.times import to_us
from haechi.ports import Change, Notice, Record, RecordStore
from haechi.services.commands.desk import Command, Current, Desk
from haechi.services.commands.setpoints import Setpoints
from haechi.services.commands.views import shown_command

COLLECTIONS: dict[str, Sequence[str]] = {"commands": ("entity", "attribute", "state", "open", "requested_at")}
"""The collections of the commands' record store and the fields they are searched by."""

POSITION_US = 5_000_000  # how often the position is written while nothing happens
_events = structlog.get_logger("commands")


class CommandProjection:
    """`haechi.ports.Projection` over a record store with `COLLECTIONS`.

    Observations are looked at only while a command is under way, so an idle city pays nothing for this. The durable
    position may lag behind: records between it and the newest had no effect and have none when read again.
    """

    name = "commands"
    subjects = frozenset({"obs", "entity", "ops"})
    after: tuple[str, ...] = ("context",)  # the value before a command is read from the live model

    def __init__(self, store: RecordStore, setpoints: Setpoints, current: Current) -> None:
        self._store, self._setpoints, self._current = store, setpoints, current
        self._under_way: list[Command] = store.find("commands", {"open": True}, limit=100_000)
        self._read, self._kept_at = store.position(), 0

    def position(self) -> int:
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        start, now_us = max(self._store.position(), self._read), to_us(now)
        fresh = [one for one in records if one.seq > start]
        if not fresh:
            return []
        desk, commanded = self._desk(), False
        replies: list[Notice] = []
        for one in fresh:
            if one.subject == "ops":
                reply = self._ops(desk, one, now_us)
                commanded = commanded or reply is not None
                replies += reply or []
            elif desk.under_way:
                _observe(desk, one)
        return [*self._keep(desk, fresh[-1].seq, must=commanded), *replies]

    def tick(self, now: datetime) -> Sequence[Notice]:
        now_us = to_us(now)
        desk = self._desk()
        desk.expire(now_us)
        due = abs(now_us - self._kept_at) >= POSITION_US and self._read > self._store.position()
        self._kept_at = now_us if due else self._kept_at
        return self._keep(desk, self._read, must=due)

    def close(self) -> None:
        self._store.close()

    def _desk(self) -> Desk:
        return Desk(self._setpoints, self._current, copy.deepcopy(self._under_way))

    def _keep(self, desk: Desk, seq: int, *, must: bool) -> list[Notice]:
        if desk.changed or must:
            self._store.commit([Change("commands", id, body) for id, body in desk.changed.items()], seq)
            self._under_way = list(desk.under_way.values())
        self._read = max(seq, self._read)
        live = [Notice("live.command", orjson.dumps(shown_command(one))) for one in desk.changed.values()]
        return [*desk.notices, *live]

    def _ops(self, desk: Desk, record: Record, now: int) -> list[Notice] | None:
        """Replies; None when the record is none of ours."""
        try:
            command = orjson.loads(record.payload)
        except orjson.JSONDecodeError as error:
            _events.error("command_skipped", seq=record.seq, error=str(error))
            return None
        kind = command.get("kind") if isinstance(command, dict) else None
        if kind == "command.outcome":
            try:
                desk.outcome(command)
            except InvalidData as error:
                _events.error("outcome_skipped", seq=record.seq, error=str(error))
            return []
        if kind != "command.request":
            return None
        return [Notice(f"reply.{command.get('id')}", orjson.dumps(_answer(desk, command, now)))]


def _answer(desk: Desk, command: Mapping[str, Any], now: int) -> dict[str, Any]:
    try:
        return {"ok": True, "result": shown_command(desk.request(command, now))}
    except HaechiError as error:
        return {"ok": False, "error": type(error).__name__, "detail": str(error)}


def _observe(desk: Desk, record: Record) -> None:
    try:
        rows = record.frame().observations
    except InvalidData as error:
        _events.error("frame_skipped", seq=record.seq, error=str(error))
        return
    if rows.num_rows:
        ours = rows.filter(pc.is_in(rows.column("entity"), value_set=pa.array(sorted(desk.watched), pa.string())))
        for one in from_batch(ours):
            desk.observed(one.entity, one.attribute, one.content, (one.observed_at, one.received_at))
