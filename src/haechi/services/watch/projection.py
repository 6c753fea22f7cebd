"""The consumer of the log that turns observations and operator commands into alarms. Run by the pipeline, joined in
`app.py`.

Everything an `apply` or a `tick` does is one commit of the record store: alarms, transitions, the evaluator's memory,
counts and position. A kill at any instant finds either all of it or nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from haechi.core import frame
from haechi.core.alarm import Level
from haechi.core.errors import HaechiError, InvalidData
from haechi.core.times import SECOND, to_us
from haechi.ports import Change, Notice, Record, RecordStore
from haechi.services.watch import commands
from haechi.services.watch.alarms import Alarms
from haechi.services.watch.counts import Counter
from haechi.services.watch.evaluator import SETTLE_US, Describe, Evaluator
from haechi.services.watch.explain import explain
from haechi.services.watch.memory import Memory
from haechi.services.watch.rules import Rule
from haechi.services.watch.views import Linked, shown_alarm
from haechi.services.watch.watcher import Watcher

BEHIND_US = 5 * SECOND  # a newest record older than this: we are catching up. No tick for that long: we stood still
PUT_BACK_US = SECOND  # our clock may be set back by less without anybody noticing
_events = structlog.get_logger("watch")


class WatchProjection:
    """`haechi.ports.Projection` over a record store with `memory.COLLECTIONS`."""

    name = "watch"
    subjects = frozenset({"obs", "entity", "ops"})
    after: tuple[str, ...] = ("context",)

    def __init__(
        self,
        store: RecordStore,
        rules: Sequence[Rule],
        describe: Describe,
        linked: Linked | None = None,
        pace: float = 1.0,
    ) -> None:
        """`describe` answers from the live model; `linked` tells an alarm's incident, for notices only. `pace`: seconds
        of the platform's clock in one of life (more than 1 in a drill), so that what is on its way is waited for."""
        self._store, self._rules, self._describe, self._linked = store, list(rules), describe, linked
        self._settle_us, self._behind_us = int(SETTLE_US * pace), int(BEHIND_US * pace)
        self._load()

    def _load(self) -> None:
        """Takes up the durable state: at the start, and when a commit failed."""
        self._position = self._store.position()
        self._evaluator = Evaluator(self._rules, self._describe, self._sink, self._settle_us)
        self._evaluator.arrivals.known = self._position
        self._memory = Memory(self._store)
        self._memory.load(self._evaluator)
        self._alarms = Alarms(self._store, self._evaluator.described)
        self._counter = Counter(self._store)
        self._replies: list[Notice] = []
        self._torn, self._reconciled = False, False
        self._live, self._log_at = (
            False,
            0,
        )  # whether we are at the log's end; how far the platform's clock is on the log
        self._heard_at: int | None = None  # the platform's clock when we last heard of the log
        self._ticked_at: int | None = None

    def _sink(self, watcher: Watcher, at: int, before: Level | None) -> None:
        self._alarms.heard(watcher, at)

    def position(self) -> int:
        if self._torn:
            self._load()
        return self._position

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        start, fresh = self.position(), to_us(now)
        self._torn = True
        self._reconcile(fresh)
        waiting: list[tuple[int, pa.RecordBatch]] = []
        for record in records:
            if record.seq > start:
                found = self._frame(record) if record.subject != "ops" else None
                if found is None or found.commands:
                    self._observe(waiting, fresh)
                if record.subject == "ops":
                    self._command(record, fresh)
                elif found is not None:
                    self._entities_changed(found, fresh)
                    if found.observations.num_rows:
                        waiting.append((record.seq, found.observations))
                self._position = record.seq
        self._observe(waiting, fresh)
        return self._finish(fresh, self._position)

    def tick(self, now: datetime) -> Sequence[Notice]:
        self.position()
        fresh = to_us(now)
        self._notice_leap(fresh)
        if self._heard_at is None:
            self._heard_at = fresh
        if not self._live and fresh - self._heard_at >= self._behind_us:
            self._go_live(fresh)  # nothing has come for a while: this is the end of the log
        if not self._live:
            return []
        self._torn = True
        self._reconcile(fresh)
        self._elapse(fresh)
        self._evaluator.tick(fresh)
        return self._finish(fresh, None)

    def close(self) -> None:
        self._store.close()

    def explain(self, rule: str, entity: str) -> dict[str, Any]:
        """Why a rule did, or did not, raise on an entity: see `explain.explain`."""
        return explain(self._evaluator, self._alarms, rule, entity)

    # --- one record ---

    def _hear(self, at: int, now: int) -> None:
        """A record came to the platform at this instant (its own clock, not the log's): what was over by then comes
        before it. Far behind our clock means we are catching up, and that our clock says nothing about devices."""
        self._heard_at, self._log_at = now, max(self._log_at, min(at, now))  # a clock that was ahead is no lead
        if now - self._log_at > self._behind_us:
            self._live = False
        elif not self._live:
            self._go_live(now)
        self._elapse(at)

    def _go_live(self, now: int) -> None:
        self._live = True
        self._evaluator.listen_from(now)

    def _notice_leap(self, now: int) -> None:
        """Where our clock was set, or we stood still for a while, what waits in the log comes before anything that the
        clock says."""
        before, self._ticked_at = self._ticked_at, now
        if before is None or -PUT_BACK_US <= now - before <= self._behind_us:
            return
        self._live, self._heard_at, self._log_at = False, now, min(self._log_at, now)

    def _elapse(self, now: int) -> None:
        """Running times and shelves that are over, in the order of their instants."""
        while self._alarms.shelves and self._alarms.shelves[0][0] <= now:
            until = self._alarms.shelves[0][0]
            self._evaluator.elapse(until)
            self._alarms.expire(until)
        self._evaluator.elapse(now)

    def _frame(self, record: Record) -> frame.Frame | None:
        try:
            return record.frame()
        except InvalidData as error:
            _events.error("frame_skipped", seq=record.seq, reason=error.reason, error=str(error))
            return None

    def _observe(self, waiting: list[tuple[int, pa.RecordBatch]], now: int) -> None:
        """The observations of records that came one after the other, with what was over when each came."""
        if not waiting:
            return
        run = self._evaluator.gather(waiting)
        for number, came_at in enumerate(run.came_at):
            self._hear(came_at, now)
            self._evaluator.feed(run, number)
        waiting.clear()

    def _entities_changed(self, found: frame.Frame, now: int) -> None:
        if not found.commands:
            return
        if (at := _came_at(found)) is not None:
            self._hear(at, now)
        for command in found.commands:
            self._entity_changed(command, command.at or now)

    def _entity_changed(self, command: frame.EntityCommand, at: int) -> None:
        if command.op in {"delete", "delete_attribute"}:
            attribute = command.attribute if command.op == "delete_attribute" else None
            gone = self._evaluator.forget(command.entity, attribute)
            why = "the entity was deleted" if attribute is None else f"its {attribute} was deleted"
        else:
            gone, why = self._evaluator.rebind(command.entity), "the rule no longer covers the entity"
        for watcher in gone:
            self._alarms.withdraw(watcher.rule.id, watcher.entity, max(at, watcher.at), why)

    def _command(self, record: Record, now: int) -> None:
        try:
            command = orjson.loads(record.payload)
        except orjson.JSONDecodeError as error:
            _events.error("command_skipped", seq=record.seq, error=str(error))
            return
        if isinstance(command, dict) and isinstance(command.get("at"), int):
            self._hear(command["at"], now)
        if not isinstance(command, dict) or not str(command.get("kind")).startswith("alarm."):
            return
        answer: Mapping[str, Any]
        try:
            answer = {"ok": True, "result": self._shown(commands.perform(self._alarms, command))}
        except HaechiError as error:
            answer = commands.refusal(error)
        # the bytes now: as things stood after this very command, not after later ones of the batch
        self._replies.append(Notice(f"reply.{command.get('id')}", orjson.dumps(answer)))

    def _shown(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        if "alarm" in outcome:
            return shown_alarm(outcome["alarm"], self._linked)
        return {**outcome, "alarms": [shown_alarm(one, self._linked) for one in outcome["alarms"]]}

    # --- effects ---

    def _reconcile(self, at: int) -> None:
        """After a start: alarms of rules that are gone end, and those whose rule changed follow it."""
        if self._reconciled:
            return
        self._reconciled = True
        for (rule, entity), alarm in list(self._alarms.open.items()):
            watcher = self._evaluator.watcher(rule, entity)
            if watcher is None:
                self._alarms.withdraw(rule, entity, max(at, alarm["changed_at"]), "the rule was withdrawn")
                continue
            alarm["suppressing"] = watcher.suppressed
            active = alarm["level"] if alarm["condition_active"] else None
            if active != (watcher.level.word if watcher.level is not None else None):
                self._alarms.heard(watcher, max(at, alarm["changed_at"]))

    def _finish(self, now: int, position: int | None) -> list[Notice]:
        changes, changed = self._alarms.drain()
        annunciated, self._alarms.annunciated = self._alarms.annunciated, []
        changes += self._memory.changes(self._evaluator, self._position, now)
        recount = self._counter.update(self._alarms.open.values() if changed else None, annunciated, now)
        if recount:
            changes.append(Change("meta", "counts", self._counter.document()))
        replies, self._replies = self._replies, []
        if changes or position is not None:
            self._store.commit(changes, position)
        self._torn = False
        live = [Notice("live.alarm", orjson.dumps(shown_alarm(one, self._linked))) for one in changed]
        if recount:
            live.append(Notice("live.counts", orjson.dumps(self._counter.now)))
        return [*replies, *live]


def _came_at(found: frame.Frame) -> int | None:
    """When a frame came to the platform, by the clock of its front door."""
    if found.observations.num_rows:
        newest: int = pc.max(found.observations.column("received_at").cast(pa.int64())).as_py()
        return newest
    return max((one.at for one in found.commands if one.at), default=None)
