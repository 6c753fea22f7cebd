"""HTTP/1.1 as bytes on the http_push door's sockets: order, framing, time-outs, limits, and what has no library."""

import asyncio
import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from haechi.plugins.adapters.http_push.adapter import HttpPushAdapter, create
from haechi.plugins.wire.http1 import connection as http1
from haechi.ports import AdapterContext, Receipt
from http_push_kit import MemoryIntake, Registered

TOKEN = base64.b64encode(b"gw:s3cret")
HEAD = b"POST /push/p HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + TOKEN + b"\r\nContent-Type: application/json\r\n"
SETTINGS = {"port": 0, "body_bytes_max": 10_000, "body_s": 0.4}


def post(body: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Peer:
    """A connection that reads one answer after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        return int(lines[0].split()[1]), dict(one.split(": ", 1) for one in lines[1:] if one)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def statuses(self, count: int) -> list[int]:
        return [(await self.answer())[0] for _ in range(count)]

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@pytest.fixture
async def intake() -> MemoryIntake:
    return MemoryIntake()


@pytest.fixture
def known() -> Registered:
    return Registered()


@pytest.fixture
async def doors(
    intake: MemoryIntake, known: Registered, clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    monkeypatch.setattr(http1, "LINGER_S", 0.1)
    context = AdapterContext("push", intake, known, None, clock, str(tmp_path))  # type: ignore[arg-type]
    started: list[HttpPushAdapter] = []

    async def start(**settings: Any) -> HttpPushAdapter:
        adapter = create({**SETTINGS, **settings}, context)
        await adapter.start()
        started.append(adapter)
        return adapter

    yield start
    intake.open.set()
    for adapter in started:
        await adapter.stop()


@pytest.fixture
async def peers(doors: Callable[..., Any]) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Peer] = []

    async def connect(adapter: HttpPushAdapter | None = None) -> Peer:
        door = adapter or await doors()
        opened.append(Peer(*await asyncio.open_connection("127.0.0.1", door.port)))
        return opened[-1]

    yield connect
    for peer in opened:
        peer.writer.transport.abort()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.002)


async def test_a_sender_that_sends_no_more_is_told_what_became_of_what_it_asked(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    intake.open.clear()
    door = await doors()
    peer = await peers(door)
    peer.send(post(b'{"a":1}') + post(b'{"a":2}') + post(b'{"a":3}')[:-2])
    peer.writer.write_eof()
    await until(lambda: door.health()["in_flight"] == 2)
    intake.open.set()
    assert await peer.statuses(2) == [200, 200]
    assert await peer.ended()
    assert [one.payload for one in intake.messages] == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("sent", [b"", b"POST /push/p HT", post(b'{"a":1}')[:-1]])
async def test_a_sender_that_asked_nothing_in_full_is_hung_up_on(peers: Callable[..., Any], sent: bytes) -> None:
    peer = await peers()
    peer.send(sent)
    peer.writer.write_eof()
    assert await peer.ended()


async def test_requests_in_one_write_are_stored_and_answered_in_their_order(
    peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    peer = await peers()
    bodies = [b'{"a":%d}' % one for one in range(100)]
    for _ in range(2):  # the second time their heads are known
        peer.send(b"".join(map(post, bodies[:50])) + b"GET /push/p HTTP/1.1\r\n\r\n" + b"".join(map(post, bodies[50:])))
        assert await peer.statuses(101) == [200] * 50 + [405] + [200] * 50
    assert [one.payload for one in intake.messages] == bodies * 2


async def test_answers_keep_the_order_of_requests_though_one_is_answered_at_once(
    peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    peer = await peers()
    intake.open.clear()
    peer.send(post(b'{"a":1}') + b"GET /push/p HTTP/1.1\r\n\r\n" + post(b"{}", b"Content-Encoding: br\r\n"))
    await until(lambda: intake.rejected == {"unsupported_type": 1})
    intake.open.set()
    assert await peer.statuses(3) == [200, 405, 415]


@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_a_request_may_come_in_pieces_of_any_size(
    peers: Callable[..., Any], intake: MemoryIntake, size: int
) -> None:
    peer = await peers()
    chunked = HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\nX: y\r\n\r\n'
    wire = post(b'{"a":1}') + chunked + post(b'{"a":2}') + post(b'{"a":3}')
    for at in range(0, len(wire), size):
        peer.send(wire[at : at + size])
        await asyncio.sleep(0)
    assert await peer.statuses(4) == [200] * 4
    assert [one.payload for one in intake.messages] == [b'{"a":1}', b'{"a":1}', b'{"a":2}', b'{"a":3}']


async def test_a_sender_that_asks_first_is_told_to_go_on_or_why_not(
    peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    peer = await peers()
    expect = b"Expect: 100-continue\r\n"
    peer.send(HEAD + expect + b"Content-Length: 7\r\n\r\n")
    assert (await peer.head())[0] == 100
    assert intake.messages == []
    peer.send(b'{"a":1}')
    assert (await peer.answer())[0] == 200
    peer.send(HEAD.replace(b"json", b"yaml") + expect + b"Content-Length: 7\r\n\r\n")
    status, headers, _ = await peer.answer()
    assert (status, headers["connection"]) == (415, "close"), "whether its body comes nobody knows"
    assert await peer.ended()


async def test_the_connection_stays_as_the_sender_wants_it(peers: Callable[..., Any]) -> None:
    peer = await peers()
    peer.send(post(b'{"a":1}').replace(b"HTTP/1.1", b"HTTP/1.0", 1).replace(b"Host: x", b"Connection: keep-alive"))
    status, headers, _ = await peer.answer()
    assert (status, headers["connection"], "date" in headers) == (200, "keep-alive", True)
    peer.send(post(b'{"a":1}', b"Connection: close\r\n") + post(b'{"a":2}'))
    assert (await peer.answer())[1]["connection"] == "close"
    assert await peer.ended(), "what came after the last request is none"
    old = await peers()
    old.send(post(b'{"a":1}').replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert (await old.answer())[1]["connection"] == "close"
    assert await old.ended()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00" * 20, 400),
        (b"POST /push/p HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST http://[/ HTTP/1.1\r\n\r\n", 400),
        (b"POST * HTTP/1.1\r\n\r\n", 404),
        (post(b"{}", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), 400),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"X: " + b"y" * 600_000, 431),
        (HEAD + b"Content-Length: 20000\r\n\r\n", 413),
    ],
    ids=["TLS", "two lengths", "no target", "no path", "upgrade", "proxy", "long head", "long body"],
)
async def test_what_is_no_request_of_ours_is_told_so(peers: Callable[..., Any], sent: bytes, status: int) -> None:
    peer = await peers()
    peer.send(sent)
    found, headers, body = await peer.answer()
    assert (found, b"detail" in body) == (status, True)
    if status != 404:
        assert headers["connection"] == "close"
        assert await peer.ended()


async def test_a_head_without_a_body_is_answered_without_one(peers: Callable[..., Any]) -> None:
    peer = await peers()
    peer.send(b"HEAD /push/p HTTP/1.1\r\n\r\n" + post(b'{"a":1}'))
    assert (await peer.head())[0] == 405
    assert (await peer.answer())[0] == 200


async def test_heads_bodies_and_idle_connections_that_do_not_come_end(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.2)
    monkeypatch.setattr(http1, "IDLE_S", 0.2)
    door = await doors()
    silent, slow, stuck, idle = [await peers(door) for _ in range(4)]
    slow.send(b"POST /pu")
    stuck.send(HEAD + b"Content-Length: 100\r\n\r\n" + b"{")
    idle.send(post(b'{"a":1}'))
    assert (await idle.answer())[0] == 200
    assert [(await one.answer())[0] for one in (slow, stuck)] == [408, 408]
    assert [await one.ended() for one in (silent, slow, stuck, idle)] == [True] * 4
    assert (door.health()["in_flight"], door.health()["connections"]) == (0, 0)
    assert intake.rejected == {"too_slow": 1}


async def test_a_sender_that_takes_no_answers_is_not_read_and_then_dropped(
    doors: Callable[..., Any], peers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "CLOGGED_S", 0.3)
    door = await doors()
    deaf = await peers(door)
    deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
    deaf.send(b"GET /push/p HTTP/1.1\r\n\r\n" * 400_000)
    await until(lambda: door.health()["requests"] > 1_000)
    await until(lambda: door.health()["connections"] == 0)
    assert door.health()["requests"] < 400_000


async def test_connections_beyond_the_limit_are_told_to_come_back(
    doors: Callable[..., Any], peers: Callable[..., Any]
) -> None:
    door = await doors(connections_max=1)
    first, second = await peers(door), await peers(door)
    await until(lambda: door.health()["connections"] == 2)
    second.send(post(b'{"a":1}'))
    status, headers, _ = await second.answer()
    assert (status, headers["retry-after"], headers["connection"]) == (503, "2", "close")
    assert await second.ended()
    first.send(post(b'{"a":1}'))
    assert (await first.answer())[0] == 200


async def test_a_device_shut_out_is_noticed_on_a_connection_that_stays(
    peers: Callable[..., Any], known: Registered, intake: MemoryIntake
) -> None:
    peer = await peers()
    peer.send(post(b'{"a":1}'))
    assert (await peer.answer())[0] == 200
    known.shut_out = True
    async with asyncio.timeout(10):
        while True:
            peer.send(post(b'{"a":1}'))
            if (await peer.answer())[0] == 401:
                break
    assert intake.rejected == {"bad_credentials": 1}


async def test_a_known_head_is_held_to_the_limits_of_any_other(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    door = await doors(in_flight_max=1)
    first, second = await peers(door), await peers(door)
    first.send(post(b'{"a":1}'))
    assert (await first.answer())[0] == 200
    intake.open.clear()
    first.send(post(b'{"a":1}'))
    await until(lambda: door.health()["in_flight"] == 1)
    second.send(post(b'{"a":2}') + post(b"       "))
    assert await second.statuses(2) == [429, 429]
    intake.open.set()
    assert (await first.answer())[0] == 200
    second.send(post(b"       "))
    assert (await second.answer())[0] == 400


async def test_a_sender_that_goes_away_in_its_body_leaves_no_room_taken(
    doors: Callable[..., Any], peers: Callable[..., Any]
) -> None:
    door = await doors()
    peer = await peers(door)
    peer.send(HEAD + b"Content-Length: 100\r\n\r\n{")
    await until(lambda: door.health()["in_flight"] == 1)
    peer.writer.transport.abort()
    await until(lambda: door.health()["connections"] == 0)
    assert (door.health()["in_flight"], door.health()["in_flight_bytes"]) == (0, 0)


async def test_a_bug_behind_the_door_is_answered_and_the_next_request_taken(
    peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    peer, again = await peers(), await peers()
    intake.failure = ZeroDivisionError("a bug")
    peer.send(post(b'{"a":1}'))
    status, _, body = await peer.answer()
    assert (status, b"ZeroDivisionError" in body) == (500, True)
    intake.failure = None
    again.send(post(b'{"a":1}'))
    assert (await again.answer())[0] == 200


async def test_a_stop_answers_what_is_under_way_and_closes_what_is_idle(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake
) -> None:
    door = await doors()
    idle, busy = await peers(door), await peers(door)
    intake.open.clear()
    busy.send(post(b'{"a":1}'))
    await until(lambda: door.health()["in_flight"] == 1)
    stopping = asyncio.create_task(door.stop())
    assert await idle.ended()
    intake.open.set()
    status, headers, _ = await busy.answer()
    assert (status, headers["connection"]) == (200, "close")
    await stopping


async def test_senders_without_an_answer_when_a_stop_cannot_wait_may_send_again(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haechi.plugins.adapters.http_push.adapter.STOP_S", 0.1)
    door = await doors()
    keyed = post(b'{"a":1}', b"Idempotency-Key: k\r\n")
    intake.open.clear()
    peer = await peers(door)
    peer.send(keyed)
    await until(lambda: door.health()["in_flight"] == 1)
    await door.stop()
    assert await peer.ended()
    intake.open.set()
    await door.start()
    again = await peers(door)
    again.send(keyed)
    assert (await again.answer())[0] == 200
    assert door.health()["in_flight"] == 0


async def test_what_all_connections_brought_at_once_is_one_call_of_intake(
    doors: Callable[..., Any], peers: Callable[..., Any], intake: MemoryIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    accept = intake.accept

    async def counted(messages: Any) -> Receipt:
        calls.append(len(messages))
        return await accept(messages)

    monkeypatch.setattr(intake, "accept", counted)
    peer = await peers()
    peer.send(post(b'{"a":1}') + post(b"{oops") + post(b'{"a":1,"b":2}'))
    answers = [await peer.answer() for _ in range(3)]
    assert calls == [3]
    assert [one[0] for one in answers] == [200, 202, 200]
    assert [one[2] for one in answers] == [
        b'{"stored":1,"quarantined":0}',
        b'{"stored":0,"quarantined":1}',
        b'{"stored":2,"quarantined":0}',
    ]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
async def test_tls_carries_requests_and_plain_text_is_dropped(
    doors: Callable[..., Any], peers: Callable[..., Any], tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(
        subprocess.run, [*make, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    door = await doors(tls_cert=str(cert), tls_key=str(key))
    trust = ssl.create_default_context(cafile=str(cert))
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{door.port}", auth=("gw", "s3cret"), verify=trust) as one:
        for _ in range(3):
            assert (await one.post("/push/a", json={"a": 1})).status_code == 200
    plain = await peers(door)
    plain.send(post(b'{"a":1}'))
    assert await plain.ended()
