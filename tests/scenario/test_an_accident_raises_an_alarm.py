"""An accident on a simulated road becomes an alarm on the platform; a setpoint changes the signal upstream of it."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform

GIMPO = Path(__file__).parents[2] / "cities" / "gimpo"
START, SPEED = "2026-11-23T07:45:00+09:00", 60


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Gimpo with nothing but its traffic: it starts sooner."""
    city = Path(shutil.copytree(GIMPO, tmp_path / "gimpo"))
    for file in (*city.glob("facilities/*"), *city.glob("links/*"), *city.glob("testbed/*.toml")):
        if not file.name.startswith("traffic"):
            file.unlink()
    devices = (city / "devices.csv").read_text("utf-8").splitlines(keepends=True)
    (city / "devices.csv").write_text("".join(one for one in devices if ",link," in one or ",traffic-" in one), "utf-8")
    text = (city / "city.toml").read_text("utf-8")
    domains = json.dumps(tomllib.loads(text)["domains"])
    (city / "city.toml").write_text(text.replace(domains, '["traffic", "safety", "platform"]'), "utf-8")
    return city


@pytest.fixture
def platform(city: Path, tmp_path: Path) -> Iterator[Platform]:
    with Platform(city, tmp_path / "data", ["--clock-start", START, "--clock-speed", str(SPEED)]) as running:
        yield running


def testbed(platform: Platform, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "HAECHI_PASSWORD": platform.password}
    command = [sys.executable, "-m", "haechi_testbed.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


testbed.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def running(platform: Platform, city: Path, tmp_path: Path) -> Iterator[Path]:
    """The testbed, until the end of the test; the file that says where its control socket is."""
    runtime = tmp_path / "runtime.json"
    doors = [f"--door={link}=127.0.0.1:{port}" for link, port in platform.ports.items()]
    who = ["--credentials", str(platform.credentials), "--haechi", platform.url, "--runtime", str(runtime)]
    process = testbed(platform, "run", str(city), "--speed", str(SPEED), *who, *doors)
    try:
        platform.wait_for(runtime.exists, 60, "the testbed did not start")
        yield runtime
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert " 0 not acknowledged" in said, said


def busiest() -> str:
    """The watched road whose detectors count most by day."""
    lines = (GIMPO / "facilities/traffic-detectors.ndjson").read_text("utf-8").splitlines()
    return str(max(map(json.loads, lines), key=lambda one: one["daytimeLow"])["refRoadSegment"]["object"])


def alarms(platform: Platform, rule: str) -> Any:
    found = platform.request("GET", "/api/alarms?state=active")["alarms"]
    return [one["entity"] for one in found if one["rule"] == rule]


def test_an_accident_is_an_alarm_and_the_signal_takes_another_plan(platform: Platform, running: Path) -> None:
    road = busiest()
    shown = f"/api/entities/{road}"
    platform.wait_for(lambda: platform.request("GET", shown)["attributes"].get("travelTime"), 60, "detectors are heard")
    fault = testbed(platform, "fault", f"accident@{road.rpartition(':')[2]}", "--runtime", str(running))
    said, _ = fault.communicate(timeout=60)
    assert fault.returncode == 0, said
    signal = "urn:ngsi-ld:TrafficSignal:gimpo:TS-01"

    def plan() -> Any:
        return platform.request("GET", f"/api/entities/{signal}")["attributes"].get("plan", {}).get("value")

    # The detectors push and are heard first; a setpoint for a controller not polled yet is refused, and rightly.
    platform.wait_for(lambda: plan() is not None, 60, "the signal controller was not heard")
    asked = {"entity": signal, "attribute": "planSetpoint", "value": 4, "reason": "hold traffic back"}
    command = platform.request("POST", "/api/commands", asked)["id"]
    platform.wait_for(lambda: road in alarms(platform, "traffic.incident"), 60, "the accident was not noticed")
    platform.wait_for(lambda: plan() == 4, 60, "the signal did not change")
    state = platform.request("GET", f"/api/commands/{command}")["state"]
    assert state == "verified", "the controller showed what it was told"
    assert alarms(platform, "traffic.signal_flashing") == []
