"""Every path of docs/reference/console-api.md, joined to its endpoint. `app.py` puts the guard around them."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from haechi.faces.console import account, alarms, commands, incidents, place, session
from haechi.faces.console.history import History
from haechi.faces.console.services import ConsoleServices
from haechi.faces.console.socket import serve
from haechi.faces.console.static import UI, Static
from haechi.faces.http import answering

Handler = Callable[[Request, ConsoleServices], Awaitable[Response]]

READS: tuple[tuple[str, Handler], ...] = (
    ("/health", account.health),
    ("/api/me", session.me),
    ("/api/city", place.city),
    ("/api/map/{id}.geojson", place.layer),
    ("/api/facilities", place.facilities),
    ("/api/latest", place.latest),
    ("/api/entities/{id:path}", place.entity),
    ("/api/alarms", alarms.alarms),
    ("/api/alarms/{id}", alarms.alarm),
    ("/api/incidents", incidents.incidents),
    ("/api/incidents/{id}", incidents.incident),
    ("/api/commands", commands.commands),
    ("/api/commands/{id}", commands.command),
    ("/api/setpoints", commands.setpoints),
    ("/api/account", account.account),
    ("/api/quarantine", account.quarantine),
    ("/api/vitals", account.vitals),
    ("/api/texts/{lang}", place.texts),
)
WRITES: tuple[tuple[str, Handler], ...] = (
    ("/api/login", session.log_in),
    ("/api/logout", session.log_out),
    ("/api/password", session.password),
    ("/api/alarms/acknowledge", alarms.acknowledge),
    ("/api/alarms/{id}/shelve", alarms.shelve),
    ("/api/alarms/{id}/unshelve", alarms.unshelve),
    ("/api/incidents", incidents.open_incident),
    ("/api/incidents/{id}/{step}", incidents.step),
    ("/api/commands", commands.request),
    ("/api/quarantine/replay", account.replay),
)


def routes(services: ConsoleServices) -> list[BaseRoute]:
    """The console's API and its live socket."""
    history = History(services.history)
    found: list[BaseRoute] = [WebSocketRoute("/api/live", partial(_live, services=services))]
    found += [_route(path, handler, services, "POST") for path, handler in WRITES]
    found += [_route(path, handler, services, "GET") for path, handler in READS]
    found.append(Route("/api/history", answering(history.answer), methods=["GET"]))
    return found


def files(ui: Path | None = None) -> list[BaseRoute]:
    """The console's own files. They must be the last routes of the application: they take any short path nobody has."""
    static = Static(ui or UI)
    return [Route(path, answering(static.answer), methods=["GET"]) for path in ("/", "/{file}", "/{folder}/{file}")]


def _route(path: str, handler: Handler, services: ConsoleServices, method: str) -> Route:
    async def endpoint(request: Request) -> Response:
        return await handler(request, services)

    return Route(path, answering(endpoint), methods=[method], name=handler.__name__)


async def _live(socket: WebSocket, services: ConsoleServices) -> None:
    limits_s = (services.not_reading_s, services.ask_session_s)
    await serve(socket, services.hub, services.accounts, limits_s)
