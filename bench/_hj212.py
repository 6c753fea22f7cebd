"""A generator of HJ 212-2017 uploads, encoded beforehand; used by row c."""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

import uvloop

from bench import _city
from haechi.plugins.codecs.hj212.framing import wrap

WINDOW = 50  # uploads of a station on their way


def upload(mn: str, password: str, number: int) -> bytes:
    """An hourly upload of all factors that wants an answer (Flag=5)."""
    day, second = divmod(number, 86_400)
    clock = f"{day + 1:02d}{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    groups = ";".join(f"{code}-Avg={10 + number % 50 / 10:.3f},{code}-Flag=N" for code in _city.FACTORS)
    groups = groups.replace("a01006-Avg=", "a01006-Avg=9")  # pressure of the air in its range
    head = f"QN=202603{clock}{number % 1000:03d};ST=22;CN=2061;PW={password};MN={mn};Flag=5"
    return wrap(f"{head};CP=&&DataTime=202603{clock};{groups}&&".encode())


class Station(asyncio.Protocol):
    """Keeps a window of uploads on the way; an answer is a frame that begins with ##."""

    def __init__(self, uploads: list[bytes]) -> None:
        self._uploads, self._sent, self._answered, self._rest = uploads, 0, 0, b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def fill(self) -> None:
        upto = min(len(self._uploads), self._answered + WINDOW)
        if upto > self._sent:
            self._transport.write(b"".join(self._uploads[self._sent : upto]))
            self._sent = upto

    def data_received(self, received: bytes) -> None:
        block = self._rest + received
        whole = block.rfind(b"\r\n") + 2
        done, self._rest = block[:whole], block[whole:]
        taken = done.count(b"CN=9014")
        assert taken == done.count(b"##"), done[:300]
        self._answered += taken
        if self._answered == len(self._uploads):
            self.done.set_result(None)
        elif self._sent - self._answered <= WINDOW // 2:
            self.fill()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the door closed: {error}"))


def flood(port: int, secrets: Mapping[str, str], each: int) -> float:
    """Uploads a second that were answered."""
    return uvloop.run(_flood(port, [[upload(mn, secret, n) for n in range(each)] for mn, secret in secrets.items()]))


async def _flood(port: int, uploads: list[list[bytes]]) -> float:
    loop = asyncio.get_running_loop()
    stations = [Station(one) for one in uploads]
    for station in stations:
        await loop.create_connection(lambda station=station: station, "127.0.0.1", port)  # type: ignore[misc]
    started = time.perf_counter()
    for station in stations:
        station.fill()
    await asyncio.gather(*(one.done for one in stations))
    return sum(map(len, uploads)) / (time.perf_counter() - started)
