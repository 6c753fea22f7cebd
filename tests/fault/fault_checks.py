"""Compares what a run was promised with what the platform shows afterwards. Pure; each problem is one sentence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

MEGABYTES = 700  # a role; idle it is some 100 to 200


class Row(NamedTuple):
    """One observation as senders and history both name it; the instant in microseconds."""

    entity: str
    attribute: str
    observed_at: int
    value: float


class Asked(NamedTuple):
    """A value an operator asked the PLC for, and the command's id; "" when nobody knows whether it was taken."""

    value: int
    id: str


class Command(NamedTuple):
    """A command as the platform shows it. `undoing`: it wrote `previous` back, or tried to."""

    id: str
    value: int
    state: str
    open: bool
    previous: int | None
    undoing: bool


@dataclass(slots=True)
class Promise:
    """What the devices and the operator know."""

    sent: set[Row] = field(default_factory=set)  # whole messages of good devices, acknowledged or not
    acknowledged: set[Row] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)  # payloads nobody understands that were acknowledged
    notes_sent: set[str] = field(default_factory=set)
    notes_acknowledged: set[str] = field(default_factory=set)
    transitions: dict[str, int] = field(default_factory=dict)  # of the one alarm of each entity; 0: no alarm
    asked: list[Asked] = field(default_factory=list)
    written: list[int] = field(default_factory=list)  # what the PLC was told, in order
    shown: frozenset[tuple[str, float]] = frozenset()  # entity and value the PLC ever showed; instants are ours
    counter: str = ""  # the entity whose value is another one at each poll


@dataclass(slots=True)
class Found:
    """What the platform shows once it has settled."""

    history: list[Row]
    context: Mapping[str, tuple[int, float]]  # entity: instant and value
    quarantine: list[str]  # payloads
    notes: list[str]
    alarms: Mapping[str, Sequence[Sequence[tuple[str, str]]]]  # entity: its alarms, each with its moves (from, to)
    account: str  # what `haechi account` printed
    account_code: int
    commands: list[Command] = field(default_factory=list)
    megabytes: Mapping[str, int] = field(default_factory=dict)  # resident, by role


def problems(promise: Promise, found: Found) -> list[str]:
    """Everything that is not as promised; empty when the platform kept its word."""
    return [
        *_history(promise, found.history),
        *_context(found),
        *_once("note", found.notes, promise.notes_acknowledged, promise.notes_sent),
        *(f"quarantine lost {one!r}" for one in sorted(promise.kept - set(found.quarantine))),
        *_alarms(promise.transitions, found.alarms),
        *_account(found),
        *_commands(promise, found.commands),
        *(f"{role} holds {size} MB" for role, size in found.megabytes.items() if size > MEGABYTES),
    ]


def _history(promise: Promise, rows: Sequence[Row]) -> Iterable[str]:
    ours = {entity for entity, _ in promise.shown}
    sent = [one for one in rows if one.entity not in ours]
    yield from _once("history: observation", sent, promise.acknowledged, promise.sent)
    for row in rows:
        if row.entity in ours and (row.entity, row.value) not in promise.shown:
            yield f"history: the PLC never showed {row}"
    polls = Counter(row.value for row in rows if row.entity == promise.counter)
    yield from (f"history: poll {one} is there {count} times" for one, count in polls.items() if count > 1)


def _once(what: str, rows: Sequence[object], acknowledged: Iterable[object], sent: Iterable[object]) -> Iterable[str]:
    counted, allowed = Counter(rows), set(sent) | set(acknowledged)
    for row in acknowledged:
        if row not in counted:
            yield f"{what} acknowledged and lost: {row}"
    for row, count in counted.items():
        if count > 1:
            yield f"{what} there {count} times: {row}"
        if row not in allowed:
            yield f"{what} that nobody sent: {row}"


def _context(found: Found) -> Iterable[str]:
    newest: dict[str, tuple[int, float]] = {}
    for row in found.history:
        newest[row.entity] = max(newest.get(row.entity, (0, 0.0)), (row.observed_at, row.value))
    for entity in newest.keys() | found.context.keys():
        if newest.get(entity) != found.context.get(entity):
            yield f"context of {entity} is {found.context.get(entity)}, history's newest is {newest.get(entity)}"


def _alarms(wanted: Mapping[str, int], found: Mapping[str, Sequence[Sequence[tuple[str, str]]]]) -> Iterable[str]:
    for entity, transitions in wanted.items():
        alarms = found.get(entity, ())
        if len(alarms) != (1 if transitions else 0):
            yield f"{entity} has {len(alarms)} alarms, should have {1 if transitions else 0}: {alarms}"
        for moves in alarms:
            if transitions and len(moves) != transitions:
                yield f"the alarm of {entity} moved {len(moves)} times, should have {transitions}: {moves}"
    for entity, alarms in found.items():
        for moves in alarms:
            if any(before[1] != after[0] for before, after in pairwise(moves)):
                yield f"the alarm of {entity} has moves that do not follow each other: {moves}"


def _account(found: Found) -> Iterable[str]:
    if found.account_code != 0:
        yield f"the account does not balance:\n{found.account}"
    if "not in this account yet" in found.account:
        yield f"the account is behind after everything settled:\n{found.account}"


def _commands(promise: Promise, found: Sequence[Command]) -> Iterable[str]:
    listed, written = Counter(one.id for one in found), Counter(promise.written)
    known = {one.id: one for one in found}
    for asked in promise.asked:
        if asked.id and listed[asked.id] != 1:
            yield f"command {asked} acknowledged and there {listed[asked.id]} times"
    wanted, values = Counter(one.value for one in promise.asked), Counter(one.value for one in found)
    yield from (f"{count} commands for {value}" for value, count in values.items() if count > wanted[value])
    back = Counter(one.previous for one in found if one.undoing)
    for value, count in written.items():
        if count > values[value] + back[value]:
            yield f"{value} was written {count} times: {list(known.values())}, PLC {promise.written}"
    for one in found:
        if one.open:
            yield f"command without an end: {one}"
        if one.state == "verified" and not written[one.value]:
            yield f"verified and never written: {one}"
