"""Compares what a run was promised with what the platform shows afterwards. Pure; each problem is one sentence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple


class Row(NamedTuple):
    """One observation as senders and history both name it; the instant in microseconds."""

    entity: str
    attribute: str
    observed_at: int
    value: float


@dataclass(slots=True)
class Promise:
    """What the devices and the operator know."""

    sent: set[Row] = field(default_factory=set)  # whole messages of good devices, acknowledged or not
    acknowledged: set[Row] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)  # payloads nobody understands that were acknowledged
    notes_sent: set[str] = field(default_factory=set)
    notes_acknowledged: set[str] = field(default_factory=set)
    transitions: dict[str, int] = field(default_factory=dict)  # of the one alarm of each entity; 0: no alarm


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


def problems(promise: Promise, found: Found) -> list[str]:
    """Everything that is not as promised; empty when the platform kept its word."""
    return [
        *_history(promise, found.history),
        *_context(found),
        *_once("note", found.notes, promise.notes_acknowledged, promise.notes_sent),
        *(f"quarantine lost {one!r}" for one in sorted(promise.kept - set(found.quarantine))),
        *_alarms(promise.transitions, found.alarms),
        *_account(found),
    ]


def _history(promise: Promise, rows: Sequence[Row]) -> Iterable[str]:
    yield from _once("history: observation", rows, promise.acknowledged, promise.sent)


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
