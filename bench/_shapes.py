"""Load shapes of an NGSI-LD broker, the same requests to whichever broker: `measure` in `bench/ngsi_ld.py` sends them.

Every connection asks again when it is answered (closed loop), so a rate comes with the latencies that go with it.
"""

import asyncio
import base64
import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

from bench import _http

JSON = {"Content-Type": "application/json"}
ID = "urn:ngsi-ld:Building:{}"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker listens, `path` before `/entities`; `slash`: its collections want one at their end."""

    name: str
    port: int
    path: str
    headers: Mapping[str, str]
    slash: str = ""

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        text = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        return _http.request(method, self.path + path, {**self.headers, **(JSON if text else {})}, text)


def peer() -> Broker | None:
    """The broker named by `NGSI_LD_PEER` (its URL up to `/v1`, with user and password before the host if it asks)."""
    url = os.environ.get("NGSI_LD_PEER")
    if not url:
        return None
    parts = urlsplit(url)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"} if parts.username else {}
    return Broker(os.environ.get("NGSI_LD_PEER_NAME", "peer"), parts.port or 80, parts.path, headers, "/")


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers a second, latency in milliseconds, answers that were not expected."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def entity(number: int) -> dict[str, object]:
    """Five attributes: three numbers, a relationship, a place."""
    where = [126.6 + number % 1000 / 10_000, 37.6 + number // 1000 % 1000 / 10_000]
    return {
        "id": ID.format(number),
        "type": "Building",
        "temperature": {"type": "Property", "value": 20.0 + number % 10, "unitCode": "CEL"},
        "humidity": {"type": "Property", "value": 0.4},
        "category": {"type": "Property", "value": "office"},
        "owner": {"type": "Relationship", "object": f"urn:ngsi-ld:Person:{number % 50}"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": where}},
    }


def retrieve(broker: Broker, many: int) -> Iterator[bytes]:
    return (broker.ask("GET", f"/entities/{ID.format(number * 7919 % many)}") for number in count())


def query(broker: Broker) -> Iterator[bytes]:
    one = broker.ask("GET", f"/entities{broker.slash}?type=Building&limit=20")
    return (one for _ in count())


def update(broker: Broker, many: int) -> Iterator[bytes]:
    """One attribute of one entity after the other; the members beside it because some brokers insist on them."""
    for number in count():
        id = ID.format(number * 7919 % many)
        body = {"id": id, "type": "Building", "temperature": {"type": "Property", "value": number % 1000 / 10}}
        yield broker.ask("PATCH", f"/entities/{id}/attrs{broker.slash}", body)


def create(broker: Broker, first: int) -> Iterator[bytes]:
    return (broker.ask("POST", f"/entities{broker.slash}", entity(number)) for number in count(first))


def upsert(broker: Broker, first: int, size: int) -> Iterator[bytes]:
    """Batches of `size` entities that are not there yet."""
    for start in count(first, size):
        yield broker.ask("POST", "/entityOperations/upsert", [entity(number) for number in range(start, start + size)])


@contextlib.contextmanager
def living(broker: Broker, per_s: float) -> Iterator[None]:
    """Changes one entity so often until the end of the block; `AssertionError` when that was not possible."""
    over, refused = threading.Event(), list[Exception]()
    requests = update(broker, 1)

    def live() -> None:
        try:
            while not over.wait(1 / per_s):
                send(broker, [next(requests)])
        except Exception as error:  # told below: a thread has nobody to tell
            refused.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not refused, refused


def load(broker: Broker, requests: Iterator[bytes], connections: int, seconds: float) -> Rate:
    """Asks over so many kept connections until the time is over."""
    return asyncio.run(_load(broker, requests, connections, seconds))


def send(broker: Broker, requests: Sequence[bytes], connections: int = 4) -> float:
    """Sends these, every answer must be a success; seconds it took."""
    shares = [list(requests[one::connections]) for one in range(min(connections, len(requests)))]
    return asyncio.run(_http.flood(broker.port, shares, frozenset({200, 201, 204})))


async def _load(broker: Broker, requests: Iterator[bytes], connections: int, seconds: float) -> Rate:
    loop, took, errors, open_now = asyncio.get_running_loop(), list[float](), 0, connections
    ended, asked = loop.create_future(), dict[_http.Connection, float]()
    begun = time.perf_counter()

    def answered(connection: _http.Connection, status: int, _: bytes) -> None:
        nonlocal errors, open_now
        now = time.perf_counter()
        took.append(now - asked[connection])
        errors += status >= 300
        if now - begun < seconds:
            asked[connection] = now
            connection.ask(next(requests))
            return
        open_now -= 1
        if not open_now:
            ended.set_result(now - begun)

    made = []
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: _http.Connection(answered), "127.0.0.1", broker.port)
        made.append(connection)
    begun = time.perf_counter()
    for connection in made:
        asked[connection] = time.perf_counter()
        connection.ask(next(requests))
    span = await ended
    for connection in made:
        connection.transport.close()
    hundredths = statistics.quantiles(took, n=100)
    return Rate(len(took) / span, hundredths[49] * 1e3, hundredths[98] * 1e3, errors)
