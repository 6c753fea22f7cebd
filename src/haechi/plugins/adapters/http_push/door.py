"""What becomes of a request: who may send, what is taken, and how it is answered. Connections of a link share one.

What all connections brought in one turn of the event loop is one `accept`, whose receipt says what became of each.
"""

import asyncio
import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from email.utils import format_datetime
from urllib.parse import unquote

import httptools
import orjson
import structlog

from haechi.core.errors import Busy, Conflict, HaechiError, InvalidData, NotFound, NotSupported, Refused, Unavailable
from haechi.core.message import Message
from haechi.core.times import SECOND, to_us
from haechi.plugins.adapters.http_push.repeats import Repeats
from haechi.plugins.adapters.http_push.settings import HttpSettings
from haechi.plugins.wire.http1.exchange import CLOSE, Exchange, Limits, response, too_large
from haechi.ports import AdapterContext, Receipt

STATUS: dict[type[HaechiError], int] = {Refused: 401, NotFound: 404, NotSupported: 405, Conflict: 409}
STATUS |= {Busy: 429, Unavailable: 503}
STATUS_OF_REASON = {"too_slow": 408, "too_large": 413, "unsupported_type": 415, "bad_key": 422, "refused": 422}
STATUS_OF_REASON |= {"slow_head": 408, "large_head": 431}
# Intake has counted what it refused itself, and where no head could be read nobody knows that samples came.
UNCOUNTED = frozenset({"refused", "bad_request", "slow_head", "large_head"})
ENDS = frozenset({"too_slow", "too_large", "bad_request", "slow_head", "large_head"})  # the connection, too
CALL_BYTES = 1 << 20  # of bodies in one `accept`, unless a single one is larger
LET_IN = 4_096  # credentials remembered until they are checked anew
_events = structlog.get_logger("http_push")


