"""Commands as the console API shows them (docs/reference/commands.md), read from their store. Used by faces and
notices."""

from collections.abc import Mapping, Sequence
from typing import Any

from haechi.core.errors import NotFound
from haechi.core.times import format_iso
from haechi.ports import RecordStore
from haechi.services.commands.setpoints import Setpoint, Setpoints

_SHOWN = ("id", "entity", "attribute", "value", "unit", "state", "open", "reason", "requested_by", "previous")
_WHERE = ("link", "device", "channel", "field")


def shown_command(command: Mapping[str, Any]) -> dict[str, Any]:
    """*Command*: instants as RFC 3339."""
    shown = {key: command[key] for key in (*_SHOWN, *_WHERE)}
    shown["waiting"] = command.get("waiting", "") if command["open"] and command["state"] == "requested" else ""
    shown["last_value"] = command["seen"] and command["seen"]["value"]
    shown |= {key: format_iso(command[key]) for key in ("requested_at", "changed_at", "deadline_at")}
    return {**shown, "steps": [{**one, "at": format_iso(one["at"])} for one in command["steps"]]}


def shown_setpoint(setpoint: Setpoint) -> dict[str, Any]:
    """*Setpoint*: what may be written, for a console to ask in the right words."""
    names = ("entity", "attribute", "datatype", "unit", "low", "high", "tolerance", "timeout_s", "undo")
    return {name: getattr(setpoint, name) for name in names}


class CommandReader:
    """The console's reader: commands, newest first, and what may be written."""

    def __init__(self, store: RecordStore, setpoints: Setpoints) -> None:
        self._store, self._setpoints = store, setpoints

    def commands(self, entity: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
        """Of one entity, or of all."""
        where = {} if entity is None else {"entity": entity}
        return [shown_command(one) for one in self._store.find("commands", where, "-requested_at", limit)]

    def command(self, id: str) -> Mapping[str, Any]:
        """One; `NotFound`."""
        found = self._store.get("commands", id)
        if found is None:
            raise NotFound(f"no command {id!r}; GET /api/commands lists them")
        return shown_command(found)

    def setpoints(self, entity: str | None) -> Sequence[Mapping[str, Any]]:
        """What of an entity may be written; None: of the whole city."""
        found = sorted(self._setpoints.items())
        return [shown_setpoint(one) for (of, _), one in found if entity in (None, of)]
