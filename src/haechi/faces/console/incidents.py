"""Incidents: lists, one with its timeline, alarms and playbook, and every step people take. Routed by `routes.py`."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import NotFound
from haechi.faces.console.alarms import Ids, Note, Words, command
from haechi.faces.console.services import ConsoleServices, Document
from haechi.faces.console.shapes import shown
from haechi.faces.http import body_of, json_response, one_of, whole_number


class _Open(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    alarms: Ids
    title: Note | None = None
    playbook: Note | None = None


class _Assign(msgspec.Struct, forbid_unknown_fields=True):
    assignee: Words


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    step: Words
    done: bool
    note: Note = ""


class _Note(msgspec.Struct, forbid_unknown_fields=True):
    text: Words


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    phase: Words


class _Attach(msgspec.Struct, forbid_unknown_fields=True):
    alarms: Ids


class _Close(msgspec.Struct, forbid_unknown_fields=True):
    cause: Words
    note: Note = ""


STEPS: Mapping[str, type[msgspec.Struct]] = {
    "assign": _Assign,
    "step": _Step,
    "note": _Note,
    "advance": _Advance,
    "attach": _Attach,
    "close": _Close,
}


async def incidents(request: Request, services: ConsoleServices) -> Response:
    """`{incidents}` of a state, newest first."""
    state = one_of(request, "state", "open", ("open", "closed", "all"))
    limit = whole_number(request, "limit", 1000, 1, 20_000)
    found = await asyncio.to_thread(services.incidents.incidents, state, limit)
    return json_response({"incidents": shown(found)})


async def open_incident(request: Request, services: ConsoleServices) -> Response:
    """Makes alarms an incident."""
    body = msgspec.to_builtins(await body_of(request, _Open))
    result = await command(request, services, "incident.open", body)
    return json_response(await asyncio.to_thread(_detail, services, str(result["id"])), 201)


async def incident(request: Request, services: ConsoleServices) -> Response:
    """*Incident* with its alarms as documents and its playbook."""
    return json_response(await asyncio.to_thread(_detail, services, request.path_params["id"]))


async def step(request: Request, services: ConsoleServices) -> Response:
    """One step of the work, by the last word of the path; answers the incident as it is then."""
    id, kind = request.path_params["id"], request.path_params["step"]
    if kind not in STEPS:
        raise NotFound(f"no step {kind!r}; there are {', '.join(STEPS)}")
    body = msgspec.to_builtins(await body_of(request, STEPS[kind]))
    await command(request, services, f"incident.{kind}", {"incident": id, **body})
    return json_response(await asyncio.to_thread(_detail, services, id))


def _detail(services: ConsoleServices, id: str) -> dict[str, Any]:
    found = services.incidents.incident(id)
    if found is None:
        raise NotFound(f"no incident {id!r}; GET /api/incidents?state=all lists them")
    return {**shown(found), "alarms": _alarms(services, found), "playbook": _playbook(services, found)}


def _alarms(services: ConsoleServices, incident: Document) -> list[Any]:
    """Documents; a reader may give them already, or only their ids."""
    known = (one if isinstance(one, Mapping) else services.alarms.alarm(one) for one in incident["alarms"])
    return [shown(one) for one in known if one is not None]


def _playbook(services: ConsoleServices, incident: Document) -> Document | None:
    playbook = incident.get("playbook")
    if isinstance(playbook, Mapping):
        return playbook
    return services.playbook(playbook) if playbook else None
