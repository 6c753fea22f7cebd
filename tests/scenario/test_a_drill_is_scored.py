"""Faults of a scenario against a whole platform, in a minute: what raised an alarm, how late, and nothing was lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform
from haechi_testbed.clock import SECOND, format_instant, parse_instant

GIMPO = Path(__file__).parents[2] / "cities" / "gimpo"
SPEED = 60
COMES_UP_S = 40  # real seconds the platform has before the scenario begins
SCENARIO = f"""\
start = 2026-11-22T09:00:00+09:00
duration = "14m"
seed = 7
speed = {SPEED}
[[fault]]
after = "2m"
fault = "burst@pipe17"
for = "6m"
[[fault]]
after = "3m"
fault = "exceedance@ES-01"
for = "8m"
[[fault]]
after = "4m"
fault = "silent@WP-040"
for = "8m"
[[fault]]
after = "10m"
fault = "pump_failure@pump1"
for = "3m"
[[fault]]
after = "5m"
fault = "feeder_overload@DL-02"
for = "6m"
[[fault]]
after = "6m"
fault = "outage@TR-045"
for = "5m"
"""
POLLED = ("feeder_overload", "outage")  # seen by polls, whose instants are the platform's: their delays vary a little


def _drill(folder: Path) -> tuple[dict[str, Any], str]:
    folder.mkdir()
    (folder / "drill.toml").write_text(SCENARIO, "utf-8")
    start = format_instant(parse_instant("2026-11-22T09:00:00+09:00") - COMES_UP_S * SPEED * SECOND)
    with Platform(GIMPO, folder / "data", ["--clock-start", start, "--clock-speed", str(SPEED)]) as platform:
        environment = {**os.environ, "HAECHI_PASSWORD": platform.password}

        def testbed(*arguments: str) -> str:
            command = [sys.executable, "-m", "haechi_testbed.cli", *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        doors = [f"--door={link}=127.0.0.1:{port}" for link, port in platform.ports.items()]
        doors += ["--haechi", platform.url]
        keep = ["--truth", str(folder / "truth.ndjson"), "--runtime", str(folder / "runtime.json")]
        who = ["--credentials", str(platform.credentials)]
        said = testbed("scenario", str(folder / "drill.toml"), str(GIMPO), *who, *doors, *keep)
        platform.wait_for(lambda: _applied(platform), 60, "the projections did not catch up")
        scored = testbed("score", str(folder / "truth.ndjson"), "--haechi", platform.url, "--json")
        account = platform.command("account", "--data", str(platform.data))
        assert account.returncode == 0, account.stdout
    assert " 0 not acknowledged" in said
    return json.loads(scored), account.stdout


def _applied(platform: Platform) -> bool:
    return not any(platform.request("GET", "/health")["checks"]["behind"].values())


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.alone
def test_a_drill_finds_every_fault_and_raises_no_false_alarm(tmp_path: Path) -> None:
    scored, account = _drill(tmp_path / "drill")
    assert [(one["fault"], one["detected"]) for one in scored["faults"]] == [
        ("burst@pipe17", True),
        ("exceedance@ES-01", True),
        ("silent@WP-040", True),
        ("feeder_overload@DL-02", True),
        ("outage@TR-045", True),
        ("pump_failure@pump1", True),
    ]
    assert scored["false_alarms"] == []
    assert "balances: received = stored + rejected + quarantined" in account
    for one in scored["faults"]:
        assert not one["fault"].startswith(POLLED) or one["delay_min"] <= 6, one
