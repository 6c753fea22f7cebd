"""Row e: start-up, idle memory, and the first stored observation after installing.

Start-up: from starting the process `haechi run` until `GET /health` says ok, files in the page cache, with the city of
Gimpo; a first start makes its stores and enters 6,500 facilities, a restart finds them. Memory: PSS of every process,
nats-server included, after a minute of nothing. Installing: a fresh virtual environment from wheels that are here
already (the download is not in the figure), `haechi run`, a device, one observation by curl.
"""

import base64
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import _running
from bench._table import Line, alone
from haechi.app.supervisor import free_port

ROOT = Path(__file__).parents[1]
GIMPO, TINY = ROOT / "cities" / "gimpo", ROOT / "tests" / "cities" / "tiny"
STARTS, IDLE_S = 3, 60.0
WHEELS = ROOT / "artefacts" / "wheels"


def measure() -> Iterator[Line]:
    with _running.scratch() as folder:
        yield from starting(folder)
    with _running.scratch() as folder:
        yield installing(folder)


def starting(folder: Path) -> Iterator[Line]:
    firsts, again = [], []
    for number in range(STARTS):
        with started(GIMPO, folder / str(number)) as (span, _):
            firsts.append(span)
    for _ in range(STARTS):
        with started(GIMPO, folder / "0") as (span, _):
            again.append(span)
    first, restart = statistics.median(firsts), statistics.median(again)
    yield Line("e", "start-up of Gimpo: process → /health ok, first start", first, "s", None, "≤ 3 s", first <= 3)
    yield Line("", "  the same, a restart", restart, "s", None, "≤ 3 s", restart <= 3, f"medians of {STARTS}")
    with started(GIMPO, folder / "0") as (_, pid):
        time.sleep(IDLE_S)
        parts = {name: _running.memory_mb(one) for one, name in _running.family(pid).items()}
    total = sum(parts.values())
    note = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
    what = f"  memory of all processes after {IDLE_S:.0f} s of nothing (PSS)"
    yield Line("", what, total, "MB", None, "≤ 400 MB", total <= 400, note)


@contextmanager
def started(
    city: Path, data: Path, haechi: Sequence[str] = (sys.executable, "-m", "haechi")
) -> Iterator[tuple[float, int]]:
    """Seconds until the city serves, and its supervisor's process id."""
    with running(city, data, free_port(), haechi) as (process, span):
        yield span, process.pid


@contextmanager
def running(
    city: Path, data: Path, port: int, haechi: Sequence[str], settings: Sequence[str] = ()
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    data.mkdir(exist_ok=True)
    links = [f"--set={one.stem}.port={free_port()}" for one in (city / "links").glob("*.toml")]
    command = [*haechi, "run", str(city), "--data", str(data), "--http", f"127.0.0.1:{port}", *(settings or links)]
    with (data / "run.log").open("a") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: healthy(port), 60)
            yield process, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(60)


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(json.loads(answer.read())["status"] == "ok")
    except (OSError, urllib.error.HTTPError):
        return False


def until(there: Callable[[], bool], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while not there():
        assert time.perf_counter() < end, f"not there after {seconds:.0f} s"
        time.sleep(0.01)


def installing(folder: Path) -> Line:
    wheels()
    venv, data = folder / "venv", folder / "data"
    steps, began = {}, time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    steps["venv"] = time.perf_counter() - began
    pip = [str(venv / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*pip, "--find-links", str(WHEELS), "haechi"], check=True)
    steps["pip install"] = time.perf_counter() - began - sum(steps.values())
    haechi, port, push = [str(venv / "bin" / "haechi")], free_port(), free_port()
    settings = [f"--set=push.port={push}", f"--set=mqtt.port={free_port()}"]
    with running(TINY, data, port, haechi, settings) as (_, span):
        steps["run"] = span
        out = data / "credentials.json"
        issue = ["device", "issue", str(TINY), "--data", str(data), "--out", str(out)]
        subprocess.run([*haechi, *issue], check=True, stdout=subprocess.DEVNULL)
        answer = first_observation(push, json.loads(out.read_text())["RTU-2"]["push"])
        total = time.perf_counter() - began
    assert json.loads(answer) == {"stored": 1, "quarantined": 0}, answer
    note = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items()) + "; without the download"
    return Line("", "  fresh venv → first observation stored", total, "s", None, "≤ 60 s", total <= 60, note)


def first_observation(port: int, secret: str) -> bytes:
    login = base64.b64encode(f"RTU-2:{secret}".encode()).decode()
    body, url = '{"pressure": 3.2}', f"http://127.0.0.1:{port}/push/P-2"
    headers = ["-H", f"Authorization: Basic {login}", "-H", "Content-Type: application/json"]
    command = ["curl", "--silent", "--show-error", "--fail", *headers, "-d", body, url]
    return subprocess.run(command, check=True, capture_output=True).stdout


def wheels() -> None:
    """Builds the wheel of this tree and fetches the others once; not in the figure."""
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "wheel", str(ROOT)]
    options = ["--wheel-dir", str(WHEELS), "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *options], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    alone(measure)
