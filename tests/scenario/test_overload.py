"""Three doors at ten times what the platform takes: senders are slowed, memory stays bounded, the backlog drains.

The machine of a test cannot send ten times what a platform takes, so this one is held down: nats-server is let run for
a sixtieth of the time, as a very slow disk would, behind doors with small windows; then the pipeline stands still. The
senders always have more ready.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haechi.testing import overload
from haechi.testing.overload import Flood, Memory, behind, until
from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "cities" / "tiny"
LIMITS = Path(__file__).parents[2] / "docs" / "operate" / "limits.md"
FREE_S, SLOW_S, STILL_S = 4.0, 10.0, 12.0
DAY_MS = 86_400_000
RUN_S, STOP_S = 0.05, 2.95
SMALL = {"mqtt": {"gather_max": 50, "pending_max": 200, "receive_maximum": 100}}
SMALL["air"] = {"gather_max": 50, "pending_max": 200, "window": 100}
SMALL["push"] = {"in_flight_max": 64}


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Platform]:
    options = [f"--set={link}.{name}={most}" for link, some in SMALL.items() for name, most in some.items()]
    with Platform(overload.make_city(TINY, tmp_path / "city"), tmp_path / "data", options) as running:
        yield running


def documented() -> dict[str, float]:
    """Megabytes each process may take under overload, as the operator reads them."""
    rows = re.findall(
        r"^\| (gateway|pipeline|api|nats-server) \| ([\d,]+) MB \|", LIMITS.read_text("utf-8"), re.MULTILINE
    )
    return {name: float(figure.replace(",", "")) * 1e6 for name, figure in rows}


class Screens:
    """What a console asks all the time, and what it is answered."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.answers = platform, 0

    def ask(self) -> None:
        for path in ("/api/latest?domain=water", "/api/alarms", "/api/account", "/api/vitals"):
            self.platform.request("GET", path)
            self.answers += 1
        self.ask_health()

    def ask_health(self) -> None:
        """A log that is let run for a sixtieth of the time may be too slow for health, which then says so."""
        try:
            self.platform.request("GET", "/health")
        except urllib.error.HTTPError as down:
            with down:
                assert (down.code, list(json.loads(down.read())["checks"])) == (503, ["log"])
        self.answers += 1

    def ask_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.ask()
            time.sleep(0.2)


def write(platform: Platform) -> tuple[int, str | None]:
    """One NGSI-LD write; its status and when to come back."""
    entity = {"id": "urn:ngsi-ld:Building:tiny:1", "type": "Building"}
    token = platform.request("POST", "/api/login", {"user": platform.user, "password": platform.password})["token"]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    url = platform.url + "/ngsi-ld/v1/entities"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(entity).encode(), headers), timeout=30
        ) as one:
            return one.status, one.headers["Retry-After"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers["Retry-After"]


def late_s(platform: Platform) -> float:
    """How long context has been late, by the metrics."""
    token = platform._token
    request = urllib.request.Request(platform.url + "/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = re.search(r'haechi_late_seconds\{projection="context"\} (\S+)', answer.read().decode())
    return float(found[1]) if found else 0.0


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_ten_times_too_much_slows_the_senders_and_loses_nothing(crowded: Platform, tmp_path: Path) -> None:
    screens = Screens(crowded)
    screens.ask()
    pids = crowded.pids()
    flood = Flood(crowded, tmp_path, FREE_S + SLOW_S + STILL_S, int(time.time() * 1000) - 2 * DAY_MS)
    with overload.watched(crowded) as memory:
        before = memory.look()
        free = (time.monotonic() + 1, time.monotonic() + FREE_S)
        screens.ask_for(FREE_S)
        with overload.throttled(pids["nats-server"], RUN_S, STOP_S):
            slow = (time.monotonic() + 2, time.monotonic() + SLOW_S)
            screens.ask_for(SLOW_S)
        with overload.stopped(pids["pipeline"]):
            screens.ask_for(STILL_S)
            until(lambda: late_s(crowded) > 10, 60, "nobody noticed that the pipeline stands still")
            turned_away = write(crowded)
        found = flood.wait(240)
        drained_s = until(lambda: behind(crowded) == 0, 240, "the backlog does not drain by itself")
    print(figures(found, memory, free, slow, drained_s, screens), before, memory.look())
    told(found, free, slow)
    assert turned_away == (429, "2"), "a write nobody would see in time"
    for name, bound in documented().items():
        assert memory.peak()[name] < bound, f"{name} took {memory.peak()[name] / 1e6:.0f} MB"
    assert crowded.pids() == pids, "nobody died"
    nothing_is_lost_or_doubled(crowded, found)


def told(found: dict[str, Any], free: tuple[float, float], slow: tuple[float, float]) -> None:
    """The senders were slowed, each as its protocol says, and nobody was dropped."""
    tallies = found["tallies"]
    assert found["unanswered"] == {}
    assert [one for tally in tallies.values() for one in tally["dropped"]] == []
    assert overload.rate(tallies, *slow) * 10 <= overload.rate(tallies, *free), "they wanted ten times as much"
    assert tallies["push"]["told_to_wait"] > 0
    assert tallies["mqtt"]["paused"] > 0 and tallies["hj212"]["paused"] > 0
    for tally in tallies.values():
        assert tally["sent"] == tally["acknowledged"] > 0


def nothing_is_lost_or_doubled(platform: Platform, found: dict[str, Any]) -> None:
    """History holds each acknowledged message once, and so does the account."""
    acknowledged: dict[str, int] = {}
    for tally in found["tallies"].values():
        acknowledged |= tally["by_device"]
    for kind in overload.KINDS:
        devices = overload.names(kind)
        assert overload.stored(platform, devices) == {one: acknowledged[one] for one in devices}, kind
    account = platform.request("GET", "/api/account")
    assert account["balanced"]
    for link in ("push", "air"):
        mine = sum(
            acknowledged[one] for kind, name in overload.LINKS.items() if name == link for one in overload.names(kind)
        )
        assert account["links"][link]["stored"] == mine
    assert account["links"]["push"]["rejected"] == {"busy": found["tallies"]["push"]["told_to_wait"]}


def figures(
    found: dict[str, Any],
    memory: Memory,
    free: tuple[float, float],
    slow: tuple[float, float],
    drained_s: float,
    screens: Screens,
) -> str:
    """For whoever reads why it failed."""
    tallies = found["tallies"]
    counts = {kind: (one["acknowledged"], one["told_to_wait"], one["paused"]) for kind, one in tallies.items()}
    peak = {name: round(size / 1e6) for name, size in memory.peak().items()}
    rates = f"free {overload.rate(tallies, *free):,.0f}/s, slowed {overload.rate(tallies, *slow):,.0f}/s"
    return f"{rates}, drained {drained_s:.1f} s, peak MB {peak}, {counts}, screens {screens.answers}"
