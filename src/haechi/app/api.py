"""The api role: every HTTP face over read-only stores, a history tail of its own, and the log for writes."""

import asyncio
import shutil
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from nats.aio.client import Client
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from haechi.app import order, parts
from haechi.app.appending import city_log
from haechi.app.broker import Broker, BrokerNeeds
from haechi.app.certificates import expiries
from haechi.app.clock import clock_of
from haechi.app.following import OBSERVED, feed_hub, feed_tail
from haechi.app.health import Health
from haechi.app.measures import Gauges, Measures
from haechi.app.readers import Account, Alarms, Incidents, rule_shown
from haechi.app.settings import RunSettings
from haechi.app.supervisor import bound
from haechi.app.vitals import Heard, report
from haechi.app.watching import health_of, neighbours
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.times import to_us
from haechi.faces.console.feed import Feed
from haechi.faces.console.live import LiveHub
from haechi.faces.console.routes import files
from haechi.faces.console.routes import routes as console_routes
from haechi.faces.console.services import ConsoleServices
from haechi.faces.console.socket import AbortableWebSocket
from haechi.faces.console.static import is_public
from haechi.faces.gate import Bounded, Gate
from haechi.faces.guard import Guard, SecurityHeaders
from haechi.faces.metrics import routes as metrics_routes
from haechi.faces.ngsi_ld import remote
from haechi.faces.ngsi_ld.routes import application as ngsi_ld
from haechi.faces.ngsi_ld.routes import docs as api_docs
from haechi.faces.ngsi_ld.tenancy import Faces
from haechi.faces.under import Under
from haechi.faces.writing import GatheringProtocol
from haechi.plugins.stores.nats.log import NatsBus, NatsLog, close, connect
from haechi.plugins.stores.nats.state import LogState, log_state
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Clock
from haechi.services.cities.model import City, type_of
from haechi.services.commands import CommandReader, setpoints
from haechi.services.history.reader import HistoryTail
from haechi.services.incidents import shown_playbook
from haechi.services.stream.progress import WAIT_S, Commands, Progress
from haechi.services.stream.tape import Tape
from haechi.services.users.accounts import Person
from haechi.services.users.tokens import PREFIX

WRITES = 64  # of a face under way at once; each holds its body until the log has it
REFRESH_S = 5.0  # a lost notice of a commit costs at most this long a tail in memory

_events = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class _Core:
    """What the parts of the api role share."""

    settings: RunSettings
    city: City
    clock: Clock
    log: NatsLog
    bus: NatsBus
    progress: Progress
    entities: SqliteEntities
    history: HistoryTail
    hub: LiveHub
    heard: Heard
    health: Health
    log_state: Callable[[], Awaitable[LogState]]
    committed: "_Committed"


async def run(settings: RunSettings, ready: asyncio.Event) -> None:
    """Serves until cancelled."""
    await order.wait_log(settings)
    client = await connect(settings.log, "api")
    core = await _core(settings, client)
    server = uvicorn.Server(_config(settings, _application(core)))
    door = _door(settings)
    try:
        async with asyncio.TaskGroup() as group:
            tape = Tape(core.log, OBSERVED)
            group.create_task(tape.run())
            group.create_task(feed_hub(core.log, tape, core.hub))
            group.create_task(feed_tail(tape, core.history, core.progress))
            group.create_task(_refresh(core))
            group.create_task(core.health.keep())
            group.create_task(report("api", core.bus))
            group.create_task(_serve(server, door))
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.02)
            ready.set()
    finally:
        server.should_exit = True
        door.close()
        core.history.close()
        core.entities.close()
        await close(client)


async def _core(settings: RunSettings, client: Client) -> _Core:
    log, bus = city_log(settings, client), NatsBus(client)
    city = parts.load_city(Path(settings.city))
    clock = clock_of(settings.drill)
    await log.open()
    await order.wait_made(settings)
    progress = Progress(bus)
    await progress.start()
    heard = Heard(bus, time.monotonic)
    await heard.start()
    hub = LiveHub(_domain_of(city), lambda: to_us(clock.now()))
    entities = parts.entity_store(settings, read_only=True)
    history = HistoryTail(parts.history_files(settings))
    return _Core(
        settings=settings,
        city=city,
        clock=clock,
        log=log,
        bus=bus,
        progress=progress,
        entities=entities,
        history=history,
        hub=hub,
        heard=heard,
        health=health_of(settings, city, client, progress.applied, heard),
        log_state=lambda: log_state(client),
        committed=_Committed(),
    )


class _Committed:
    """When the writer of history last said that it had committed."""

    at: int | None = None


def _domain_of(city: City) -> "_DomainOf":
    return _DomainOf({kind.id: kind.domain for kind in city.types.values()})


class _DomainOf:
    """Domain of an entity by the type in its URN; empty when the city does not know it."""

    def __init__(self, domains: dict[str, str]) -> None:
        self._domains = domains

    def __call__(self, entity: str) -> str:
        return self._domains.get(type_of(entity), "")


