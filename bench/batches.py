"""Row c: batches over HTTP and over HJ 212, and one observation per HTTP request, acknowledged on disk, at the door.

The peer of the same run is InfluxDB 1.6 of Debian, whose write-ahead log is synced before each answer as ours is
(`wal-fsync-delay = "0s"`, its default); it is skipped where `influxd` is not installed (apt-get install influxdb).
"""

import base64
import contextlib
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import uvloop

from bench import _city, _hj212, _http, _running
from bench._table import Line, alone
from haechi.app.supervisor import free_port

SENSORS, CONCENTRATORS = 10_000, 100
BATCH, BATCHES, BATCH_CONNECTIONS = 1_000, 600, 8
SINGLES, SINGLE_CONNECTIONS = 40_000, 128
STATIONS, UPLOADS = 200, 300
Body = Callable[[int, int], bytes]  # first observation, how many
Share = list[list[bytes]]


def measure() -> Iterator[Line]:
    with _running.scratch() as folder:
        city = _city.make(folder / "city", SENSORS, CONCENTRATORS, "push")
        settings = {"in_flight_max": 2 * SINGLE_CONNECTIONS}
        with _running.door(city, folder / "data", settings=settings) as door:
            head = {"Content-Type": "application/json"}
            ours = both(door.port, lambda user: f"/push/{user}", lambda user: head | login(user, door.secrets), json_of)
            assert door.rows() == BATCH * BATCHES + SINGLES, "what was acknowledged is not on the log"
        with influx(folder / "influx") as port:
            target = "/write?db=city&precision=ms"
            peer = both(port, lambda _: target, lambda _: {}, lines_of) if port else None
    with _running.scratch() as folder:
        city = _city.make_air(folder / "city", STATIONS)
        with _running.door(city, folder / "data") as door:
            uploads = _hj212.flood(door.port, door.secrets, UPLOADS)
            assert door.rows() == STATIONS * UPLOADS * len(_city.FACTORS), "what was acknowledged is not on the log"
    yield from lines(ours, peer, uploads * len(_city.FACTORS))


def lines(ours: tuple[float, float], peer: tuple[float, float] | None, air: float) -> Iterator[Line]:
    batch, single = ours
    note = "InfluxDB 1.6: synced to disk before its answer, as ours; it maps and checks nothing"
    if peer is None:
        note = "the peer is not installed: apt-get install influxdb"
    what = f"HTTP, {BATCH:,} observations a request, {BATCH_CONNECTIONS} connections, on disk, /s"
    yield Line("c", what, batch, "", peer and peer[0], "≥ 100,000", batch >= 100_000, note)
    what = f"  HTTP, one observation a request, {SINGLE_CONNECTIONS} connections, on disk, /s"
    yield Line("", what, single, "", peer and peer[1], "≥ 10,000", single >= 10_000)
    what = f"  HJ 212, {len(_city.FACTORS)} factors a packet, {STATIONS} stations, on disk, /s"
    yield Line("", what, air, "", None, "≥ 100,000", air >= 100_000, "each upload answered by 9014 after the sync")


def both(
    port: int, path: Callable[[str], str], head: Callable[[str], Mapping[str, str]], body: Body
) -> tuple[float, float]:
    """Observations a second in batches, and requests a second of one observation."""

    def post(number: int, first: int, count: int) -> bytes:
        user = _city.concentrator(number % CONCENTRATORS)
        return _http.request("POST", path(user), dict(head(user)), body(first, count))

    batches: Share = [[] for _ in range(BATCH_CONNECTIONS)]
    for number in range(BATCHES):
        batches[number % BATCH_CONNECTIONS].append(post(number, number * BATCH, BATCH))
    singles: Share = [[] for _ in range(SINGLE_CONNECTIONS)]
    for number in range(SINGLES):
        singles[number % SINGLE_CONNECTIONS].append(post(number, number, 1))
    spans = [uvloop.run(_http.flood(port, shares, frozenset({200, 204}))) for shares in (batches, singles)]
    return BATCH * BATCHES / spans[0], SINGLES / spans[1]


def login(user: str, secrets: Mapping[str, str]) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secrets[user]}".encode()).decode()}


def observed(first: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Instant in ms, channel and value of what one request holds: sensors behind the concentrator that sends it."""
    at = time.time_ns() // 1_000_000
    owner = (first // count) % CONCENTRATORS
    for one in range(count):
        place = (first // CONCENTRATORS + one) * CONCENTRATORS + owner
        yield at + one // CONCENTRATORS, _city.channel(place % SENSORS), f"{400 + one % 50 / 10:.1f}"


def json_of(first: int, count: int) -> bytes:
    rows = (f'{{"ts":{at},"id":"{sensor}","pressure":{value}}}' for at, sensor, value in observed(first, count))
    return ("[" + ",".join(rows) + "]").encode()


def lines_of(first: int, count: int) -> bytes:
    rows = (f"pressure,sensor={sensor} value={value} {at}" for at, sensor, value in observed(first, count))
    return "\n".join(rows).encode()


@contextlib.contextmanager
def influx(folder: Path) -> Iterator[int]:
    """Its port, 0 when it is not installed."""
    program = shutil.which("influxd")
    if program is None:
        yield 0
        return
    folder.mkdir()
    port = free_port()
    settings = f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n[meta]\ndir = "{folder}/meta"\n'
    settings += f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nwal-fsync-delay = "0s"\n'
    settings += f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
    (folder / "influx.conf").write_text(settings)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "-config", str(folder / "influx.conf")], stdout=log, stderr=log)
    try:
        time.sleep(3)
        make = urllib.request.Request(f"http://127.0.0.1:{port}/query?q=CREATE+DATABASE+city", method="POST")
        urllib.request.urlopen(make, timeout=10).close()
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    alone(measure)
