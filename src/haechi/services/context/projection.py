"""The live model as a projection of the log: applies observations and commands in order. Run by the pipeline.

An observation on `obs` moves its attribute forward; on `entity` only the commands count here, because the observations
beside them are what the same commands mean to history and watch.
"""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby

import orjson
import structlog

from haechi.core import entity as stored
from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.core.frame import EntityCommand, Frame
from haechi.core.urn import type_of
from haechi.ports import EntityStore, Notice, Record
from haechi.services.context import changes, recorded
from haechi.services.context.newest import newest
from haechi.services.context.outbox import WATCH_ANEW, Outbox

_log = structlog.get_logger(__name__)


class ContextProjection:
    """Holds nothing between two batches but the store, which remembers what it wrote last."""

    name = "context"
    subjects = frozenset({"obs", "entity", "ops"})
    after: tuple[str, ...] = ()

    def __init__(self, store: EntityStore, outbox: Outbox | None = None) -> None:
        self._store = store
        self._outbox = outbox
        self._before: dict[str, bytes] = {}  # the documents as they were before the batch at hand
        self._entities: dict[str, Entity | None] = {}  # those of the batch at hand; None: there is no such entity
        self._touched: set[str] = set()
        self._nameless = 0

    def position(self) -> int:
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        """Raises `InvalidData` when a record is no frame of this version: somebody has to look, nothing is skipped."""
        if not records:
            return ()
        with _uncollected():
            try:
                notices = self._run(records)
                puts = {id: self._entities[id] for id in self._touched}
                told = self._outbox.of(puts, self._before) if self._outbox else ()
                self._store.apply(puts, records[-1].seq, told)
            finally:
                self._entities.clear()
                self._before.clear()
                self._touched.clear()
        return notices

    def tick(self, now: datetime) -> Sequence[Notice]:
        if self._outbox:
            self._outbox.trim()
        return ()

    def close(self) -> None:
        self._store.close()

    def _run(self, records: Sequence[Record]) -> list[Notice]:
        notices: list[Notice] = []
        if self._outbox:
            notices += [self._outbox.watch_anew(one) for one in records if _is_for_outbox(one)]
        decoded = [(one, one.frame()) for one in records if one.subject != "ops"]
        for subject, run in groupby(decoded, key=lambda one: one[0].subject):
            some = list(run)
            if subject == "obs":
                self._observe([frame for _, frame in some], some[-1][0].stored_at)
            else:
                notices += self._command(
                    [(command, record.stored_at) for record, frame in some for command in frame.commands]
                )
        return notices

    # --- observations ---

    def _observe(self, run: Sequence[Frame], at: int) -> None:
        batches = [frame.observations for frame in run if frame.observations.num_rows]
        if not batches:
            return
        rows = newest(batches)
        self._fetch(dict.fromkeys(rows.entity))
        observe, touched = changes.observe, self._touched
        id, entity = "", None
        for row, owner in enumerate(rows.entity):
            if owner != id:
                id, entity = owner, self._entity_for(owner, at)
            seen = (rows.content[row], rows.observed_at[row], rows.unit[row], rows.quality[row])
            if entity is not None and observe(entity, rows.attribute[row], seen, at):
                touched.add(id)

    def _entity_for(self, id: str, at: int) -> Entity | None:
        entity = self._entities[id]
        if entity is not None:
            return entity
        type_name = type_of(id)
        if type_name is None:
            self._nameless += 1
            _log.warning("observation of an unknown entity whose name tells no type", entity=id, so_far=self._nameless)
            return None
        self._entities[id] = entity = stored.new(id, [type_name], at)
        return entity

    # --- commands ---

    def _command(self, commands: Sequence[tuple[EntityCommand, int]]) -> list[Notice]:
        self._fetch(dict.fromkeys(command.entity for command, _ in commands))
        return [self._reply(command, stored_at) for command, stored_at in commands]

    def _reply(self, command: EntityCommand, stored_at: int) -> Notice:
        answer: dict[str, object] = {"ok": True, "result": {"entity": command.entity}}
        try:
            self._obey(command, command.at or stored_at)
            self._touched.add(command.entity)
        except HaechiError as error:
            answer = {"ok": False, "error": type(error).__name__, "detail": str(error)}
        return Notice(f"reply.{command.id}", orjson.dumps(answer))

    def _obey(self, command: EntityCommand, at: int) -> None:
        old = self._entities[command.entity]
        if command.op == "delete":
            _must_exist(old, command)
            self._entities[command.entity] = None
        elif command.op in {"upsert", "replace"}:
            change = changes.upsert if command.op == "upsert" else changes.replace
            self._entities[command.entity] = changed = change(old, _body(command), at)
            recorded.adopted(changed)
        elif command.op == "merge":
            recorded.adopted(changes.merge(_must_exist(old, command), _body(command), at))
        elif command.op == recorded.RECORD:
            self._entities[command.entity] = recorded.record(old, _body(command), at)
        elif command.op == recorded.FORGET:
            where = orjson.loads(command.body or b"{}")
            self._entities[command.entity] = recorded.forget(old, command.attribute, where)
        elif command.op == "delete_attribute":
            where = orjson.loads(command.body or b"{}")
            if not changes.delete_attribute(_must_exist(old, command), command.attribute, where, at):
                raise NotFound(f"{command.entity} has no such {command.attribute}; read the entity and decide again")
        else:
            raise InvalidData(
                f"no operation {command.op!r} on entities; the writer is newer than this context", "bad_command"
            )

    def _fetch(self, ids: Iterable[str]) -> None:
        """All those entities into the batch at hand."""
        wanted = [id for id in ids if id not in self._entities]
        found = self._store.load(wanted)
        self._before.update(found)
        for id in wanted:
            self._entities[id] = orjson.loads(found[id]) if id in found else None


def _is_for_outbox(record: Record) -> bool:
    return record.subject == "ops" and WATCH_ANEW in record.payload


@contextmanager
def _uncollected() -> Iterator[None]:
    """No cycle collection meanwhile: a batch is thousands of trees, walking them over and over took half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _must_exist(entity: Entity | None, command: EntityCommand) -> Entity:
    if entity is None:
        raise NotFound(f"no entity {command.entity}; create it first")
    return entity


def _body(command: EntityCommand) -> Entity:
    try:
        body: Entity = orjson.loads(command.body)
        sound = body["id"] == command.entity and isinstance(body["attrs"], dict)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidData(f"command {command.id} carries no stored entity: {error}", "bad_command") from error
    if not sound:
        raise InvalidData(f"command {command.id} carries another entity than {command.entity}", "bad_command")
    return body
