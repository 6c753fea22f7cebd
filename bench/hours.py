"""Row h: ten virtual hours of the testbed city, physics, devices and the whole platform together on this machine.

Every twin of Gimpo (water by EPANET, air, power by power-grid-model, traffic) runs with its devices over MQTT, HJ 212
and Modbus at 130 times the real pace against `haechi run` on the same clock, with ten labelled faults. The span is the
testbed's whole process, from its start to the last acknowledgement; what the platform noticed is scored afterwards.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import _running
from bench._table import Line, alone
from haechi.testing.platform import Platform
from haechi_testbed.clock import SECOND, format_instant
from haechi_testbed.scenario import read

GIMPO = Path(__file__).parents[1] / "cities" / "gimpo"
SCENARIO = GIMPO / "testbed" / "scenarios" / "ten-hours.toml"
COMES_UP_S = 12  # real seconds the platform has before the scenario begins
GOAL_S = 300.0


def measure() -> Iterator[Line]:
    course = read(SCENARIO)
    start = format_instant(course.start_us - int(COMES_UP_S * course.speed * SECOND))
    with (
        _running.scratch() as folder,
        Platform(GIMPO, folder / "data", ["--clock-start", start, "--clock-speed", str(course.speed)]) as city,
    ):
        began, used = time.perf_counter(), os.times()
        said = _testbed(city, "scenario", str(SCENARIO), str(GIMPO), *_doors(city), "--truth", str(folder / "truth"))
        span, ended = time.perf_counter() - began, os.times()
        city.wait_for(lambda: not any(city.request("GET", "/health")["checks"]["behind"].values()), 60, "still behind")
        caught_up = time.perf_counter() - began - span
        cpu = _running.cpu_s(city.pids().values())
        scored = json.loads(_testbed(city, "score", str(folder / "truth"), "--haechi", city.url, "--json"))
    physics = ended.children_user - used.children_user + ended.children_system - used.children_system
    note = f"{_sent(said)}; CPU: testbed {physics:.0f} s, platform {cpu:.0f} s; applied {caught_up:.1f} s later"
    yield Line(
        "h", "ten virtual hours of Gimpo, all twins, whole platform", span, "s", None, "≤ 300 s", span <= GOAL_S, note
    )
    yield _found(scored)


def _found(scored: dict[str, object]) -> Line:
    faults, false = scored["faults"], scored["false_alarms"]
    assert isinstance(faults, list)
    assert isinstance(false, list)
    missed = [one["fault"] for one in faults if not one["detected"]]
    note = f"missed: {', '.join(missed) or 'none'}; false alarms: {', '.join(false) or 'none'}"
    what = f"  faults of {len(faults)} that raised their alarm"
    return Line("", what, len(faults) - len(missed), "", None, "all, none false", not missed and not false, note)


def _doors(city: Platform) -> list[str]:
    doors = [f"--door={link}=127.0.0.1:{port}" for link, port in city.ports.items()]
    return [*doors, "--haechi", city.url, "--credentials", str(city.credentials)]


def _testbed(city: Platform, *arguments: str) -> str:
    """Runs `haechi-testbed` to its end; what it said. It fails when anything it sent was not acknowledged."""
    command = [sys.executable, "-m", "haechi_testbed.cli", *arguments]
    environment = {**os.environ, "HAECHI_PASSWORD": city.password}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _sent(said: str) -> str:
    found = re.search(r"[\d,]+ observations[^\n]*", said)
    return found.group(0) if found else said.strip().splitlines()[-1]


if __name__ == "__main__":
    alone(measure)
