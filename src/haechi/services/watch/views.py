"""Alarms as the console API shows them (docs/reference/console-api.md), read from watch's store. Used by faces and
notices."""

from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.alarm import ANNUNCIATED, State
from haechi.core.errors import InvalidData, NotFound
from haechi.core.quality import Quality
from haechi.core.times import format_iso
from haechi.ports import RecordStore

TABS: dict[str, tuple[str, ...]] = {
    "active": tuple(sorted(ANNUNCIATED)),
    "shelved": (State.SHELVED.value,),
    "suppressed": (State.SUPPRESSED.value,),
    "out_of_service": (State.OUT_OF_SERVICE.value,),
    "history": (State.NORMAL.value,),
}
Linked = Callable[[str], Mapping[str, Any] | None]
"""Alarm id -> {"incident", "owner"} or None: `haechi.services.incidents.linked(store)`."""

_INSTANTS = ("raised_at", "changed_at", "cleared_at", "acknowledged_at", "shelved_until")
_OWN = ("open", "moves", "raised_seq", "suppressing")


def shown_alarm(alarm: Mapping[str, Any], linked: Linked | None = None) -> dict[str, Any]:
    """*Alarm*: instants as RFC 3339, with the incident it belongs to."""
    link = (linked(alarm["id"]) if linked is not None else None) or {}
    visible = {key: value for key, value in alarm.items() if key not in _OWN}
    for key in _INSTANTS:
        visible[key] = None if alarm[key] is None else format_iso(alarm[key])
    return {**visible, "incident": link.get("incident"), "owner": link.get("owner")}


def list_alarms(
    store: RecordStore, tab: str = "active", limit: int = 1000, linked: Linked | None = None
) -> list[dict[str, Any]]:
    """Alarms of a tab, the last changed first."""
    if tab not in TABS:
        raise InvalidData(f"no list of alarms {tab!r}; use one of {', '.join(TABS)}", "bad_query")
    found = store.find("alarms", {"state": TABS[tab]}, "-changed_at", limit)
    return [shown_alarm(one, linked) for one in found]


def alarms_of(store: RecordStore, entity: str, linked: Linked | None = None) -> list[dict[str, Any]]:
    """Open alarms of an entity."""
    return [shown_alarm(one, linked) for one in store.find("alarms", {"entity": entity, "open": True}, "-changed_at")]


def alarm_detail(store: RecordStore, id: str, linked: Linked | None = None) -> dict[str, Any]:
    """*Alarm* with its `transitions`, oldest first. `NotFound` when there is none."""
    alarm = store.get("alarms", id)
    if alarm is None:
        raise NotFound(f"no alarm {id!r}; read the list of alarms again")
    moves = store.find("transitions", {"alarm": id}, limit=10_000)
    return {**shown_alarm(alarm, linked), "transitions": [_shown_move(one) for one in moves]}


def _shown_move(move: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in move.items() if key not in {"id", "alarm"}}
    shown["at"] = format_iso(move["at"])
    if move.get("evidence"):
        values = {name: _shown_value(one) for name, one in move["evidence"]["values"].items()}
        shown["evidence"] = {**move["evidence"], "values": values}
    return shown


def _shown_value(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "observed_at": format_iso(value["observed_at"]), "quality": Quality(value["quality"]).words}
