"""The gateway role: runs the adapters of the city's links in front of ingest."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from haechi import registry
from haechi.app import order
from haechi.app.appending import city_log
from haechi.app.city import carries_commands, hastened, link_settings, plans
from haechi.app.clock import clock_of
from haechi.app.parts import account_store, device_registry, load_city
from haechi.app.quarantine import QuarantineRoom
from haechi.app.refusals import LoudRegistry
from haechi.app.settings import RunSettings
from haechi.app.vitals import report
from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.stores.nats.log import NatsBus, close, connect
from haechi.ports import Adapter, AdapterContext
from haechi.services.commands import Once
from haechi.services.ingest.intake import GroupIntake

_events = structlog.get_logger("gateway")
RETRY_S = 2.0


async def run(settings: RunSettings, ready: asyncio.Event) -> None:
    """Runs until cancelled; then stops the adapters first, so that everything they acknowledged is on the log."""
    city = load_city(Path(settings.city))
    await order.wait_log(settings)
    client = await connect(settings.log, "gateway")
    log, bus = city_log(settings, client), NatsBus(client)
    await log.open()
    await order.wait_made(settings)
    quarantine = QuarantineRoom(account_store(settings.folder))
    intake = GroupIntake(log, plans(city), quarantine)
    await intake.start()
    adapters: dict[str, Adapter] = {}
    registry_ = LoudRegistry(device_registry(settings), time.monotonic)
    for link in city.links.values():
        folder = settings.folder / "adapters" / link.id
        folder.mkdir(parents=True, exist_ok=True)
        clock = clock_of(settings.drill)
        seen = Once(bus, clock, folder) if carries_commands(link.adapter) == "adapter" else bus
        context = AdapterContext(link.id, intake, registry_, seen, clock, str(folder))
        make = registry.create("adapter", link.adapter)
        speed = settings.drill.speed if settings.drill else 1.0
        adapters[link.id] = make(hastened(link.adapter, link_settings(link, settings.overrides), speed), context)
    try:
        await _start_all(adapters)
        ready.set()
        await report("gateway", bus, lambda: _health(adapters, intake, quarantine))
    finally:
        await _stop_all(list(adapters.values()))
        await intake.stop()
        await close(client)


async def _start_all(adapters: Mapping[str, Adapter]) -> None:
    """Each by itself: a link whose port is taken must not close the doors of the others."""
    await asyncio.gather(*(_start(link, adapter) for link, adapter in adapters.items()))


async def _start(link: str, adapter: Adapter) -> None:
    while True:
        try:
            await adapter.start()
        except Unavailable as error:
            _events.warning("adapter_waits", link=link, error=str(error))
            await asyncio.sleep(RETRY_S)
        else:
            listens = {"port": adapter.port} if hasattr(adapter, "port") else {}  # a poller has none
            _events.info("adapter_started", link=link, **listens)
            return


def _health(adapters: Mapping[str, Adapter], intake: GroupIntake, quarantine: QuarantineRoom) -> Mapping[str, Any]:
    """Figures of each adapter and of the queue behind them; raises what ended the intake."""
    intake.check()
    quarantine.look()
    return {"links": {link: dict(one.health()) for link, one in adapters.items()}, "intake": intake.health()}


async def _stop_all(adapters: Sequence[Adapter]) -> None:
    results = await asyncio.gather(*(one.stop() for one in adapters), return_exceptions=True)
    for problem in results:
        if isinstance(problem, BaseException) and not isinstance(problem, InvalidSettings):
            _events.error("adapter_stop_failed", error=repr(problem))
