"""`haechi run CITY_DIR`: checks the city, makes the settings of its run, starts its roles and supervises them."""

import argparse
import asyncio
import gc
import secrets
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from haechi.app.city import check_overrides, link_settings, listens
from haechi.app.commands.role import body_of, runs
from haechi.app.forks import STOPPING, fork, hold_signals, release_signals
from haechi.app.parts import keep_city, load_city, user_accounts
from haechi.app.settings import DrillClock, RunSettings
from haechi.app.supervisor import ROLES, Supervisor, free_port, require_free, running_supervisor
from haechi.core.errors import InvalidSettings
from haechi.core.times import to_us
from haechi.plugins.stores.nats.server import Address
from haechi.services.cities.model import City

# What two roles need is loaded before they part; the api's faces and the engines of history only one needs.
SHARED = ("pipeline", "gateway")


def run(arguments: argparse.Namespace) -> int:
    """Checks everything, then runs the city until Ctrl-C or SIGTERM."""
    gc.disable()  # loading makes much and throws little away; what is there when roles part is never walked again
    if arguments.city is None:
        raise InvalidSettings("name the city: `haechi run CITY_DIR`, e.g. `haechi run cities/gimpo`")
    city = load_city(arguments.city)
    settings = make_settings(arguments, city)
    settings.save()
    if password := first_password(settings):
        print(f"first login: user admin, password {password}  (shown this once; change it in the console)", flush=True)
    supervisor = Supervisor(settings)
    supervisor.claim()
    keep_city(Path(settings.city), city)
    for name in SHARED:
        body_of(name)
    hold_signals()
    supervisor.adopt({name: fork(runs(name, settings)) for name in ROLES})
    gc.enable()
    return asyncio.run(_supervise(supervisor, greeting(settings, city)))


def first_password(settings: RunSettings) -> str | None:
    """That of the first user where there was none; leaves no connection and no thread behind, for roles are forked."""
    accounts = user_accounts(settings)
    try:
        return asyncio.run(accounts.first_start())
    finally:
        accounts.close()


async def _supervise(supervisor: Supervisor, said: str) -> int:
    stop = asyncio.Event()
    for number in STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    release_signals()
    await supervisor.run(stop, lambda: print(said, flush=True))
    print("haechi: stopped", flush=True)
    return 0


def make_settings(arguments: argparse.Namespace, city: City) -> RunSettings:
    """The settings of a run; every port is looked at before anything starts."""
    host, _, port = arguments.http.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidSettings(f"--http wants HOST:PORT, not {arguments.http!r}")
    if arguments.log_gib < 1:
        raise InvalidSettings(f"--log-gib wants at least 1, not {arguments.log_gib}")
    overrides = parse_overrides(arguments.set)
    check_overrides(city, overrides)
    require_free(host, int(port), "--http")
    for link in city.links.values():
        settings = link_settings(link, overrides)
        if "port" in settings and listens(link.adapter):
            require_free(str(settings.get("host", "127.0.0.1")), int(settings["port"]), f"--set {link.id}.port=…")
    data: Path = arguments.data.resolve()
    if (other := running_supervisor(data)) is not None:
        raise InvalidSettings(f"process {other} already runs a city in {data}; stop it or use another --data")
    data.mkdir(parents=True, exist_ok=True)
    return RunSettings(
        city=str(arguments.city.resolve()),
        data=str(data),
        log=Address(free_port(), secrets.token_hex(16)),
        http_host=host,
        http_port=int(port),
        durability=arguments.durability,
        overrides=overrides,
        drill=_drill(arguments.clock_start, arguments.clock_speed),
        log_gib=arguments.log_gib,
        retention_days=arguments.retention_days,
        instances_most=arguments.temporal_instances,
    )


def parse_overrides(items: list[str]) -> dict[str, dict[str, Any]]:
    """`LINK.KEY=VALUE` arguments as link -> key -> value; a value that reads as JSON is that, else text."""
    overrides: dict[str, dict[str, Any]] = {}
    for item in items:
        name, equals, text = item.partition("=")
        link, dot, key = name.partition(".")
        if not (equals and dot and link and key):
            raise InvalidSettings(f"--set wants LINK.KEY=VALUE, not {item!r}")
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        overrides.setdefault(link, {})[key] = value
    return overrides


def _drill(start: str | None, speed: float) -> DrillClock | None:
    if start is None and speed == 1.0:
        return None
    if speed <= 0:
        raise InvalidSettings("--clock-speed must be above 0")
    anchor = time.time_ns() // 1000
    try:
        start_us = to_us(datetime.fromisoformat(start).astimezone()) if start else anchor
    except ValueError as error:
        raise InvalidSettings(f"--clock-start wants an ISO date-time with offset, not {start!r}") from error
    return DrillClock(start_us, anchor, speed)


def greeting(settings: RunSettings, city: City) -> str:
    """What is running and where, for people."""
    lines = [f"{city.name['en']} runs.", f"  console   http://{settings.http_host}:{settings.http_port}/"]
    for link in city.links.values():
        one = link_settings(link, settings.overrides)
        lines.append(f"  {link.adapter:<9} {one.get('host', '127.0.0.1')}:{one.get('port', '-')}  (link {link.id})")
    lines.append(f"  data      {settings.data}  (durability = {settings.durability})")
    return "\n".join(lines)
