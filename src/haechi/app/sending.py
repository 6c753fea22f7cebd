"""Takes notifications to their receivers: HTTP(S) POST and MQTT(S) (clauses 6.1, 7.2). For the notifier."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import orjson

from haechi.core.errors import InvalidData, Unavailable
from haechi.services.subscriptions.model import Endpoint

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 5.0
LONGEST_S = 30.0  # whatever the client wishes
UNDER_WAY = 500  # posts at once, over all receivers
_PROTOCOLS = {"mqtt3.1.1": 4, "mqtt5.0": 5}  # protocol levels on the wire

Headers = Sequence[tuple[str, str]]


class Sender:
    """`Unavailable` when a receiver did not take a notification. Call `close` at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(UNDER_WAY)

    async def __call__(self, endpoint: Endpoint, body: bytes, headers: Headers) -> None:
        timeout_s = min(LONGEST_S, (endpoint.timeout_s or TIMEOUT_S * 1000) / 1000)
        async with self._room:
            if endpoint.uri.startswith(("mqtt:", "mqtts:")):
                await self._publish(endpoint, body, headers, timeout_s)
            else:
                await self._post(endpoint.uri, body, headers, timeout_s)

    async def _post(self, uri: str, body: bytes, headers: Headers, timeout_s: float) -> None:
        import aiohttp  # noqa: PLC0415 - as in `_client`

        timeout = aiohttp.ClientTimeout(timeout_s)
        try:
            async with self._client().post(
                uri, data=body, headers=list(headers), timeout=timeout, allow_redirects=False
            ) as answer:
                await answer.content.read(65_536)
                if not answer.ok:
                    raise Unavailable(f"the receiver answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{type(error).__name__}: {error or f'no answer within {timeout_s:g} s'}") from error

    def _client(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - 10 MB that a city without subscriptions never needs

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=UNDER_WAY)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _publish(self, endpoint: Endpoint, body: bytes, headers: Headers, timeout_s: float) -> None:
        from paho.mqtt import MQTTException  # noqa: PLC0415 - as in `_client`

        payload = orjson.dumps({"metadata": dict(headers), "body": orjson.loads(body)})
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.to_thread(_publish, endpoint, payload)
        except (MQTTException, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(f"MQTT: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()


def _publish(endpoint: Endpoint, payload: bytes) -> None:
    """Connects, publishes with the quality asked for, and leaves."""
    from paho.mqtt import publish  # noqa: PLC0415 - few subscriptions speak MQTT
    from paho.mqtt.enums import MQTTProtocolVersion  # noqa: PLC0415

    parts = urlsplit(endpoint.uri)
    secure = parts.scheme == "mqtts"
    version = endpoint.notifier.get("MQTT-Version", "mqtt5.0")
    quality = endpoint.notifier.get("MQTT-QoS", "0")
    if version not in _PROTOCOLS or quality not in ("0", "1", "2"):
        raise InvalidData(f"no MQTT version {version!r} with quality of service {quality!r}", "bad_request")
    auth = None
    if parts.username is not None:
        auth = {"username": unquote(parts.username), "password": unquote(parts.password or "") or None}
    publish.single(
        parts.path.lstrip("/"),
        payload,
        qos=int(quality),
        hostname=parts.hostname or "",
        port=parts.port or (8883 if secure else 1883),
        auth=auth,  # type: ignore[arg-type]
        protocol=MQTTProtocolVersion(_PROTOCOLS[version]),
        tls={"cert_reqs": ssl.CERT_REQUIRED} if secure else None,  # type: ignore[arg-type]
    )