async def _refresh(core: _Core) -> None:
    """Takes over what the writer committed, when it says so and now and then without."""
    committed = asyncio.Event()

    async def heard(subject: str, payload: bytes) -> None:
        core.committed.at = to_us(core.clock.now())
        committed.set()

    await core.bus.listen("history.committed", heard)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_S):  # `wait_for` of Python 3.11 may swallow a cancellation
                await committed.wait()
        committed.clear()
        try:
            await asyncio.to_thread(core.history.refresh)
        except Unavailable as error:  # answers stay whole: what is not taken over stays in the tail
            _events.warning("history_not_refreshed", error=str(error))


def _door(settings: RunSettings) -> socket.socket:
    """The console's address, taken here: uvicorn, where it cannot, ends the process from within a task."""
    host, port = settings.http_host, settings.http_port
    try:
        return bound(host, port)
    except OSError as error:
        raise Unavailable(f"{host}:{port}: {error.strerror}; stop what listens there or change --http") from error


async def _serve(server: uvicorn.Server, door: socket.socket) -> None:
    # The role handles signals itself: uvicorn would end the process in the middle of its own shutdown.
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    try:
        await server.serve([door])
    except asyncio.CancelledError:
        await server.shutdown([door])
        raise


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


def _config(settings: RunSettings, application: object) -> uvicorn.Config:
    return uvicorn.Config(
        application,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        http=GatheringProtocol,
        ws=AbortableWebSocket,
        ws_per_message_deflate=False,  # one message goes to all clients; compressing it for each costs a core at fifty
        ws_max_size=65_536,
        ws_ping_interval=20,
    )


def _application(core: _Core) -> object:
    console, feed, measures = _console(core)
    broker = Broker(
        BrokerNeeds(
            core.settings,
            core.city.contexts,
            core.clock,
            core.bus,
            core.entities,
            Gate(_Writer(core), WRITES, _behind(core)),
            Commands(core.log, core.progress),
            core.history,
            core.settings.instances_most,
        )
    )
    faces = Faces(broker.services)
    routes: list[BaseRoute] = [
        *console_routes(console),
        *metrics_routes(measures.metrics),
        *api_docs(),
        remote.route(faces),
        *files(),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(broker.running())
            await stack.enter_async_context(feed.running())
            yield

    others = Starlette(routes=routes, lifespan=lifespan)
    inner = Under("/ngsi-ld/v1", ngsi_ld(faces), others)
    tokens = parts.service_tokens(core.settings)

    async def who(token: str) -> Person | None:
        return await tokens.who(token) if token.startswith(PREFIX) else await console.accounts.who(token)

    def public(method: str, path: str) -> bool:
        return is_public(method, path) or remote.is_public(method, path)

    return SecurityHeaders(Bounded(Guard(inner, who, public)))


def _measures(core: _Core, account: Account, alarms: Alarms) -> Measures:
    return Measures(
        Gauges(
            health=core.health,
            heard=core.heard,
            log=core.log_state,
            disk_free=lambda: shutil.disk_usage(core.settings.folder).free,
            account=account.account,
            counts=alarms.counts,
            certificates=lambda: expiries(core.settings, core.city),
            tail_rows=core.history.tail_rows,
            committed_at=lambda: core.committed.at,
            clients=lambda: core.hub.watching,
            neighbours=lambda: neighbours(core.settings.run_folder),
            log_max=core.settings.log_limits.max_bytes,
        )
    )


def _console(core: _Core) -> tuple[ConsoleServices, Feed, Measures]:
    settings, city = core.settings, core.city
    alarm_store = parts.alarm_store(settings, read_only=True)
    incident_store = parts.incident_store(settings, read_only=True)
    alarms = Alarms(alarm_store, incident_store)
    rules = {one.id: one for one in parts.load_rules(city)}
    playbooks = parts.load_playbooks(city)
    account = Account(settings, city, core.log, core.health, core.progress)
    measures = _measures(core, account, alarms)
    services = ConsoleServices(
        city=city,
        clock=core.clock,
        accounts=parts.user_accounts(settings),
        hub=core.hub,
        entities=core.entities,
        alarms=alarms,
        incidents=Incidents(incident_store, alarm_store, playbooks),
        commands=CommandReader(parts.command_store(settings, read_only=True), setpoints(city)),
        history=core.history,
        account=account,
        playbook=lambda id: shown_playbook(playbooks.get(id)),
        rule=lambda id: rule_shown(rules.get(id)),
        command=Gate(Commands(core.log, core.progress), WRITES),
        health=core.health,
        vitals=measures.vitals,
        new_id=lambda: uuid.uuid4().hex,
    )
    return services, Feed(core.hub, core.bus, core.clock, alarms.counts), measures


def _behind(core: _Core) -> Callable[[], str]:
    """Why a write would not be seen in time, so that it is refused before it is stored."""

    def why() -> str:
        if core.history.full:
            return "history has no room for more until its writer commits; nothing was stored, send it again later"
        if core.health.late_s().get("context", 0.0) <= WAIT_S:
            return ""
        behind = core.health.behind.get("context", 0)
        return f"context is {behind:,} messages behind; nothing was stored, send it again later"

    return why


class _Writer:
    """Appends a frame of the NGSI-LD face and waits until reads see it; `Refusals` of what they will never see."""

    def __init__(self, core: _Core) -> None:
        self._core = core

    async def __call__(self, frame: Frame) -> None:
        seq = await self._core.log.append("entity", encode(frame), uuid.uuid4().hex)
        await self._core.progress.wait(("context", "tail"), seq)
        self._core.progress.check(one.id for one in frame.commands)
