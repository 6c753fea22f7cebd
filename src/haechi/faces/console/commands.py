"""Setpoints: sent by an operator with a reason, followed to their end. Routed by `routes.py`."""

import asyncio
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from haechi.faces.console import alarms
from haechi.faces.console.alarms import Words
from haechi.faces.console.services import ConsoleServices
from haechi.faces.http import body_of, json_response, whole_number


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    entity: Words
    attribute: Words
    value: float | bool | Annotated[str, msgspec.Meta(max_length=250)]
    reason: Words


async def request(request: Request, services: ConsoleServices) -> Response:
    """Asks a device for a value; answers *Command* as soon as it is stored, before the device has it."""
    body = msgspec.to_builtins(await body_of(request, _Request))
    return json_response(await alarms.command(request, services, "command.request", body), 201)


async def commands(request: Request, services: ConsoleServices) -> Response:
    """`{commands, setpoints}`: newest first; what of that entity may be written."""
    entity = request.query_params.get("entity")
    limit = whole_number(request, "limit", 100, 1, 10_000)
    found = await asyncio.to_thread(services.commands.commands, entity, limit)
    writable = services.commands.setpoints(entity) if entity else []
    return json_response({"commands": found, "setpoints": writable})


async def setpoints(request: Request, services: ConsoleServices) -> Response:
    """`{setpoints}`: what may be written in the whole city, or of `entity`."""
    return json_response({"setpoints": services.commands.setpoints(request.query_params.get("entity") or None)})


async def command(request: Request, services: ConsoleServices) -> Response:
    """*Command* with its steps."""
    return json_response(await asyncio.to_thread(services.commands.command, request.path_params["id"]))
