"""One POST becomes one message; 2xx once it is stored. The ASGI application that adapter serves.

Each request is one `accept` of its own: its answer names what became of it, and intake groups all of them anyway.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from haechi.core.errors import Conflict, HaechiError, InvalidData, NotFound, NotSupported, Refused, Unavailable
from haechi.core.message import Message
from haechi.core.times import to_us
from haechi.plugins.adapters.http_push.repeats import Repeats
from haechi.plugins.adapters.http_push.settings import HttpSettings
from haechi.ports import AdapterContext, Receipt

STATUS: Mapping[type[HaechiError], int] = {
    Refused: 401,
    NotFound: 404,
    NotSupported: 405,
    Conflict: 409,
    Unavailable: 503,
}
STATUS_OF_REASON = {"too_slow": 408, "too_large": 413, "unsupported_type": 415, "bad_key": 422, "refused": 422}
LINGER_S = 1.0
CLOSING = frozenset({"too_slow", "too_large"})  # the rest of the body is not wanted


class _Request(Request):
    """A request with its headers in a dictionary (of a repeated one the first): Starlette walks a list for each of our
    eight look-ups, a sixth of what a small request costs."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.given = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


@dataclass(frozen=True, slots=True)
class _Post:
    device: str
    channel: str
    body: bytes
    key: str


