"""Operator commands about alarms (docs/reference/log.md, `alarm.*`). Used by the projection; refusals change
nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.errors import Conflict, HaechiError, InvalidData
from haechi.core.times import DAY, SECOND
from haechi.services.watch.alarms import Act, Alarms

LONGEST_SHELF_US = 30 * DAY
Command = Mapping[str, Any]
Outcome = dict[str, Any]


def perform(alarms: Alarms, command: Command) -> Outcome:
    """Does what the command asks and returns the documents it concerned: `{"alarms": [...]}` or `{"alarm": ...}`.

    `InvalidData`, `NotFound` or `Conflict` when it cannot be; then nothing has changed.
    """
    handler = _KINDS.get(str(command.get("kind")))
    if handler is None:
        raise InvalidData(f"no command {command.get('kind')!r}; use one of {', '.join(_KINDS)}", "unknown_command")
    alarms.expire(_at(command))  # a shelf whose time was over when the operator acted has ended
    return handler(alarms, command)


def _at(command: Command) -> int:
    at = command.get("at")
    if isinstance(at, bool) or not isinstance(at, int):
        raise InvalidData(f"at is {at!r}; write microseconds since 1970", "bad_command")
    return at


def _text(command: Command, key: str, required: bool = False) -> str:
    found = command.get(key) or ""
    if not isinstance(found, str) or (required and not found.strip()):
        raise InvalidData(f"{key} is {found!r}; write a text", "bad_command")
    return found.strip()


def _act(command: Command, kind: str, why: str) -> Act:
    return Act(_at(command), _text(command, "user", required=True), kind, why)


def _acknowledge(alarms: Alarms, command: Command) -> Outcome:
    """Several at once: those that somebody else acknowledged meanwhile are named; only if all were is it a conflict."""
    ids = command.get("alarms")
    if not isinstance(ids, list) or not ids:
        raise InvalidData(f"alarms is {ids!r}; write a list of alarm ids", "bad_command")
    found = [alarms.find(id) for id in dict.fromkeys(ids)]
    act = _act(command, "acknowledged", _text(command, "note"))
    refused: dict[str, str] = {}
    for alarm in found:
        try:
            alarms.acknowledge(alarm, act)
        except Conflict as conflict:
            refused[alarm["id"]] = str(conflict)
    if len(refused) == len(found):
        raise Conflict("; ".join(refused.values()))
    return {"alarms": found, "refused": refused}


def _shelve(alarms: Alarms, command: Command) -> Outcome:
    duration = command.get("duration_s")
    if (
        isinstance(duration, bool)
        or not isinstance(duration, int | float)
        or not 0 < duration * SECOND <= LONGEST_SHELF_US
    ):
        raise InvalidData(f"duration_s is {duration!r}; shelve for 1 second to 30 days", "bad_command")
    reason = _text(command, "reason", required=True)
    until = _at(command) + int(duration * SECOND)
    alarm = alarms.find(command.get("alarm"))
    alarms.shelve(alarm, until, reason, _act(command, "shelved", reason))
    return {"alarm": alarm}


def _simple(
    step: Callable[[Alarms, dict[str, Any], Act], None], kind: str, needs_reason: bool
) -> Callable[[Alarms, Command], Outcome]:
    def handler(alarms: Alarms, command: Command) -> Outcome:
        alarm = alarms.find(command.get("alarm"))
        step(alarms, alarm, _act(command, kind, _text(command, "reason", required=needs_reason)))
        return {"alarm": alarm}

    return handler


_KINDS: dict[str, Callable[[Alarms, Command], Outcome]] = {
    "alarm.acknowledge": _acknowledge,
    "alarm.shelve": _shelve,
    "alarm.unshelve": _simple(Alarms.unshelve, "unshelved", False),
    "alarm.out_of_service": _simple(Alarms.remove, "out_of_service", True),
    "alarm.return_to_service": _simple(Alarms.restore, "returned_to_service", False),
}


def refusal(error: HaechiError) -> Outcome:
    """The answer to a command that was refused."""
    return {"ok": False, "error": type(error).__name__, "detail": str(error)}
