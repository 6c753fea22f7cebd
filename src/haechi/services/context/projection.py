"""The live model as a projection of the log: applies observations and commands in order. Run by the pipeline.

An observation on `obs` moves its attribute forward; on `entity` only the commands count here, because the observations
beside them are what the same commands mean to history and watch. Almost every observation is of a plain Property whose
entity nobody commands or subscribes to: it goes to the store as a row of columns and no document is looked at.
"""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import orjson
import structlog

from haechi.core import entity as stored
from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.core.frame import EntityCommand, Frame
from haechi.core.urn import type_of
from haechi.core.values import Values
from haechi.ports import LiveStore, Notice, Record
from haechi.services.context import changes, recorded
from haechi.services.context.newest import content, newest, structured
from haechi.services.context.outbox import WATCH_ANEW, Outbox
from haechi.services.stream import cycles

_log = structlog.get_logger(__name__)


class ContextProjection:
    """Holds nothing between two batches but the store, which remembers what it wrote last."""

    name = "context"
    subjects = frozenset({"obs", "entity", "ops"})
    after: tuple[str, ...] = ()

    def __init__(self, store: LiveStore, outbox: Outbox | None = None) -> None:
        self._store = store
        self._outbox = outbox
        self._before: dict[str, bytes] = {}  # the documents as they were before the batch at hand
        self._entities: dict[str, Entity | None] = {}  # those of the batch at hand; None: there is no such entity
        self._touched: set[str] = set()
        self._values: list[Values] = []  # what the store takes without their documents
        self._nameless = 0

    def position(self) -> int:
        return self._store.position()

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        """Raises `InvalidData` when a record is no frame of this version: somebody has to look, nothing is skipped."""
        if not records:
            return ()
        with cycles.unwatched():
            try:
                notices = self._run(records)
                puts = {id: self._entities[id] for id in self._touched}
                told = self._outbox.of(puts, self._before) if self._outbox else ()
                self._store.apply(puts, records[-1].seq, told, self._values)
            finally:
                self._entities.clear()
                self._before.clear()
                self._touched.clear()
                self._values.clear()
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
        both = self._observe(decoded)
        for subject, run in groupby(decoded, key=lambda one: one[0].subject):
            some = list(run)
            if subject != "obs":
                notices += self._command(
                    [(command, record.stored_at) for record, frame in some for command in frame.commands]
                )
            elif both:
                self._into_documents(_newest(some), both)
        return notices

    # --- observations ---

    def _observe(self, decoded: Sequence[tuple[Record, Frame]]) -> Set[str]:
        """Takes over what devices say, but not of entities that are commanded in the same batch: these are returned.

        All rows of an entity go one way, so that no document is written beside values that belong to it.
        """
        seen = _newest([one for one in decoded if one[0].subject == "obs"])
        if seen is None:
            return frozenset()
        commanded = {command.entity for one, frame in decoded if one.subject != "obs" for command in frame.commands}
        both = commanded.intersection(seen.entities)
        told: Set[str] = self._outbox.open(seen.entities) if self._outbox else frozenset()
        beside = self._store.held(seen) & ~structured(seen)
        slow = _members(seen.entities, told | both)
        slow[seen.entity[~beside]] = True
        rest = slow[seen.entity]
        self._keep(seen, ~rest)
        if rest.any():
            self._beside_documents(seen.where(rest & ~_members(seen.entities, both)[seen.entity]), told)
        return both

    def _keep(self, seen: Values, rows: Any) -> None:
        kept = seen.where(rows)
        if len(kept):
            self._values.append(kept)

    def _beside_documents(self, seen: Values, told: Set[str]) -> None:
        """What has no value beside its document yet: it gets one where the document has a plain Property for it, and
        goes into the document where not, or where the change must be told."""
        self._fetch(dict.fromkeys(seen.entities[code] for code in seen.entity.tolist()))
        kept: list[int] = []
        for code, some in groupby(range(len(seen)), key=seen.entity.tolist().__getitem__):
            id, rows = seen.entities[code], list(some)
            entity = self._entities[id]
            newer = None if entity is None or self._asks(entity, told) else _newer(entity, seen, rows)
            if newer is None:
                self._into_document(id, seen, rows)
            else:
                kept += newer
        self._keep(seen, np.array(kept, dtype=np.int64))

    def _asks(self, entity: Entity, told: Set[str]) -> bool:
        return entity["id"] in told and self._outbox is not None and self._outbox.asks(entity)

    def _into_documents(self, seen: Values | None, only: Set[str]) -> None:
        if seen is None:
            return
        self._fetch(dict.fromkeys(id for id in seen.entities if id in only))
        for code, rows in groupby(range(len(seen)), key=seen.entity.tolist().__getitem__):
            if (id := seen.entities[code]) in only:
                self._into_document(id, seen, list(rows))

    def _into_document(self, id: str, seen: Values, rows: Sequence[int]) -> None:
        entity = self._entity_for(id, seen.at)
        if entity is None:
            return
        for row in rows:
            said = (content(seen.content[row]), int(seen.observed_at[row]), seen.unit[row], int(seen.quality[row]))
            if changes.observe(entity, seen.attributes[seen.attribute[row]], said, seen.at):
                self._touched.add(id)

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
        answers = [self._refusal(command, stored_at) for command, stored_at in commands]
        return [one for one in answers if one is not None]

    def _refusal(self, command: EntityCommand, stored_at: int) -> Notice | None:
        """Obeys, or says why not. That it obeyed, `applied.context` says for all of them."""
        try:
            self._obey(command, command.at or stored_at)
            self._touched.add(command.entity)
        except HaechiError as error:
            answer = {"ok": False, "error": type(error).__name__, "detail": str(error)}
            return Notice(f"reply.{command.id}", orjson.dumps(answer))
        return None

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


def _members(ids: Sequence[str], of: Set[str]) -> Any:
    return np.array([id in of for id in ids], dtype=bool) if of else np.zeros(len(ids), dtype=bool)


def _newest(decoded: Sequence[tuple[Record, Frame]]) -> Values | None:
    batches = [frame.observations for _, frame in decoded if frame.observations.num_rows]
    return newest(batches, decoded[-1][0].stored_at) if batches else None


def _newer(entity: Entity, seen: Values, rows: Sequence[int]) -> list[int] | None:
    """Those of the rows of an entity that say something newer than its document; None where they must go into it."""
    found: list[int] = []
    for row in rows:
        instances = entity["attrs"].get(seen.attributes[seen.attribute[row]])
        instance = stored.find(instances, None) if instances else None
        if instance is None or instance["type"] != "Property" or isinstance(content(seen.content[row]), dict):
            return None
        if instance.get("observedAt", seen.observed_at[row]) <= seen.observed_at[row]:
            found.append(row)
    return found


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
