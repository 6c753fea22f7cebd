"""What becomes of a setpoint: requested, sent, confirmed, verified; or failed, undone. Pure; used by the projection.

A command is a document; each step it takes is kept with when, who and why. Instants in microseconds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.core.times import SECOND
from haechi.ports import Notice
from haechi.services.commands.setpoints import Setpoints, Value, is_met

AGAIN_US = 3 * SECOND  # a notice nobody answered is told again; adapters know the id and write once
SKEW_US = 2 * SECOND  # a device clock this far behind ours still counts as after the command
UNDO = "-undo"
Command = dict[str, Any]
Current = Callable[[str, str], Value | None]
"""The value of an attribute of an entity in the live model, None when there is none."""


class Desk:
    """The commands under way. Changes are in `changed` until the projection has made them durable."""

    def __init__(self, setpoints: Setpoints, current: Current, under_way: Iterable[Command]) -> None:
        self._setpoints, self._current = setpoints, current
        self.under_way = {str(one["id"]): one for one in under_way}
        self.changed: dict[str, Command] = {}
        self.notices: list[Notice] = []

    @property
    def watched(self) -> set[str]:
        """Entities whose observations matter now."""
        return {str(one["entity"]) for one in self.under_way.values()}

    # --- people ---

    def request(self, asked: Mapping[str, Any], now: int) -> Command:
        """A new command; `NotFound`, `InvalidData`, `Conflict` change nothing."""
        entity, attribute = _text(asked, "entity"), _text(asked, "attribute")
        reason, who, at = _text(asked, "reason"), _text(asked, "user"), _at(asked)
        setpoint = self._setpoints.get((entity, attribute))
        if setpoint is None:
            raise NotFound(f"{attribute} of {entity} cannot be written; its [[map]] must say writable = true")
        value = setpoint.check(asked.get("value"))
        for other in self.under_way.values():
            if (other["entity"], other["attribute"]) == (entity, attribute):
                raise Conflict(f"{other['requested_by']} set it a moment ago ({other['state']}); wait until it is over")
        previous = setpoint.restorable(self._current(entity, attribute))
        command: Command = {
            "id": str(asked["id"]), "entity": entity, "attribute": attribute, "value": value, "unit": setpoint.unit,
            "state": "requested", "open": True, "undoing": False, "reason": reason, "requested_by": who,
            "requested_at": at, "changed_at": at, "deadline_at": at + int(setpoint.timeout_s * SECOND),
            "told_at": now, "written_at": None, "written_back_at": None, "waiting": "", "seen": None,
            "previous": previous, "link": setpoint.link,
            "device": setpoint.device, "channel": setpoint.channel, "field": setpoint.field, "steps": [],
            "device_value": setpoint.for_device(value), "tolerance": setpoint.tolerance,
            "undo": setpoint.undo, "timeout_s": setpoint.timeout_s,
            "device_previous": None if previous is None else setpoint.for_device(previous),
        }  # fmt: skip
        self.under_way[command["id"]] = command
        self._step(command, at, "requested", who, reason)
        if now > command["deadline_at"]:
            self._end(command, now, "failed", "it was read too late; nothing was sent")
        else:
            self._tell_device(command, now)
        return command

    # --- devices ---

    def outcome(self, told: Mapping[str, Any]) -> None:
        """What an adapter says of a command; the fields are those of docs/reference/commands.md, `command` its id."""
        id = str(told.get("command"))
        command = self.under_way.get(id.removesuffix(UNDO))
        if command is None or command["undoing"] != id.endswith(UNDO):
            return
        at, why = _at(told), str(told.get("detail", ""))
        if told.get("waiting"):
            command["waiting"] = why
            self.changed[command["id"]] = command
        elif command["undoing"]:
            self._undone(command, at, told)
        elif command["state"] == "confirmed":
            return
        elif told.get("ok") or told.get("unsure"):
            self._goes_on(command, at, told)
        else:
            self._end(command, int(told.get("answered_at", at)), "failed", why)

    def _goes_on(self, command: Command, at: int, told: Mapping[str, Any]) -> None:
        why, confirmed = str(told.get("detail", "")), bool(told.get("confirmed"))
        answered_at = int(told.get("answered_at", at))
        if command["state"] == "requested":
            command["written_at"] = at
            self._step(command, at, "sent", _by(command), "" if confirmed else why)
        elif not confirmed and command["steps"][-1]["why"] != why:
            self._step(command, answered_at, "sent", _by(command), why)
        if confirmed:
            self._step(command, answered_at, "confirmed", _by(command), why)
        self._verify(command)

    def _undone(self, command: Command, at: int, told: Mapping[str, Any]) -> None:
        """What only left for the device is not written back yet: the device says so, or the value that returns."""
        if told.get("confirmed") or told.get("delivered"):
            self._end(command, at, "undone", f"{command['previous']} was written back")
        elif told.get("ok") or told.get("unsure"):
            command["written_back_at"] = at
            self.changed[command["id"]] = command
            self._verify(command)
        else:
            self._end(command, at, "failed", f"{command['previous']} could not be written back: {told.get('detail')}")

    def observed(self, entity: str, attribute: str, value: Any, instants: tuple[int, int]) -> None:
        """One observation with (observed_at, received_at), in log order."""
        observed_at, received_at = instants
        for command in list(self.under_way.values()):
            if (command["entity"], command["attribute"]) != (entity, attribute):
                continue
            command["seen"] = {"value": value, "observed_at": observed_at, "received_at": received_at}
            self.changed[command["id"]] = command
            self._verify(command)

    def _verify(self, command: Command) -> None:
        """A value that was read before the device had been told proves nothing, whatever it is."""
        undoing = command["undoing"]
        seen, written_at = command["seen"], command.get("written_back_at") if undoing else command["written_at"]
        if not seen or written_at is None or seen["received_at"] < written_at:
            return
        if seen["observed_at"] < written_at - SKEW_US:
            return
        if not is_met(command["previous" if undoing else "value"], seen["value"], command["tolerance"]):
            return
        if command["state"] == "sent":
            self._step(command, seen["received_at"], "confirmed", _by(command), "the device shows the value")
        self._end(command, seen["received_at"], "undone" if undoing else "verified", f"{seen['value']} was read back")

    # --- time ---

    def expire(self, now: int) -> None:
        """Ends what took too long, and tells again what nobody answered."""
        for command in list(self.under_way.values()):
            if now < command["told_at"] - SKEW_US:
                self._put_back(command, now)
            if now < command["deadline_at"]:
                waiting = command["undoing"] or command["state"] == "requested"
                if waiting and now - command["told_at"] >= AGAIN_US:
                    self._tell_device(command, now)
            elif command["undoing"]:
                self._end(command, now, "failed", "nobody confirmed that the value before was written back")
            else:
                self._too_late(command, now)

    def _put_back(self, command: Command, now: int) -> None:
        """Our clock was put back: its times start anew, else the command would stay open until the clock is there."""
        command["deadline_at"] = min(command["deadline_at"], now + int(command["timeout_s"] * SECOND))
        for name in ("told_at", "written_at", "written_back_at"):
            if (command.get(name) or 0) > now:
                command[name] = now
        self.changed[command["id"]] = command

    def _too_late(self, command: Command, now: int) -> None:
        seen = command["seen"]
        why = f"not read back in time; last value {seen['value']}" if seen else "no value came back in time"
        if command["written_at"] is None:
            if _has_come(command):
                self._end(command, now, "verified", f"{seen['value']} was read back; the adapter's answer was lost")
                return
            waiting = command.get("waiting")
            if waiting:  # it never left: there is nothing to undo
                self._end(command, now, "failed", f"nothing was sent: {waiting}")
                return
            why = "nobody answered for the device: is the link's adapter running, the device connected?"
        if not command["undo"] or command["previous"] is None:
            self._end(command, now, "failed", why)
            return
        self._step(command, now, "failed", "haechi", f"{why}; {command['previous']} is being written back")
        command["undoing"], command["deadline_at"] = True, now + int(command["timeout_s"] * SECOND)
        self._tell_device(command, now)

    # --- parts ---

    def _tell_device(self, command: Command, now: int) -> None:
        undoing = command["undoing"]
        body = {
            "id": command["id"] + (UNDO if undoing else ""),
            "device": command["device"],
            "channel": command["channel"],
            "field": command["field"],
            "value": command["device_previous" if undoing else "device_value"],
            "expires_at": command["deadline_at"],
        }
        command["told_at"] = now
        self.changed[command["id"]] = command
        self.notices.append(Notice(f"command.{command['link']}", orjson.dumps(body)))

    def _step(self, command: Command, at: int, state: str, who: str, why: str) -> None:
        command["steps"].append({"at": at, "state": state, "who": who, "why": why})
        command["state"], command["changed_at"] = state, at
        self.changed[command["id"]] = command

    def _end(self, command: Command, at: int, state: str, why: str) -> None:
        self._step(command, at, state, "haechi" if state == "failed" else _by(command), why)
        command["open"] = False
        del self.under_way[command["id"]]


def _has_come(command: Command) -> bool:
    """Whether the value changed to the wanted one after the request, though nobody said that the device was told."""
    seen, previous = command["seen"], command["previous"]
    if not seen or seen["observed_at"] < command["requested_at"] or previous is None:
        return False
    found, wanted, tolerance = seen["value"], command["value"], command["tolerance"]
    return is_met(wanted, found, tolerance) and not is_met(wanted, previous, tolerance)


def _by(command: Mapping[str, Any]) -> str:
    return f"{command['link']}/{command['device']}"


def _at(asked: Mapping[str, Any]) -> int:
    at = asked.get("at")
    if isinstance(at, bool) or not isinstance(at, int):
        raise InvalidData(f"at is {at!r}; write microseconds since 1970", "bad_command")
    return at


def _text(asked: Mapping[str, Any], key: str) -> str:
    found = asked.get(key)
    if not isinstance(found, str) or not found.strip():
        raise InvalidData(f"{key} is {found!r}; write a text", "bad_command")
    return found.strip()
