"""Probes: an observation is published under load and asked for at the API until it is there; used by row b."""

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import orjson

from bench import _city, _http, _mqtt
from haechi.testing.platform import Platform

EVERY_S = 0.25  # a probe is published
CONTEXT_S, HISTORY_S = 0.02, 0.1  # the API is asked so often while a probe is on its way
BASE = 401.0  # probe n has the value BASE + n / 1000


@dataclass(slots=True)
class Seen:
    """When probes were sent and how long each took to be seen, in ms; `asked` and `asking_s`: what polling cost."""

    first: int  # number of the first probe: the sensor still shows what earlier ones left
    sent: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    asked: int = 0
    asking_s: float = 0.0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.took_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")

    def settle(self, newest: int) -> None:
        """Probes up to this number can be seen now."""
        now = time.perf_counter()
        while len(self.took_ms) <= newest - self.first:
            self.took_ms.append(1000 * (now - self.sent[len(self.took_ms)]))


class Probe:
    """One device of its own (`sensor` behind `user`) beside the load."""

    def __init__(self, platform: Platform, user: str, secret: str, sensor: int, first: int) -> None:
        self._platform, self._user, self._secret, self._sensor = platform, user, secret, sensor
        self.context, self.history = Seen(first), Seen(first)
        login = {"user": platform.user, "password": platform.password}
        self._token = str(platform.request("POST", "/api/login", login)["token"])

    async def run(self, seconds: float) -> None:
        """Probes for that long, then waits (at most a minute) until the last one is seen everywhere."""
        self._sender = Publisher(self._user, self._secret)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._sender, "127.0.0.1", self._platform.ports["mqtt"])
        await self._sender.ready
        asking = [
            asyncio.create_task(self._ask(f"/api/entities/{self._entity}", in_context, self.context, CONTEXT_S)),
            asyncio.create_task(self._ask(self._question(), in_history, self.history, HISTORY_S)),
        ]
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._publish()
            await asyncio.wait(asking, timeout=EVERY_S, return_when=asyncio.FIRST_EXCEPTION)
        while self._behind(self.context) or self._behind(self.history):
            if time.perf_counter() > end + 60:
                break
            await asyncio.wait(asking, timeout=0.02, return_when=asyncio.FIRST_EXCEPTION)
        for one in asking:
            one.cancel()
        for ended in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                raise ended  # a question failed: without it probes are never seen
        self._sender.transport.close()

    @property
    def _entity(self) -> str:
        return _city.entity(self._sensor)

    def _question(self) -> str:
        start = (datetime.now(UTC) - timedelta(seconds=60)).isoformat().replace("+00:00", "Z")
        what = f"entity={self._entity}&attribute=pressure&from={start}&to=2100-01-01T00:00:00Z"
        return f"/api/history?{what}&order=desc&limit=1"

    @staticmethod
    def _behind(seen: Seen) -> int:
        return len(seen.sent) - len(seen.took_ms)

    def _publish(self) -> None:
        number = self.context.first + len(self.context.sent)
        value = f'{{"ts":{int(time.time() * 1000)},"pressure":{BASE + number / 1000:.3f}}}'.encode()
        now = time.perf_counter()
        self._sender.publish(f"city/{self._user}/{_city.channel(self._sensor)}", value)
        for seen in (self.context, self.history):
            seen.sent.append(now)

    async def _ask(self, path: str, value: Callable[[bytes], float], seen: Seen, every_s: float) -> None:
        question = _http.request("GET", path, {"Authorization": f"Bearer {self._token}"})
        one = await _http.ask(self._platform.http_port, question)
        while True:
            if self._behind(seen):
                started = time.perf_counter()
                status, body = await one()
                seen.asked, seen.asking_s = seen.asked + 1, seen.asking_s + time.perf_counter() - started
                assert status == 200, (status, body[:200])
                seen.settle(round((value(body) - BASE) * 1000))
            await asyncio.sleep(every_s)


def in_context(body: bytes) -> float:
    return float(orjson.loads(body)["attributes"].get("pressure", {"value": 0.0})["value"])


def in_history(body: bytes) -> float:
    return float((orjson.loads(body)["columns"]["value"] or [0.0])[0])


class Publisher(asyncio.Protocol):
    """An MQTT connection that publishes single messages."""

    def __init__(self, user: str, secret: str) -> None:
        self._user, self._secret, self._number = user, secret, 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_mqtt.connect(self._user, self._secret))

    def data_received(self, received: bytes) -> None:
        if not self.ready.done():
            assert received == struct.pack(">BBBB", 0x20, 2, 0, 0), received
            self.ready.set_result(None)

    def publish(self, topic: str, payload: bytes) -> None:
        packet = _mqtt.publish(topic, payload, self._number)
        self._number += 1
        self.transport.write(packet)
