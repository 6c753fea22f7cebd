"""Two processes of row a: a subscriber that throws everything away, a server that only acknowledges.

`python -m bench._sink subscribe PORT` · `python -m bench._sink acknowledge PORT`
"""

import asyncio
import sys
from typing import cast

import uvloop

from bench._mqtt import length, text

SUBSCRIBE = b"\x00\x01" + text("#") + b"\x00"


class Subscriber(asyncio.Protocol):
    """Takes everything at QoS 0, the cheapest for the broker."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + text("sink")
        subscribe = b"\x82" + length(len(SUBSCRIBE)) + SUBSCRIBE
        self.transport.write(b"\x10" + length(len(body)) + body + subscribe)


class Acknowledger(asyncio.Protocol):
    """Answers each PUBLISH of the size of the first with a PUBACK."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._rest, self._size, self._number = b"", 0, 0

    def data_received(self, received: bytes) -> None:
        if received[0] == 0x10 and not self._size:
            self.transport.write(b"\x20\x02\x00\x00")
            self._size = -1
            return
        block = self._rest + received
        if self._size < 0:  # one byte of remaining length: packets of the measurement are short
            assert block[1] < 128
            self._size, self._number = block[1] + 2, int.from_bytes(block[2:4]) + 4
        size, at = self._size, self._number
        whole = len(block) // size
        answer = bytearray(b"\x40\x02\x00\x00" * whole)
        answer[2::4], answer[3::4] = block[at : whole * size : size], block[at + 1 : whole * size : size]
        self.transport.write(answer)
        self._rest = block[whole * size :]


async def main(kind: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    if kind == "subscribe":
        await loop.create_connection(Subscriber, "127.0.0.1", port)
    else:
        await loop.create_server(Acknowledger, "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
