"""Incidents as the console API shows them (docs/reference/console-api.md), read from their store. Used by faces and
notices."""

from collections.abc import Mapping
from typing import Any

from haechi.core.errors import InvalidData, NotFound
from haechi.core.times import format_iso
from haechi.ports import RecordStore
from haechi.services.incidents.playbooks import Playbook
from haechi.services.watch.views import Linked, shown_alarm

STATES: dict[str, tuple[str, ...]] = {"open": ("open",), "closed": ("closed",), "all": ("open", "closed")}


def linked(store: RecordStore) -> Linked:
    """For watch's views: alarm id -> its incident and who works on it, or None."""
    return lambda alarm: store.get("links", alarm)


def shown_incident(incident: Mapping[str, Any]) -> dict[str, Any]:
    """*Incident*: instants as RFC 3339."""
    shown = {key: _instant(value) if key in {"opened_at", "closed_at"} else value for key, value in incident.items()}
    shown["steps"] = [{**one, "done_at": _instant(one["done_at"])} for one in incident["steps"]]
    shown["timeline"] = [{**one, "at": format_iso(one["at"])} for one in incident["timeline"]]
    return shown


def _instant(at: int | None) -> str | None:
    return None if at is None else format_iso(at)


def list_incidents(store: RecordStore, state: str = "open", limit: int = 1000) -> list[dict[str, Any]]:
    """Incidents, the newest first. `state`: open, closed, all."""
    if state not in STATES:
        raise InvalidData(f"no list of incidents {state!r}; use one of {', '.join(STATES)}", "bad_query")
    return [shown_incident(one) for one in store.find("incidents", {"state": STATES[state]}, "-number", limit)]


def incident_detail(
    store: RecordStore, alarms: RecordStore, playbooks: Mapping[str, Playbook], id: str
) -> dict[str, Any]:
    """*Incident* with its alarms as documents and its playbook. `NotFound` when there is none."""
    incident = store.get("incidents", id)
    if incident is None:
        raise NotFound(f"no incident {id!r}; read the list of incidents again")
    found = [alarms.get("alarms", one) for one in incident["alarms"]]
    documents = [shown_alarm(one, linked(store)) for one in found if one is not None]
    return {
        **shown_incident(incident),
        "alarms": documents,
        "playbook": shown_playbook(playbooks.get(incident["playbook"])),
    }


def shown_playbook(playbook: Playbook | None) -> dict[str, Any] | None:
    """*Playbook*, with the phase of each step and whether closing asks for it."""
    if playbook is None:
        return None
    steps = [
        {"id": one.id, "text": dict(one.text), "phase": one.phase, "mandatory": one.mandatory} for one in playbook.steps
    ]
    shown = {"id": playbook.id, "name": dict(playbook.name), "version": playbook.version, "source": playbook.source}
    return {**shown, "steps": steps}