class Door:
    """`http1.Desk` for `POST /{link}` and `POST /{link}/{channel...}`. Counts itself for `health`."""

    def __init__(self, settings: HttpSettings, context: AdapterContext) -> None:
        self._settings, self._context = settings, context
        self.limits = Limits(settings.connections_max, settings.body_bytes_max, settings.body_s)
        self.heads: dict[bytes, tuple[str, str, int]] = {}
        self._let_in: dict[str, str] = {}  # Authorization -> device
        self._repeats: Repeats | None = None
        self._gathered: list[Exchange] = []
        self._messages: list[Message] = []
        self._bytes = self._now = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[tuple[int, int, bytes], bytes] = {}  # those of this second
        self._second, self._date = 0, b""
        self.in_flight = self.in_flight_bytes = self.requests = self.turned_away = self.busy = 0

    def forget(self) -> None:
        """Whoever was let in is looked up again from now on: call it each second."""
        self.heads.clear()
        self._let_in.clear()

    async def cancel(self) -> None:
        """Leaves what is still under way unanswered: its senders send again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- a request comes in ---

    def begin(self, exchange: Exchange) -> None:
        self.requests += 1
        exchange.channel = self._channel(exchange)
        exchange.device = self._device(exchange.header(b"authorization"))
        self._check_type(exchange)
        most, announced = self._settings.body_bytes_max, exchange.headers.get(b"content-length")
        if announced is not None and int(announced) > most:
            raise too_large(most)
        packed = exchange.header(b"content-encoding").lower() == "gzip"
        exchange.size = most if announced is None or packed else int(announced)
        self._admit(exchange)

    def again(self, exchange: Exchange, body: bytes) -> None:
        self.requests += 1
        self._admit(exchange)
        self._take(exchange, body)

    def end(self, exchange: Exchange, body: bytes) -> None:
        if exchange.header(b"content-encoding").lower() == "gzip":
            body = _unpacked(body, self._settings.body_bytes_max)
        before = self._before(exchange, body) if exchange.headers.get(b"idempotency-key") else None
        if before is None:
            self._take(exchange, body)
        else:
            self._answer(exchange, response(*before, self._dated(), exchange.keep))

    def abandon(self, exchange: Exchange) -> None:
        self._drop(exchange)

    def _admit(self, exchange: Exchange) -> None:
        """Whether the requests under way are enough: the log takes what they carry more slowly than it comes."""
        settings, size = self._settings, exchange.size
        crowded = self.in_flight > 0 and self.in_flight_bytes + size > settings.in_flight_bytes_max
        if crowded or self.in_flight >= settings.in_flight_max:
            raise Busy("too many requests at once; send it again later", settings.retry_after_s)
        exchange.counted = True
        self.in_flight += 1
        self.in_flight_bytes += size

    def _release(self, exchange: Exchange) -> None:
        if exchange.counted:
            exchange.counted = False
            self.in_flight -= 1
            self.in_flight_bytes -= exchange.size

    def _channel(self, exchange: Exchange) -> str:
        try:
            path = unquote((httptools.parse_url(exchange.url).path or b"").decode("ascii"))
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError) as error:
            raise InvalidData(f"{exchange.url[:100]!r} is no path", "bad_request") from error
        link, _, channel = path[1:].partition("/")
        if link != self._context.link:
            raise NotFound(f"no such link here; POST to /{self._context.link}/<channel>")
        if exchange.method != b"POST":
            raise NotSupported("only POST")
        return channel

    def _device(self, authorization: str) -> str:
        if (known := self._let_in.get(authorization)) is not None:
            return known
        device, secret = _credentials(authorization)
        if not device or not self._context.registry.verify(device, secret, self._context.link):
            raise Refused("send a registered device and its secret: Basic, or Bearer <device>:<secret>")
        if len(self._let_in) < LET_IN:
            self._let_in[authorization] = device
        return device

    def _check_type(self, exchange: Exchange) -> None:
        media, *parameters = (one.strip().lower() for one in exchange.header(b"content-type").split(";"))
        charset = next((one[8:].strip('"') for one in parameters if one.startswith("charset=")), "utf-8")
        encoding = exchange.header(b"content-encoding").lower()
        if media not in self._settings.accepts or charset not in ("utf-8", "us-ascii"):
            accepted = ", ".join(self._settings.accepts)
            given = media or "a body of no type"
            raise InvalidData(f"this link takes {accepted} in UTF-8, not {given}", "unsupported_type")
        if encoding not in ("", "identity", "gzip"):
            raise InvalidData(f"Content-Encoding may be gzip or nothing, not {encoding}", "unsupported_type")

    def _before(self, exchange: Exchange, body: bytes) -> tuple[int, bytes] | None:
        """What was answered under this Idempotency-Key before, so that it is answered the same, not stored again."""
        if self._repeats is None:
            now = asyncio.get_running_loop().time
            self._repeats = Repeats(self._settings.idempotency_s, self._settings.idempotency_max, now)
        digest, key = (
            hashlib.sha256(exchange.channel.encode() + b"\0" + body).digest(),
            exchange.header(b"idempotency-key"),
        )
        before = self._repeats.begin(exchange.device, key, digest)
        if before is None:
            exchange.key = key
        return before

    # --- and goes to the log ---

    def _take(self, exchange: Exchange, body: bytes) -> None:
        if not body.strip():
            raise InvalidData("the body is empty; send samples", "empty")
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._hand_over)
            self._now = to_us(self._context.clock.now())
        self._gathered.append(exchange)
        self._messages.append(Message(self._context.link, exchange.device, exchange.channel, body, self._now))
        self._bytes += len(body)
        if self._bytes >= CALL_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._gathered:
            task = asyncio.get_running_loop().create_task(self._store(self._gathered, self._messages))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._gathered, self._messages, self._bytes = [], [], 0

    async def _store(self, exchanges: Sequence[Exchange], messages: Sequence[Message]) -> None:
        try:
            self._settle(exchanges, await self._context.intake.accept(messages))
        except HaechiError as error:
            for one in exchanges:
                self.turn_away(one, error)
        except asyncio.CancelledError:
            for one in exchanges:
                self._drop(one)
            raise
        except Exception as error:  # a bug in ingest must not leave senders without an answer
            _events.exception("requests_not_stored", link=self._context.link, requests=len(exchanges))
            for one in exchanges:
                self._fail(one, response(500, _told("Bug", f"{error!r}; report it"), self._dated(), CLOSE))

    def _settle(self, exchanges: Sequence[Exchange], receipt: Receipt) -> None:
        date = self._dated()
        for place, exchange in enumerate(exchanges):
            if (why := receipt.refused.get(place)) is not None:
                self.turn_away(exchange, InvalidData(why, "refused"))
                continue
            stored, quarantined = receipt.each[place]
            if exchange.key and self._repeats is not None:
                self._repeats.end(exchange.device, exchange.key, _outcome(stored, quarantined))
            kind = (stored, quarantined, exchange.keep)
            if (answer := self._answers.get(kind)) is None:
                answer = self._answers[kind] = response(*_outcome(stored, quarantined), date, exchange.keep)
            self._answer(exchange, answer)

    # --- answers ---

    def turn_away(self, exchange: Exchange, error: HaechiError) -> None:
        """Tells the sender what to do, and the account what was not taken."""
        kind = type(error)
        reason = error.reason if isinstance(error, InvalidData) else ""
        counted = {Refused: "bad_credentials", Conflict: "repeated", Busy: "busy"}.get(kind, reason)
        if counted and counted not in UNCOUNTED:
            self._context.intake.reject(self._context.link, counted)
        self.busy += kind is Busy
        self.turned_away += kind is not Busy
        status = STATUS_OF_REASON.get(reason, 400) if reason else STATUS[kind]
        more = {
            401: b'www-authenticate: Basic realm="haechi", charset="UTF-8"\r\n',
            405: b"allow: POST\r\n",
            415: b"accept-post: %b\r\n" % ", ".join(self._settings.accepts).encode(),
        }.get(status, b"")
        if status in (409, 429, 503):
            more = b"retry-after: %d\r\n" % self._settings.retry_after_s
        if reason in ENDS or b"expect" in exchange.headers:  # the rest is not wanted, or may never come
            exchange.keep = CLOSE
        told = response(status, _told(kind.__name__, str(error)), self._dated(), exchange.keep + more)
        self._fail(exchange, told[: told.index(b"\r\n\r\n") + 4] if exchange.method == b"HEAD" else told)

    def _fail(self, exchange: Exchange, answer: bytes) -> None:
        self._drop(exchange)
        self._answer(exchange, answer)

    def _drop(self, exchange: Exchange) -> None:
        """Nothing came of it: it will be sent again, and that must count."""
        self._release(exchange)
        exchange.chunks.clear()
        if exchange.key and self._repeats is not None:
            self._repeats.drop(exchange.device, exchange.key)

    def _answer(self, exchange: Exchange, answer: bytes) -> None:
        self._release(exchange)
        exchange.answer = answer
        exchange.send()

    def _dated(self) -> bytes:
        now = self._context.clock.now()
        if (second := to_us(now) // SECOND) != self._second or not self._date:
            self._second, self._date = second, format_datetime(now, usegmt=True).encode()
            self._answers.clear()
        return self._date


def _outcome(stored: int, quarantined: int) -> tuple[int, bytes]:
    status = 202 if quarantined and not stored else 200
    return status, orjson.dumps({"stored": stored, "quarantined": quarantined})


def _told(error: str, detail: str) -> bytes:
    return orjson.dumps({"error": error, "detail": detail})


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


def _unpacked(body: bytes, most: int) -> bytes:
    """The body out of gzip, never more than `most` bytes of it."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise InvalidData(f"the body is no gzip: {error}", "malformed") from error
    if len(unpacked) > most:
        raise too_large(most)
    if not unpacker.eof:
        raise InvalidData("the gzip body ends too early", "malformed")
    return unpacked
