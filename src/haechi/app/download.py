"""Fetches what people named by URL: @contexts. One small client for the api role."""

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from haechi.core.errors import InvalidData, Unavailable

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 5.0
LARGEST = 2**20
REDIRECTS = 3
ACCEPT = "application/ld+json, application/json;q=0.9, */*;q=0.1"


class Downloader:
    """Gets documents over HTTP. Call `close` at the end; made inside a running loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str) -> bytes:
        """The body of a 2xx answer of at most 1 MiB; `Unavailable` or `InvalidData` says why there is none."""
        import aiohttp  # noqa: PLC0415 - as in `_client`

        await _refuse_link_local(url)
        timeout = aiohttp.ClientTimeout(TIMEOUT_S)
        try:
            session = self._client()
            async with session.get(url, timeout=timeout, max_redirects=REDIRECTS, headers={"Accept": ACCEPT}) as answer:
                if not answer.ok:
                    raise Unavailable(f"its server answers {answer.status}")
                content = await answer.content.read(LARGEST + 1)
                while len(content) <= LARGEST and (more := await answer.content.read(LARGEST + 1)):
                    content += more
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(str(error) or f"no answer within {TIMEOUT_S:.0f} s") from error
        if len(content) > LARGEST:
            raise InvalidData(f"it is larger than {LARGEST} bytes", "too_large")
        return content

    def _client(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - 10 MB that few cities need

        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()


async def _refuse_link_local(url: str) -> None:
    """Machines in clouds answer secrets at 169.254.169.254 to whoever asks from inside: nobody names that here."""
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"no address of {host}: {error}") from error
    if any(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_link_local for *_, address in found):
        raise InvalidData(f"{host} is a link-local address; name a server of the city", "bad_request")
