"""Row a: MQTT QoS 1, one observation a message, acknowledged at the door, beside Debian's mosquitto.

Ours: gateway and nats-server as `haechi run` starts them, mapping and account included, the pipeline's consumers not
running; each PUBACK follows an append that is synced to disk. Mosquitto: in memory, nothing on disk at its PUBACK; it
feeds one subscriber that throws everything away. Same packets, same connections, same window, rounds in turn.
"""

import contextlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench import _city, _mqtt, _running
from bench._table import Line, alone
from haechi.app.supervisor import free_port

CONNECTIONS, SENSORS, EACH, WINDOW, ROUNDS = 100, 10_000, 3_000, 300, 3
CEILING = "the generator against a server that acknowledges and does nothing else (the limit of this measurement)"


def measure() -> Iterator[Line]:
    with _running.scratch() as folder:
        city = _city.make(folder / "city", SENSORS, CONNECTIONS)
        ours, peers, cpu = [], [], 0.0
        with _running.door(city, folder / "data") as door, mosquitto(folder) as port:
            pids = _running.family(door.pid)
            for _ in range(ROUNDS):
                started = _running.cpu_s(pids)
                ours.append(_mqtt.flood(door.port, scripts(door.secrets), WINDOW))
                cpu += _running.cpu_s(pids) - started
                if port:
                    peers.append(_mqtt.flood(port, scripts(door.secrets), WINDOW))
            assert door.rows() == ROUNDS * CONNECTIONS * EACH, "what was acknowledged is not on the log"
    with nothing() as port:
        ceiling = _mqtt.flood(port, scripts({_city.concentrator(n): "x" for n in range(CONNECTIONS)}), WINDOW)
    yield from lines(ours, peers, cpu / (ROUNDS * CONNECTIONS * EACH) * 1e6, ceiling)


def lines(ours: list[float], peers: list[float], cpu_us: float, ceiling: float) -> Iterator[Line]:
    rate = statistics.median(ours)
    what = "MQTT QoS 1, one observation a message, acknowledged on disk, /s"
    note = f"ours synced to disk, {cpu_us:.1f} µs CPU each; mosquitto: nothing on disk at its PUBACK; rounds: "
    note += ", ".join(f"{one:,.0f}" for one in ours)
    yield Line("a", what, rate, goal="≥ 60,000", reached=rate >= 60_000, note=note)
    if peers:
        peer = statistics.median(peers)
        rounds = "mosquitto's rounds: " + ", ".join(f"{one:,.0f}" for one in peers)
        yield Line("", "  against mosquitto feeding a subscriber", rate, "", peer, "≥ 1.0 ×", rate >= peer, rounds)
    else:
        yield Line("", "  mosquitto is not installed: apt-get install mosquitto", rate)
    yield Line("", "  " + CEILING[:60], rate, "", ceiling, note=CEILING)


def scripts(secrets: Mapping[str, str]) -> list[_mqtt.Script]:
    """What each concentrator sends: its sensors in turn, observed just now."""
    at_ms = int(time.time() * 1000) - EACH
    made = []
    for number in range(CONNECTIONS):
        channels = [_city.channel(one) for one in range(number, SENSORS, CONNECTIONS)]
        user = _city.concentrator(number)
        made.append(_mqtt.script(user, secrets[user], channels, range(EACH), at_ms))
    return made


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Its port, 0 when it is not installed. One subscriber takes everything at QoS 0 and throws it away."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        yield 0
        return
    port = free_port()
    settings = folder / "mosquitto.conf"
    listener = f"listener {port} 127.0.0.1\nallow_anonymous true\n"
    settings.write_text(listener + "max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n")
    with running([program, "-c", str(settings)]):
        time.sleep(1)
        with running([sys.executable, "-m", "bench._sink", "subscribe", str(port)]):
            time.sleep(1)
            yield port


@contextlib.contextmanager
def nothing() -> Iterator[int]:
    port = free_port()
    with running([sys.executable, "-m", "bench._sink", "acknowledge", str(port)]):
        time.sleep(1)
        yield port


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    alone(measure)