class Door:
    """ASGI: `POST /{link}` and `POST /{link}/{channel...}`. Counts itself for `health`."""

    def __init__(self, settings: HttpSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self._repeats: Repeats | None = None
        self.in_flight = self.in_flight_bytes = self.requests = self.turned = self.busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the server is configured without lifespan and web sockets"
        self.requests += 1
        try:
            response = await self._answer(_Request(scope, receive))
        except ClientDisconnect:
            return
        except HaechiError as error:
            self.turned += 1
            response = self._turn_away(error)
        await response(scope, receive, send)

    def _turn_away(self, error: HaechiError) -> Response:
        """Tells the sender what to do, and the account what was not taken."""
        kind = type(error)
        reason = error.reason if isinstance(error, InvalidData) else ""
        counted = {Refused: "bad_credentials", Conflict: "repeated"}.get(kind, reason)
        if counted and counted != "refused":  # what intake refused it has counted itself
            self._context.intake.reject(self._context.link, counted)
        status = STATUS_OF_REASON.get(reason, 400) if reason else STATUS[kind]
        headers = {
            401: {"WWW-Authenticate": 'Basic realm="haechi", charset="UTF-8"'},
            405: {"Allow": "POST"},
            415: {"Accept-Post": ", ".join(self._settings.accepts)},
        }.get(status, {})
        if kind in (Conflict, Unavailable):
            headers["Retry-After"] = str(self._settings.retry_after_s)
        if reason in CLOSING:
            headers["Connection"] = "close"
        return _json(status, {"error": kind.__name__, "detail": str(error)}, headers)

    async def _answer(self, request: _Request) -> Response:
        channel = self._channel(request)
        device = self._device(request.given.get("authorization", ""))
        self._check_type(request)
        size = self._size(request)
        if self._is_full(size):
            return self._come_back()
        self.in_flight += 1
        self.in_flight_bytes += size
        try:
            post = _Post(device, channel, await self._body(request), request.given.get("idempotency-key", ""))
            status, body = await (self._once(post) if post.key else self._store(post))
        finally:
            self.in_flight -= 1
            self.in_flight_bytes -= size
        return Response(body, status, media_type="application/json")

    def _size(self, request: _Request) -> int:
        """What the body may take of our memory."""
        most, announced = self._settings.body_bytes_max, request.given.get("content-length")
        packed = request.given.get("content-encoding", "").lower() == "gzip"
        return most if announced is None or packed else min(most, int(announced))

    def _is_full(self, size: int) -> bool:
        """Whether the requests under way are enough: the log takes what they carry more slowly than it comes."""
        if self.in_flight >= self._settings.in_flight_max:
            return True
        return self.in_flight > 0 and self.in_flight_bytes + size > self._settings.in_flight_bytes_max

    def _come_back(self) -> Response:
        self.busy += 1
        self._context.intake.reject(self._context.link, "busy")
        body = {"error": "Busy", "detail": "too many requests at once; send it again later"}
        return _json(429, body, {"Retry-After": str(self._settings.retry_after_s)})

    def _channel(self, request: _Request) -> str:
        _, link, *levels = request.scope["path"].split("/")
        if link != self._context.link:
            raise NotFound(f"no such link here; POST to /{self._context.link}/<channel>")
        if request.method != "POST":
            raise NotSupported("only POST")
        return "/".join(levels)

    def _device(self, authorization: str) -> str:
        device, secret = _credentials(authorization)
        if not device or not self._context.registry.verify(device, secret, self._context.link):
            raise Refused("send a registered device and its secret: Basic, or Bearer <device>:<secret>")
        return device

    def _check_type(self, request: _Request) -> None:
        media, *parameters = (one.strip().lower() for one in request.given.get("content-type", "").split(";"))
        charset = next((one[8:].strip('"') for one in parameters if one.startswith("charset=")), "utf-8")
        encoding = request.given.get("content-encoding", "identity").lower()
        if media not in self._settings.accepts or charset not in ("utf-8", "us-ascii"):
            accepted = ", ".join(self._settings.accepts)
            given = media or "a body of no type"
            raise InvalidData(f"this link takes {accepted} in UTF-8, not {given}", "unsupported_type")
        if encoding not in ("identity", "gzip"):
            raise InvalidData(f"Content-Encoding may be gzip or nothing, not {encoding}", "unsupported_type")

    async def _body(self, request: _Request) -> bytes:
        try:
            async with asyncio.timeout(self._settings.body_s):
                body = await self._stream(request)
        except TimeoutError:
            await _discard(request.stream())
            raise InvalidData(f"the body did not come within {self._settings.body_s:g} s", "too_slow") from None
        if request.given.get("content-encoding", "").lower() == "gzip":
            body = _unpacked(body, self._settings.body_bytes_max)
        if not body.strip():
            raise InvalidData("the body is empty; send samples", "empty")
        return body

    async def _stream(self, request: _Request) -> bytes:
        most = self._settings.body_bytes_max
        chunks, size = [], 0
        stream = request.stream()
        async for chunk in stream:
            size += len(chunk)
            if size > most or int(request.given.get("content-length", "0")) > most:
                await _discard(stream)
                raise _too_large(most)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _once(self, post: _Post) -> tuple[int, bytes]:
        """As `_store`, but an Idempotency-Key that was answered before is answered the same without storing again."""
        if self._repeats is None:
            now = asyncio.get_running_loop().time
            self._repeats = Repeats(self._settings.idempotency_s, self._settings.idempotency_max, now)
        digest = hashlib.sha256(post.channel.encode() + b"\0" + post.body).digest()
        if (before := self._repeats.begin(post.device, post.key, digest)) is not None:
            return before
        try:
            answer = await self._store(post)
        except BaseException:  # a sender that goes away included: it will send again, and that must count
            self._repeats.drop(post.device, post.key)
            raise
        self._repeats.end(post.device, post.key, answer)
        return answer

    async def _store(self, post: _Post) -> tuple[int, bytes]:
        received_at = to_us(self._context.clock.now())
        message = Message(self._context.link, post.device, post.channel, post.body, received_at)
        receipt: Receipt = await self._context.intake.accept([message])
        if receipt.refused:
            raise InvalidData(receipt.refused[0], "refused")
        kept_only = receipt.quarantined > 0 and receipt.stored == 0
        return 202 if kept_only else 200, orjson.dumps({"stored": receipt.stored, "quarantined": receipt.quarantined})


def _credentials(authorization: str) -> tuple[str, str]:
    """Device and secret of an Authorization header; empty when it holds none (RFC 7617, RFC 6750)."""
    scheme, _, rest = authorization.partition(" ")
    text = rest.strip()
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
    elif scheme.lower() != "bearer":
        return "", ""
    device, _, secret = text.rpartition(":") if scheme.lower() == "bearer" else text.partition(":")
    return device, secret


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Lets a body that is not wanted arrive for a moment: a sender cut off while it sends never sees the answer."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(LINGER_S):
            async for _ in stream:
                pass


def _json(status: int, body: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def _too_large(most: int) -> InvalidData:
    return InvalidData(f"at most {most} bytes in one request; send several", "too_large")


def _unpacked(body: bytes, most: int) -> bytes:
    """The body out of gzip, never more than `most` bytes of it."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise InvalidData(f"the body is no gzip: {error}", "malformed") from error
    if len(unpacked) > most:
        raise _too_large(most)
    if not unpacker.eof:
        raise InvalidData("the gzip body ends too early", "malformed")
    return unpacked
