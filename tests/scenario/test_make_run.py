"""What `make run` starts lives, and Ctrl-C leaves no process and no port behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from haechi.app.supervisor import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and what they start cannot undo that.
AT_A_TERMINAL = ("env", "--default-signal=INT,QUIT,HUP")
# Links that must have been heard.
HEARD = ("air-hj212", "energy-mqtt", "power-modbus", "traffic-modbus", "traffic-mqtt", "water-mqtt")


@pytest.mark.slow
def test_the_demonstration_lives_and_leaves_nothing_behind(tmp_path: Path) -> None:
    http = free_port()
    doors = {"HAECHI_HTTP": http, "HAECHI_MQTT": free_port(), "HAECHI_HJ212": free_port()}
    for file in (ROOT / "cities/gimpo/links").glob("*.toml"):
        if file.stem not in ("water-mqtt", "air-hj212"):
            doors["HAECHI_" + file.stem.upper().replace("-", "_")] = free_port()
    environment = {**os.environ, **{name: f"127.0.0.1:{port}" for name, port in doors.items()}, "HAECHI_BIN": str(BIN)}
    data = tmp_path / "data"
    with (tmp_path / "demo.log").open("w") as log:
        demo = subprocess.Popen(
            [*AT_A_TERMINAL, ROOT / "scripts/demo", ROOT / "cities/gimpo", data],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        stored = _until_alive(http, data)
        assert stored >= 50, (tmp_path / "demo.log").read_text()
    finally:
        children = _descendants(demo.pid)
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 0
    time.sleep(0.2)
    left = [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not left
    for port in doors.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def _until_alive(http: int, data: Path) -> int:
    """Samples in the account once the testbed is heard; 0 when that does not happen within 90 seconds."""
    for _ in range(90):
        time.sleep(1)
        ran = subprocess.run([BIN / "haechi", "account", "--data", data], capture_output=True, text=True, check=False)
        rows = [line.split() for line in ran.stdout.splitlines() if line.startswith(HEARD)]
        counts = [int(row[2].replace(",", "")) for row in rows]
        if len(counts) == len(HEARD) and min(counts) >= 25:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/health") as answer:
                assert json.loads(answer.read())["status"] == "ok"
            return sum(counts)
    return 0


def _descendants(pid: int) -> list[int]:
    found = []
    listing = subprocess.run(["/bin/ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    for child in listing.stdout.split():
        found += [int(child), *_descendants(int(child))]
    return found
