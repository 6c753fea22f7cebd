"""Alarms: lists, detail with cameras and playbook, acknowledge and shelve. Routed by `routes.py`."""

import asyncio
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import NotFound
from haechi.core.times import to_us
from haechi.faces.console.services import ConsoleServices, Document
from haechi.faces.console.shapes import name_of, place_of, shown
from haechi.faces.http import body_of, json_response, one_of, require, whole_number
from haechi.services.context import reader as context

STATES = ("active", "shelved", "suppressed", "out_of_service", "history")
CAMERAS = 3
Ids = Annotated[list[str], msgspec.Meta(min_length=1, max_length=10_000)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Note = Annotated[str, msgspec.Meta(max_length=4000)]


class _Acknowledge(msgspec.Struct, forbid_unknown_fields=True):
    alarms: Ids
    note: Note = ""


class _Shelve(msgspec.Struct, forbid_unknown_fields=True):
    duration_s: Annotated[float, msgspec.Meta(gt=0)]
    reason: Words


async def alarms(request: Request, services: ConsoleServices) -> Response:
    """`{alarms, counts}` of a state, newest change first."""
    state = one_of(request, "state", "active", STATES)
    limit = whole_number(request, "limit", 1000, 1, 20_000)
    return json_response(await asyncio.to_thread(_alarms, services, state, limit))


def _alarms(services: ConsoleServices, state: str, limit: int) -> dict[str, Any]:
    found = services.alarms.alarms(state, limit)
    return {"alarms": [shown(one) for one in found], "counts": services.alarms.counts()}


async def alarm(request: Request, services: ConsoleServices) -> Response:
    """*Alarm* with transitions, rule, the three nearest cameras and the playbook."""
    return json_response(await asyncio.to_thread(_detail, services, request.path_params["id"]))


def _detail(services: ConsoleServices, id: str) -> dict[str, Any]:
    found = services.alarms.alarm(id)
    if found is None:
        raise NotFound(f"no alarm {id!r}; GET /api/alarms lists them")
    playbook = found.get("playbook")
    return {
        **shown(found),
        "transitions": shown(services.alarms.transitions(id)),
        "rule": services.rule(found["rule"]) or {"id": found["rule"]},
        "cameras": _cameras(services, found.get("location")),
        "playbook": services.playbook(playbook) if playbook else None,
    }


def _cameras(services: ConsoleServices, location: Any) -> list[dict[str, Any]]:
    if not location:
        return []
    nearest = context.nearest(services.entities, "Camera", location[0], location[1], CAMERAS)
    return [
        {"id": one["id"], "name": name_of(one), "distance_m": round(distance_m, 1), "location": place_of(one)}
        for one, distance_m in nearest
    ]


async def acknowledge(request: Request, services: ConsoleServices) -> Response:
    """Takes note of alarms; the condition stays. All of them or none."""
    body = await body_of(request, _Acknowledge)
    await command(request, services, "alarm.acknowledge", {"alarms": body.alarms, "note": body.note})
    found = await asyncio.to_thread(lambda: [services.alarms.alarm(id) for id in body.alarms])
    return json_response({"alarms": shown(found)})


async def shelve(request: Request, services: ConsoleServices) -> Response:
    """Puts an alarm aside for a time, with a reason."""
    body = await body_of(request, _Shelve)
    fields = {"alarm": request.path_params["id"], "duration_s": body.duration_s, "reason": body.reason}
    return await _after(request, services, "alarm.shelve", fields)


async def unshelve(request: Request, services: ConsoleServices) -> Response:
    """Takes it off the shelf by hand."""
    return await _after(request, services, "alarm.unshelve", {"alarm": request.path_params["id"]})


async def _after(request: Request, services: ConsoleServices, kind: str, fields: Document) -> Response:
    await command(request, services, kind, fields)
    # The owner answers after its effect is durable: what is read now has it.
    return json_response(shown(await asyncio.to_thread(services.alarms.alarm, str(fields["alarm"]))))


async def command(request: Request, services: ConsoleServices, kind: str, fields: Document) -> dict[str, Any]:
    """Sends an `ops` command in the name of who asks (at least an operator) and returns what its owner answered."""
    person = require(request, "operator")
    at = to_us(services.clock.now())
    return await services.command({"id": services.new_id(), "kind": kind, "user": person.user, "at": at, **fields})
