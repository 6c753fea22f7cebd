"""Puts a simulated city together from its folder and its credentials and runs it. Used by `cli`."""

import argparse
import asyncio
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from haechi_testbed import control, twins
from haechi_testbed.clock import VirtualClock, format_instant
from haechi_testbed.faults import Planned
from haechi_testbed.part import Address, Credentials, Pace, Part, Setting, Traffic
from haechi_testbed.runner import Runner

REPORT_S = 10.0
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Site:
    """A city to simulate. `doors`: by link, where the platform listens."""

    city: Path
    credentials: Credentials
    doors: Mapping[str, Address]
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


def doors(city: Path, moved: Mapping[str, Address]) -> dict[str, Address]:
    """Host and port of every link of the city that says so in its settings, unless moved elsewhere."""
    found: dict[str, Address] = {}
    for file in sorted((city / "links").glob("*.toml")):
        settings = tomllib.loads(file.read_text("utf-8")).get("settings", {})
        if "port" in settings:
            found[file.stem] = (str(settings.get("host", "127.0.0.1")), int(settings["port"]))
    return found | dict(moved)


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
    """Runs until the course ends or `stopped` is set; 0 when all that was sent is acknowledged and no one refused.

    ValueError when a planned fault has no target in this city: nothing has been sent then.
    """
    await asyncio.sleep(course.wait_s)
    clock = VirtualClock(course.start_us, course.speed, monotonic)
    parts = await _parts(Setting(site.city, site.credentials, site.doors, clock, _pace(course)))
    runner = Runner(parts, clock, site.truth, lambda text: print(text, flush=True))
    server = None
    watch = asyncio.create_task(_report(runner, parts))
    try:
        for planned in course.faults:
            runner.plan(planned)
        server = await control.serve(place.port, runner.answer, place.runtime)
        await runner.run(course.end_us, stopped.is_set)
    finally:
        watch.cancel()
        if server is not None:
            server.close()
            with suppress(FileNotFoundError):
                place.runtime.unlink()
        left = sum(await asyncio.gather(*(part.finish(DRAIN_S) for part in parts)))
    traffic = _sum(parts)
    print(f"{format_instant(runner.now_us)} stopped: {traffic.sent} messages sent, {left} not acknowledged", flush=True)
    for one in traffic.refused:
        print(f"refused {one}: issue credentials again with `haechi device issue`", file=sys.stderr)
    return 1 if left or traffic.refused else 0


def _pace(course: Course) -> Pace:
    return Pace(course.start_us, course.speed, course.seed)


async def _parts(setting: Setting) -> list[Part]:
    """Every twin whose inputs this city has."""
    modules = [twins.part(name) for name in twins.names()]
    return [await one.join(setting) for one in modules if (setting.city / "testbed" / one.NEEDS).exists()]


def _sum(parts: Sequence[Part]) -> Traffic:
    each = [part.traffic() for part in parts]
    refused = tuple(one for traffic in each for one in traffic.refused)
    return Traffic(sum(one.sent for one in each), sum(one.acknowledged for one in each), refused)


async def _report(runner: Runner, parts: Sequence[Part]) -> None:
    while True:
        await asyncio.sleep(REPORT_S)
        traffic = _sum(parts)
        lag = f"lag {runner.lag_us / 1e6:.1f} s"
        line = f"{format_instant(runner.now_us)} sent {traffic.sent}, acknowledged {traffic.acknowledged}, {lag}"
        print(line + (f", {len(traffic.refused)} devices refused" if traffic.refused else ""), flush=True)
