"""The consumer of the log that keeps incidents. Run by the pipeline after watch, joined in `app.py`.

An alarm's incident is kept here and joined to the alarm where it is shown: one truth, decided in log order.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import orjson
import structlog

from haechi.core.errors import HaechiError
from haechi.ports import Notice, Record, RecordStore
from haechi.services.incidents.desk import Closing, Desk
from haechi.services.incidents.playbooks import Playbook
from haechi.services.incidents.views import linked, shown_incident
from haechi.services.watch import shown_alarm

COLLECTIONS: dict[str, Sequence[str]] = {
    "incidents": ("state", "opened_at", "number"),
    "links": ("incident",),
    "meta": (),
}
"""The collections of the incidents' record store and the fields they are searched by."""

_events = structlog.get_logger("incidents")


class IncidentProjection:
    """`haechi.ports.Projection` over a record store with `COLLECTIONS`."""

    name = "incidents"
    subjects = frozenset({"ops"})
    after: tuple[str, ...] = ("watch",)

    def __init__(
        self, store: RecordStore, alarms: RecordStore, playbooks: Mapping[str, Playbook], closing: Closing | None = None
    ) -> None:
        """`alarms` is watch's record store, read only; `closing` what the city asks for before an incident is
        closed."""
        self._store, self._alarms, self._linked = store, alarms, linked(store)
        self._playbooks, self._closing = playbooks, closing or Closing()
        self._desk = self._new_desk()

    def _new_desk(self) -> Desk:
        return Desk(self._store, self._alarms, self._playbooks, self._closing)

    def position(self) -> int:
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        start = self._store.position()
        self._desk = self._new_desk()  # nothing of an apply whose commit failed
        replies = [reply for one in records if one.seq > start and (reply := self._command(one)) is not None]
        changes, incidents, alarms = self._desk.drain()
        if records and records[-1].seq > start:
            self._store.commit(changes, records[-1].seq)
        live = [Notice("live.incident", orjson.dumps(shown_incident(one))) for one in incidents]
        found = [self._alarms.get("alarms", id) for id in alarms]
        live += [Notice("live.alarm", orjson.dumps(shown_alarm(one, self._linked))) for one in found if one is not None]
        return [*replies, *live]

    def _command(self, record: Record) -> Notice | None:
        try:
            command = orjson.loads(record.payload)
        except orjson.JSONDecodeError as error:
            _events.error("command_skipped", seq=record.seq, error=str(error))
            return None
        if not isinstance(command, dict) or not str(command.get("kind")).startswith("incident."):
            return None
        answer: Mapping[str, object]
        try:
            answer = {"ok": True, "result": shown_incident(self._desk.perform(command))}
        except HaechiError as error:
            answer = {"ok": False, "error": type(error).__name__, "detail": str(error)}
        return Notice(f"reply.{command.get('id')}", orjson.dumps(answer))

    def tick(self, now: datetime) -> Sequence[Notice]:
        return []

    def close(self) -> None:
        self._store.close()
