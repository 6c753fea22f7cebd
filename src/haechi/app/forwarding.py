"""Sends requests to registered context sources over HTTP (clause 4.3.6). One client for the api role."""

import asyncio
from typing import TYPE_CHECKING

from haechi.core.errors import InvalidData, Unavailable
from haechi.services.registrations.sources import Incoming, Outgoing

if TYPE_CHECKING:
    import aiohttp

LARGEST = 16 * 2**20  # of one answer
UNDER_WAY = 500  # requests at once, over all sources
_CHUNK = 1 << 18


class Forwarder:
    """Call `close` at the end. It asks where registrations point and follows no redirects."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(UNDER_WAY)

    async def __call__(self, asked: Outgoing) -> Incoming:
        import aiohttp  # noqa: PLC0415 - as in `_client`

        timeout = aiohttp.ClientTimeout(asked.timeout_s)
        try:
            async with (
                self._room,
                self._client().request(
                    asked.method,
                    asked.url,
                    data=asked.body,
                    headers=list(asked.headers),
                    timeout=timeout,
                    allow_redirects=False,
                ) as answer,
            ):
                headers = {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}
                return Incoming(answer.status, headers, await _content(answer))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(
                f"{type(error).__name__}: {error or f'no answer within {asked.timeout_s:g} s'}"
            ) from error

    def _client(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - 10 MB that a city without registrations never needs

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=UNDER_WAY)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()


async def _content(answer: "aiohttp.ClientResponse") -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        found += chunk
        if len(found) > LARGEST:
            raise InvalidData(f"the source's answer is larger than {LARGEST} bytes", "too_large")
    return bytes(found)
