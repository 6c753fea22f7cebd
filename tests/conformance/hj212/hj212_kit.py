"""The two sides of the hj212 adapter: devices with plain sockets, and an intake that keeps what it is given."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from haechi.core.errors import Unavailable
from haechi.core.message import Message
from haechi.plugins.adapters.hj212.adapter import Hj212Adapter
from haechi.plugins.codecs.hj212.codec import create as create_codec
from haechi.plugins.codecs.hj212.packet import Packet, decode
from haechi.ports import Receipt


class MemoryIntake:
    """Keeps what it is given; can be held up, made to fail, and made to refuse."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.batches: list[int] = []
        self.rejected: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.away = 0  # how many accepts fail
        self.refuse: Callable[[Message], str | None] = lambda message: None
        self.codec = create_codec({})

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise Unavailable("the log is away; wait")
        self.batches.append(len(messages))
        self.messages += messages
        refused = {index: why for index, one in enumerate(messages) if (why := self.refuse(one))}
        return Receipt(len(messages) - len(refused), 0, refused)

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        assert link == "air"
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def values(self) -> list[Any]:
        return [sample.value for message in self.messages for sample in self.codec.decode(message)]


class Registered:
    """MN "M1", "M2", …: secret "pw"."""

    def verify(self, device: str, secret: str, link: str) -> bool:
        return self.knows(device, link) and secret == "pw"

    def knows(self, device: str, link: str) -> bool:
        return device.startswith("M") and link == "air"


class Device:
    """The other side, written against the standard's text with plain sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def hear(self) -> Packet:
        async with asyncio.timeout(5):
            return decode(await self.reader.readuntil(b"\r\n"))

    async def hears_nothing(self, seconds: float = 0.1) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return True


@asynccontextmanager
async def connected(adapter: Hj212Adapter) -> AsyncIterator[Device]:
    reader, writer = await asyncio.open_connection("127.0.0.1", adapter.port)
    yield Device(reader, writer)
    writer.close()


def upload(number: int = 1, flag: int | None = 5, **fields: Any) -> Packet:
    body = fields.pop("body", f"DataTime=20261122180000;a34004-Rtd={number},a34004-Flag=N")
    return Packet(cn="2011", mn="M1", qn=f"{number:017d}", st="22", pw="pw", flag=flag, body=body, **fields)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.002)
