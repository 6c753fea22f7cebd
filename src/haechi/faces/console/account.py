"""The account of what came in, and quarantine with its way back. Routed by `routes.py`."""

import asyncio
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from haechi.faces.console.services import ConsoleServices
from haechi.faces.console.shapes import shown
from haechi.faces.http import body_of, json_response, require, whole_number


class _Replay(msgspec.Struct, forbid_unknown_fields=True):
    ids: Annotated[list[str], msgspec.Meta(max_length=10_000)] | None = None
    link: str | None = None


async def account(request: Request, services: ConsoleServices) -> Response:
    """Received, stored, rejected, quarantined per link, whether it balances, and how far behind projections are."""
    return json_response(await services.account.account())


async def quarantine(request: Request, services: ConsoleServices) -> Response:
    """`{messages}` held in quarantine with reason and payload, oldest first."""
    limit = whole_number(request, "limit", 100, 1, 10_000)
    link = request.query_params.get("link") or None
    found = await asyncio.to_thread(services.account.quarantine, link, limit)
    return json_response({"messages": shown(found)})


async def replay(request: Request, services: ConsoleServices) -> Response:
    """Maps held messages again; those understood now are stored and leave quarantine."""
    require(request, "operator")
    body = await body_of(request, _Replay)
    return json_response(await services.account.replay(body.ids, body.link))


async def health(request: Request, services: ConsoleServices) -> Response:
    """`{status, checks}`; 503 when down, so that a load balancer understands."""
    found = await services.health()
    return json_response(found, 503 if found["status"] == "down" else 200)


async def vitals(request: Request, services: ConsoleServices) -> Response:
    """*Vitals*: memory, disk, log, queues and what each adapter counts."""
    return json_response(await services.vitals())
