"""Puts a simulated city together from its folder and its credentials and runs it. Used by `cli`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from haechi_testbed import control
from haechi_testbed.clock import VirtualClock, format_instant
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.faults import Planned
from haechi_testbed.parts.air import AirPart
from haechi_testbed.parts.water import WaterPart
from haechi_testbed.runner import Pace, Part, Runner

WATER_LINK, AIR_LINK = "water-mqtt", "air-hj212"
REPORT_S = 10.0
DRAIN_S = 10.0
Credentials = Mapping[str, Mapping[str, str]]  # device -> link -> secret
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the platform listens."""

    mqtt: Address
    hj212: Address


@dataclass(frozen=True, slots=True)
class Site:
    """A city to simulate."""

    city: Path
    credentials: Credentials
    doors: Doors
    truth: Path | None


@dataclass(frozen=True, slots=True)
class Course:
    """How time goes and what goes wrong."""

    start_us: int
    speed: float
    seed: int
    end_us: int | None
    faults: Sequence[Planned]
    wait_s: float = 0.0  # real seconds before it begins


@dataclass(frozen=True, slots=True)
class Control:
    """Where the control socket is and which file says so."""

    port: int
    runtime: Path


def address(text: str) -> Address:
    """Host and port of `127.0.0.1:1883`; ValueError otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{text!r} is no address; write HOST:PORT")
    return host, int(port)


def credentials(file: Path) -> Credentials:
    """What `haechi device issue` wrote; ValueError when it has another form."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"no file {file}; make one with `haechi device issue CITY_DIR --data DIR`") from error
    if not isinstance(found, dict) or not all(isinstance(links, dict) for links in found.values()):
        raise ValueError(f"{file}: write {{device: {{link: secret}}}}, as `haechi device issue` does")
    return found


def add_replay(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command `replay`."""
    if find_spec("haechi_testbed.replay") is not None:
        import_module("haechi_testbed.replay").add_parser(commands)


async def simulate(
    site: Site, course: Course, place: Control, stopped: asyncio.Event, monotonic: Callable[[], float]
) -> int:
    """Runs until the course ends or `stopped` is set; 0 when all that was sent is acknowledged and no one refused."""
    gateways = {
        device: Gateway(device, links[WATER_LINK], *site.doors.mqtt)
        for device, links in site.credentials.items()
        if WATER_LINK in links
    }
    await asyncio.sleep(course.wait_s)
    clock = VirtualClock(course.start_us, course.speed, monotonic)
    pace = Pace(course.start_us, course.speed, course.seed)
    secrets = {device: links[AIR_LINK] for device, links in site.credentials.items() if AIR_LINK in links}
    water = WaterPart(site.city, gateways, pace)
    air = AirPart(site.city, secrets, site.doors.hj212, clock, pace)
    parts: list[Part] = [water, air]
    runner = Runner(parts, clock, site.truth, lambda text: print(text, flush=True))
    for planned in course.faults:
        runner.board.plan(planned)
    for gateway in gateways.values():
        gateway.start()
    server = await control.serve(place.port, runner.answer, place.runtime)
    watch = asyncio.create_task(_report(runner, gateways, air))
    try:
        await runner.run(course.end_us, stopped.is_set)
    finally:
        watch.cancel()
        server.close()
        with suppress(FileNotFoundError):
            place.runtime.unlink()
        ends = [air.finish(DRAIN_S), *(asyncio.to_thread(one.stop, DRAIN_S) for one in gateways.values())]
        left = await asyncio.gather(*ends)
        water.close()
    refused = [f"{one.device}: {one.refused}" for one in gateways.values() if one.refused] + air.refused
    sent = sum(one.sent for one in gateways.values()) + air.sent
    print(f"{format_instant(runner.now_us)} stopped: {sent} messages sent, {sum(left)} not acknowledged", flush=True)
    for one in refused:
        print(f"refused {one}: issue credentials again with `haechi device issue`", file=sys.stderr)
    return 1 if sum(left) or refused else 0


async def _report(runner: Runner, gateways: Mapping[str, Gateway], air: AirPart) -> None:
    while True:
        await asyncio.sleep(REPORT_S)
        sent = sum(one.sent for one in gateways.values()) + air.sent
        acknowledged = sum(one.acknowledged for one in gateways.values()) + air.acknowledged
        lag = f"lag {runner.lag_us / 1e6:.1f} s"
        line = f"{format_instant(runner.now_us)} sent {sent}, acknowledged {acknowledged}, {lag}"
        refused = sum(bool(one.refused) for one in gateways.values()) + len(air.refused)
        print(line + (f", {refused} devices refused" if refused else ""), flush=True)
