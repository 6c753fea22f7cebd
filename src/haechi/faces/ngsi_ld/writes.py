"""Turns what a request changes into commands for context and the observations they imply, and sends both to the log.

So history and rules see an API's values like any device's (tally link "api"): an instance without datasetId of a
Property or GeoProperty is an observation at its observedAt; without observedAt, a Property whose value is a number, a
text or a boolean is one at the face's clock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from haechi.core import entity as stored
from haechi.core.entity import Entity, Instance
from haechi.core.frame import EntityCommand, Frame
from haechi.core.observation import Observation
from haechi.core.times import to_us
from haechi.faces.ngsi_ld.holds import Holds
from haechi.faces.ngsi_ld.together import LINK, Together
from haechi.ports import Clock
from haechi.services.context import changes

_NUMBERS = frozenset({float, int})  # of what JSON has
_WORDS = _NUMBERS | {str, bool}
TURN = 250  # members of a batch that are worked on at once: some milliseconds


class Change(msgspec.Struct, frozen=True):
    """One command to be. `body`: the stored entity, or fragments of it for `merge`; `old`: what was read."""

    op: str
    entity: str
    body: dict[str, Any] = {}
    attribute: str = ""
    old: Entity | None = None


class Writes:
    """Locks entities while a request decides about them, and sends its changes, undivided, in one frame."""

    def __init__(self, write: Callable[[Frame], Awaitable[None]], clock: Clock) -> None:
        self._together = Together(write)
        self._clock = clock
        self._holds = Holds()
        self._sent = 0

    def holding(self, ids: Iterable[str]) -> AbstractAsyncContextManager[None]:
        """Nobody else in this process decides about these entities."""
        return self._holds.of(ids)

    async def send(self, made: Sequence[Change]) -> None:
        """Returns when reads see the changes. `Unavailable`: they may or may not be there; read and decide again."""
        if not made:
            return
        at = to_us(self._clock.now())
        prefix = self._prefix(made[0].entity, at)
        rows: list[Observation] = []
        commands: list[EntityCommand] = []
        for start in range(0, len(made), TURN):
            if start:
                await asyncio.sleep(0)  # others have their turn
            for place, change in enumerate(made[start : start + TURN], start):
                rows += implied(change, at)
                body = orjson.dumps(change.body) if change.body else b""
                commands.append(
                    EntityCommand(f"{prefix}-{place}", change.op, change.entity, body, change.attribute, at)
                )
        await self._together.send(commands, rows)

    def _prefix(self, entity: str, at: int) -> str:
        """What the ids of commands that are sent together begin with; no others do, of no process."""
        self._sent += 1
        text = b"%d %d %d %s" % (at, self._sent, id(self), entity.encode())
        return "api-" + blake2b(text, digest_size=16).hexdigest()


def after(change: Change, old: Entity | None, at: int = 0) -> Entity | None:
    """The entity as it will be; `old` is left as it is."""
    before = deepcopy(old)
    if change.op == "replace":
        return changes.replace(before, change.body, at)
    if change.op == "upsert":
        return changes.upsert(before, deepcopy(change.body), at)
    assert change.op == "merge" and before is not None, f"a batch holds no {change.op}"
    return changes.merge(before, deepcopy(change.body), at)


def implied(change: Change, at: int) -> list[Observation]:
    """The observations that a change implies, received at that instant."""
    if change.op == "record":
        return recorded(change, at)
    if change.op in {"upsert", "replace"}:
        return _said(change.entity, change.body["attrs"], at)
    if change.op != "merge":
        return []
    assert change.old is not None, "a merge needs the entity it merges into"
    result = changes.merge(_touched(change.old, change.body["attrs"]), change.body, at)
    found = []
    for name, given in change.body["attrs"].items():
        fragment = stored.find(given or (), None)
        instance = stored.find(result["attrs"].get(name, ()), None)
        if fragment is not None and fragment.get("value") is not None and instance is not None:
            found.append(_observation(change.entity, name, (instance, fragment), at))
    return [one for one in found if one is not None]


def _touched(old: Entity, names: Iterable[str]) -> Entity:
    """What a merge of these attributes works on: a copy of them alone, because the others imply nothing."""
    known = old["attrs"]
    return {"type": old["type"], "attrs": {name: deepcopy(known[name]) for name in names if name in known}}


def _said(entity: str, attributes: Mapping[str, Sequence[Instance]], at: int) -> list[Observation]:
    """Those of whole instances: numbers, most of them."""
    found = []
    for name, instances in attributes.items():
        one = stored.find(instances, None)
        value = None if one is None else one.get("value")
        if one is None or value is None:
            continue
        if one["type"] == "Property" and type(value) in _NUMBERS:
            seen = one.get("observedAt", at)
            found.append(Observation(entity, name, seen, at, float(value), None, one.get("unitCode"), 0, LINK))
        elif (row := _observation(entity, name, (one, one), at)) is not None:
            found.append(row)
    return found


def recorded(change: Change, at: int) -> list[Observation]:
    """Those of instances that the temporal API records. What has no observedAt is told apart by its place."""
    found = []
    for name, instances in change.body["attrs"].items():
        for place, one in enumerate(instances):
            content = one.get("value")
            if "datasetId" in one or content is None or content == stored.NULL or name == "scope":
                continue
            row = _observation(change.entity, name, (one, one), at + place)
            found += [] if row is None else [row]
    return found


def _observation(entity: str, name: str, both: tuple[Instance, Instance], at: int) -> Observation | None:
    instance, fragment = both
    value, observed_at = instance.get("value"), fragment.get("observedAt")
    if instance["type"] not in {"Property", "GeoProperty"}:
        return None
    if observed_at is None and (instance["type"] != "Property" or type(value) not in _WORDS):
        return None
    seen = at if observed_at is None else observed_at
    unit = instance.get("unitCode")
    if value is not None and type(value) in _NUMBERS:
        return Observation(entity, name, seen, at, value=float(value), unit=unit, link=LINK)
    return Observation(entity, name, seen, at, text=orjson.dumps(value).decode(), unit=unit, link=LINK)
