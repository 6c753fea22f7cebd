"""A platform under more than it can take: the city, the flood, what is slowed down, and what was measured meanwhile.

For the scenario test and for `bench/overload.py`. A test machine cannot send ten times what the platform takes, so the
platform takes a tenth: nats-server is let run for a share of the time only (the likes of a slow disk), or the pipeline
is stopped for a while.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from haechi.app import processes
from haechi.testing.flood import Plan
from haechi.testing.platform import Platform

KINDS = {"mqtt": 12, "mqtt5": 6, "push": 100, "hj212": 6}  # senders of each kind
LINKS = {"mqtt": "mqtt", "mqtt5": "mqtt", "push": "push", "hj212": "air"}
WATER, AIR = "urn:ngsi-ld:WaterPressureSensor:tiny:", "urn:ngsi-ld:AirQualityObserved:tiny:"
_CLOCK = '\n[codec_settings]\ntime = "ts"\ntime_format = "epoch_ms"\n\n[[map]]'
_AIR = """\
adapter = "hj212"
codec = "hj212"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = 8212

[codec_settings]
time_zone = "UTC"

[[map]]
field = "a34004-Rtd"
attribute = "pm25"
unit = "GQ"
"""


def names(kind: str) -> list[str]:
    """The senders of a kind."""
    return [f"{kind}-{number}" for number in range(KINDS[kind])]


def entity(device: str) -> tuple[str, str]:
    """What a sender's messages become: entity and attribute."""
    return (AIR + device, "pm25") if device.startswith("hj212") else (WATER + device, "pressure")


def make_city(tiny: Path, folder: Path) -> Path:
    """The small test city with a sensor for each sender and a link of each kind."""
    shutil.copytree(tiny, folder)
    everybody = [(kind, name) for kind in KINDS for name in names(kind)]
    rows = [f"{name},,{LINKS[kind]},{entity(name)[0]}" for kind, name in everybody]
    (folder / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n", "utf-8")
    for word, file in ((WATER, "water"), (AIR, "air")):
        ours = [entity(name)[0] for _, name in everybody if entity(name)[0].startswith(word)]
        lines = [_facility(one) for one in ours]
        (folder / "facilities" / f"{file}.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    for link in ("mqtt", "push"):
        file_ = folder / "links" / f"{link}.toml"
        file_.write_text(file_.read_text("utf-8").replace("\n[[map]]", _CLOCK, 1), "utf-8")
    (folder / "links" / "air.toml").write_text(_AIR, "utf-8")
    return folder


def _facility(id: str) -> str:
    texts = {"languageMap": dict.fromkeys(("ko", "zh", "en"), id.rpartition(":")[2])}
    where = {"type": "Point", "coordinates": [126.66, 37.64]}
    return json.dumps({"id": id, "type": id.split(":")[2], "name": texts, "location": where})


@dataclass(slots=True)
class Memory:
    """Resident bytes of each process, looked at each quarter of a second: (seconds, process -> bytes)."""

    platform: Platform
    seen: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def look(self) -> dict[str, float]:
        """Now."""
        return {name: processes.rss_bytes(pid) or 0.0 for name, pid in self.platform.pids().items()}

    def watch(self, ended: threading.Event) -> None:
        """Until `ended`."""
        pids = self.platform.pids()
        while not ended.wait(0.25):
            self.seen.append((time.monotonic(), {name: processes.rss_bytes(pid) or 0.0 for name, pid in pids.items()}))

    def peak(self) -> dict[str, float]:
        """The most each process had."""
        return {name: max(one.get(name, 0.0) for _, one in self.seen) for name in self.seen[0][1]}


@contextmanager
def watched(platform: Platform) -> Iterator[Memory]:
    """Memory, looked at in a thread until the end of the block."""
    memory, ended = Memory(platform), threading.Event()
    thread = threading.Thread(target=memory.watch, args=(ended,), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()


@contextmanager
def throttled(pid: int, run_s: float, stop_s: float) -> Iterator[None]:
    """The process runs for `run_s`, is stopped for `stop_s`, and so on until the end of the block; then it runs."""
    ended = threading.Event()

    def turns() -> None:
        while not ended.is_set():
            os.kill(pid, signal.SIGSTOP)
            ended.wait(stop_s)
            os.kill(pid, signal.SIGCONT)
            ended.wait(run_s)

    thread = threading.Thread(target=turns, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still until the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Flood:
    """`haechi.testing.flood` as a process; `wait` gives what it found. `begin_ms`: where the devices' clocks begin."""

    def __init__(self, platform: Platform, folder: Path, seconds: float, begin_ms: int) -> None:
        devices = {kind: {name: platform.secret(name, LINKS[kind]) for name in names(kind)} for kind in KINDS}
        self._file = folder / "flood.json"
        self._file.write_bytes(msgspec.json.encode(Plan(platform.ports, devices, seconds, begin_ms // 1000 * 1000)))
        command = [sys.executable, "-m", "haechi.testing.flood", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the senders did not start"

    def wait(self, seconds: float) -> dict[str, Any]:
        """Tallies by kind of sender, when everything was answered; `AssertionError` when it did not end well."""
        try:
            assert self._process.wait(seconds) == 0, "the senders failed; see their message above"
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()
        found: dict[str, Any] = json.loads(self._file.with_suffix(".found").read_bytes())
        return found


def rate(tallies: dict[str, Any], start: float, end: float) -> float:
    """Messages acknowledged a second between two instants of the monotonic clock, over all kinds."""
    return sum(sum(start <= at < end for at in one["at_s"]) for one in tallies.values()) / (end - start)


def quantile(tallies: dict[str, Any], share: float, start: float, end: float) -> float:
    """Of the times from sending to acknowledgement, over all kinds, of what was acknowledged between, in seconds."""
    pairs = (pair for one in tallies.values() for pair in zip(one["at_s"], one["latencies_s"], strict=True))
    found: list[float] = sorted(latency for at, latency in pairs if start <= at < end)
    return found[min(len(found) - 1, int(len(found) * share))]


def behind(platform: Platform) -> int:
    """Messages the slowest projection is behind."""
    return int(max(platform.request("GET", "/api/account")["behind"].values()))


def stored(platform: Platform, devices: list[str]) -> dict[str, int]:
    """Rows history holds of each device's series."""
    found: dict[str, int] = {}
    for at in range(0, len(devices), 50):
        some = [entity(one) for one in devices[at : at + 50]]
        attribute = some[0][1]
        asked = "&".join(f"entity={one}" for one, _ in some)
        span = "from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&window_s=86400&aggregate=count&limit=100000"
        columns = platform.request("GET", f"/api/history?{asked}&attribute={attribute}&{span}")["columns"]
        for name, count in zip(columns["entity"], columns["count"], strict=True):
            device = name.rpartition(":")[2]
            found[device] = found.get(device, 0) + int(count)
    return found


def until(true: Callable[[], bool], seconds: float, otherwise: str) -> float:
    """Seconds until it was true; `AssertionError` when it never was."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, otherwise
        time.sleep(0.25)
    return time.monotonic() - begun
