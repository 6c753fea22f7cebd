"""The pipeline role: runs every projection of the log. The only process that writes context, history, alarms and
incidents."""

import asyncio
import hashlib
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import structlog

from haechi.app import order, selfwatch
from haechi.app.appending import city_log
from haechi.app.clock import clock_of
from haechi.app.parts import (
    account_store,
    alarm_store,
    command_store,
    current_value,
    describe,
    entity_store,
    history_store,
    incident_store,
    load_city,
    load_playbooks,
    load_rules,
    subscription_store,
)
from haechi.app.settings import RunSettings
from haechi.app.unreadable import Unreadable
from haechi.app.vitals import Heard, report
from haechi.app.watching import health_of
from haechi.app.work import Timed
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.times import to_us
from haechi.plugins.stores.nats.log import NatsBus, NatsLog, close, connect
from haechi.ports import Clock, EntityStore, Log, Projection
from haechi.services.cities.model import City
from haechi.services.cities.provision import commands
from haechi.services.commands import CommandProjection, setpoints, to_log
from haechi.services.context.outbox import SEEN, Outbox
from haechi.services.context.projection import ContextProjection
from haechi.services.history.writer import HistoryWriter
from haechi.services.incidents import IncidentProjection, linked
from haechi.services.ingest.account import AccountProjection
from haechi.services.stream.runner import Runner
from haechi.services.subscriptions.book import Book
from haechi.services.watch.projection import WatchProjection

FIRST = ("watch",)  # an alarm does not wait for the live model or for history
SWITCH_S = 0.001  # how long one thread may keep the interpreter from another: the alarm's way crosses it several times
TRIM_S = 10.0
RETRY_S = 2.0

_events = structlog.get_logger("pipeline")


async def run(settings: RunSettings, ready: asyncio.Event) -> None:
    """Runs until cancelled; every projection stops between two transactions."""
    sys.setswitchinterval(SWITCH_S)
    city = load_city(Path(settings.city))
    history = HistoryWriter(history_store(settings), monotonic=time.monotonic)
    await order.wait_log(settings)
    client = await connect(settings.log, "pipeline")
    log, bus, clock = city_log(settings, client), NatsBus(client), clock_of(settings.drill)
    await log.open()
    model = entity_store(settings)
    outbox = Outbox(model, Book(subscription_store(settings)).interest)
    live = ContextProjection(model, outbox)
    projections = [Timed(one) for one in (live, *_projections(settings, city, history))]
    await log.continue_after(max(one.position() for one in projections))
    order.made(settings)
    stop = await to_log(bus, log)
    await bus.listen(SEEN, _seen_by(outbox))
    unreadable = Unreadable(settings.folder)
    runner = Runner(log, bus, clock, projections, unreadable.keep, first=FIRST)
    heard = Heard(bus, time.monotonic)
    await heard.start()
    health = health_of(settings, city, client, runner.seen, heard)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(runner.run())
            group.create_task(report("pipeline", bus, lambda: {"upkeep": history.upkeep(), **_work(projections)}))
            group.create_task(_keep_log(log, runner))
            await _provision(city, settings, log, clock)
            group.create_task(health.keep())
            group.create_task(selfwatch.tell(city, health, log, clock))
            ready.set()
    finally:
        await stop()
        for one in projections:
            one.close()
        await close(client)


def _work(projections: Sequence[Timed]) -> Mapping[str, Any]:
    return {"projections": {one.name: one.figures() for one in projections}}


def _seen_by(outbox: Outbox) -> Callable[[str, bytes], Awaitable[None]]:
    async def heard(subject: str, payload: bytes) -> None:
        outbox.seen = int(orjson.loads(payload)["number"])

    return heard


def _projections(settings: RunSettings, city: City, history: HistoryWriter) -> list[Projection]:
    alarms, incidents = alarm_store(settings), incident_store(settings)
    entities = entity_store(settings, read_only=True)
    described, current = describe(entities, city), current_value(entities)
    return [
        history,
        AccountProjection(account_store(settings.folder, read_only=False)),
        WatchProjection(
            alarms, load_rules(city), described, linked(incidents), settings.drill.speed if settings.drill else 1.0
        ),
        IncidentProjection(incidents, alarms, load_playbooks(city)),
        CommandProjection(command_store(settings), setpoints(city), current),
    ]


async def _keep_log(log: NatsLog, runner: Runner) -> None:
    """Takes off the log, now and then, what its limits ask for and every projection has applied."""
    while True:
        try:
            await log.trim(await runner.durable(), time.time_ns() // 1000)  # the log's clock, also in a drill
        except Unavailable as error:
            _events.warning("log_not_trimmed", error=str(error))
        await asyncio.sleep(TRIM_S)


async def _provision(city: City, settings: RunSettings, log: Log, clock: Clock) -> None:
    """In a thread of its own: a million facilities must not keep the log waiting for this process to listen."""
    store = entity_store(settings, read_only=True)
    frames = _frames(city, store, to_us(clock.now()))
    loop, changed = asyncio.get_running_loop(), 0
    with ThreadPoolExecutor(1, thread_name_prefix="provision") as thread:
        while (found := await loop.run_in_executor(thread, next, frames, None)) is not None:
            done, count, payload = found
            order.advance(settings, "pipeline", f"{done:,} of {len(city.facilities):,} facilities entered")
            if count:
                await _stored(log, payload)
            changed += count
    store.close()
    _events.info("city_provisioned", city=city.id, facilities=len(city.facilities), changed=changed)


def _frames(city: City, store: EntityStore, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Facilities looked at so far, those of them to be told to the log now, and the frame that does."""
    for done, chunk in commands(city, store, at):
        yield done, len(chunk), encode(Frame(commands=tuple(chunk))) if chunk else b""


async def _stored(log: Log, payload: bytes) -> None:
    """Until the log took it: a full log gets room from the projections that run meanwhile."""
    name = hashlib.sha256(payload).hexdigest()
    while True:
        try:
            await log.append("entity", payload, name)
        except Unavailable as error:
            _events.warning("city_not_provisioned_yet", error=str(error))
            await asyncio.sleep(RETRY_S)
        else:
            return
