"""The http_push adapter over real sockets, httpx its user: stored before 2xx, and every refusal says what to do."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from haechi import registry
from haechi.core.errors import InvalidData, InvalidSettings, Unavailable
from haechi.plugins.adapters.http_push.adapter import HttpPushAdapter, create
from haechi.plugins.adapters.http_push.repeats import Repeats
from haechi.ports import AdapterContext
from http_push_kit import MemoryIntake, Registered

SETTINGS = {"port": 0, "in_flight_max": 3, "body_bytes_max": 10_000, "body_s": 0.3}


@pytest.fixture
async def intake() -> MemoryIntake:
    return MemoryIntake()


@pytest.fixture
def context(intake: MemoryIntake, clock: Any, tmp_path: Path) -> AdapterContext:
    return AdapterContext("push", intake, Registered(), None, clock, str(tmp_path))  # type: ignore[arg-type]


@pytest.fixture
async def adapter(context: AdapterContext) -> AsyncIterator[HttpPushAdapter]:
    adapter = create(SETTINGS, context)
    await adapter.start()
    yield adapter
    await adapter.stop()


@pytest.fixture
async def client(adapter: HttpPushAdapter) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{adapter.port}", auth=("gw", "s3cret")) as client:
        yield client


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 (what is waited for sets no event)
            await asyncio.sleep(0.002)


async def test_a_post_is_one_message_and_answered_with_what_became_of_it(
    client: httpx.AsyncClient, intake: MemoryIntake
) -> None:
    answer = await client.post("/push/pumps/7", json={"pressure": 3.2, "flow": 1})
    assert (answer.status_code, answer.json()) == (200, {"stored": 2, "quarantined": 0})
    [message] = intake.messages
    assert (message.link, message.device, message.channel) == ("push", "gw", "pumps/7")
    assert message.payload == b'{"pressure":3.2,"flow":1}'
    await client.post("/push", json={"pressure": 3.2})
    assert intake.messages[1].channel == ""


async def test_nothing_is_answered_before_it_is_stored(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    intake.open.clear()
    asked = asyncio.create_task(client.post("/push/a", json={"a": 1}))
    await asyncio.sleep(0.1)
    assert not asked.done()
    intake.open.set()
    assert (await asked).status_code == 200


async def test_a_body_the_codec_refuses_is_kept_and_answered_202(
    client: httpx.AsyncClient, intake: MemoryIntake
) -> None:
    answer = await client.post("/push/a", content=b"{oops", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (202, {"stored": 0, "quarantined": 1})
    assert intake.messages[0].payload == b"{oops"


async def test_a_bearer_of_device_and_secret_is_let_in(adapter: HttpPushAdapter) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{adapter.port}") as client:
        good = await client.post("/push/a", json={"a": 1}, headers={"authorization": "Bearer gw:1:s3cret"})
        assert good.status_code == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"gw:wrong").decode(), "Bearer gw", "Digest x", "Bearer :"],
)
async def test_wrong_credentials_are_refused_before_the_body_is_looked_at(
    adapter: HttpPushAdapter, intake: MemoryIntake, authorization: str
) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{adapter.port}") as client:
        headers = {"authorization": authorization} if authorization else {}
        answer = await client.post("/push/a", json={"a": 1}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.json()["error"] == "Refused"
    assert intake.rejected == {"bad_credentials": 1}
    assert intake.messages == []


@pytest.mark.parametrize("given", ["text/csv", "application/json; charset=euc-kr", ""])
async def test_another_type_is_refused_naming_what_is_taken(
    client: httpx.AsyncClient, intake: MemoryIntake, given: str
) -> None:
    answer = await client.post("/push/a", content=b"a\n1\n", headers={"content-type": given} if given else {})
    assert answer.status_code == 415
    assert answer.headers["accept-post"] == "application/json"
    assert "application/json" in answer.json()["detail"]
    assert intake.rejected == {"unsupported_type": 1}


async def test_a_type_with_parameters_is_the_same_type(client: httpx.AsyncClient) -> None:
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    assert (await client.post("/push/a", content=b'{"a":1}', headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("codec", "media", "body", "stored"),
    [
        ("csv", "text/csv", b"a,b\n1,2\n3,4\n", 4),
        ("ngsi_ld", "application/ld+json", b'[{"id":"urn:a:1","x":1},{"id":"urn:a:2","x":{"value":2}}]', 2),
    ],
)
async def test_csv_and_ngsi_ld_batches_are_taken_by_links_that_say_so(
    context: AdapterContext, intake: MemoryIntake, codec: str, media: str, body: bytes, stored: int
) -> None:
    intake.codec = registry.create("codec", codec)({})
    adapter = create({"port": 0, "accepts": [media]}, context)
    await adapter.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{adapter.port}", auth=("gw", "s3cret")) as client:
        answer = await client.post("/push/a", content=body, headers={"content-type": media})
    await adapter.stop()
    assert answer.json() == {"stored": stored, "quarantined": 0}


async def test_gzip_is_taken_and_a_bomb_is_not(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    packed = gzip.compress(b'{"a": 1}')
    assert (await client.post("/push/a", content=packed, headers=headers)).status_code == 200
    assert intake.messages[0].payload == b'{"a": 1}'
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < 10_000
    assert (await client.post("/push/a", content=bomb, headers=headers)).status_code == 413
    assert (await client.post("/push/a", content=packed[:-4], headers=headers)).status_code == 400
    assert (await client.post("/push/a", content=b"no gzip", headers=headers)).status_code == 400
    headers["content-encoding"] = "br"
    assert (await client.post("/push/a", content=packed, headers=headers)).status_code == 415


async def _pieces(count: int, pause_s: float = 0) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1_000
        await asyncio.sleep(pause_s)


async def test_too_large_a_body_is_refused_announced_or_not(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    headers = {"content-type": "application/json"}
    assert (await client.post("/push/a", content=b" " * 10_001, headers=headers)).status_code == 413
    assert (await client.post("/push/a", content=_pieces(20), headers=headers)).status_code == 413
    assert intake.rejected == {"too_large": 2}


async def test_a_body_that_does_not_come_is_not_waited_for(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    answer = await client.post("/push/a", content=_pieces(5, 0.2), headers={"content-type": "application/json"})
    assert answer.status_code == 408
    assert intake.rejected == {"too_slow": 1}


async def test_an_empty_body_is_a_mistake(client: httpx.AsyncClient) -> None:
    assert (await client.post("/push/a", content=b" ", headers={"content-type": "application/json"})).status_code == 400


async def test_other_paths_and_methods_say_where_to_go(client: httpx.AsyncClient) -> None:
    assert "POST to /push/" in (await client.post("/pull/a", json={})).json()["detail"]
    answer = await client.get("/push/a")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_more_at_once_than_the_limit_is_told_to_come_back(
    client: httpx.AsyncClient, intake: MemoryIntake, adapter: HttpPushAdapter
) -> None:
    intake.open.clear()
    waiting = [asyncio.create_task(client.post("/push/a", json={"a": 1})) for _ in range(3)]
    await until(lambda: adapter.health()["in_flight"] == 3)
    busy = await client.post("/push/a", json={"a": 1})
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "2")
    intake.open.set()
    assert [one.status_code for one in await asyncio.gather(*waiting)] == [200] * 3
    assert intake.rejected == {"busy": 1}
    assert len(intake.messages) == 3


async def test_bodies_beyond_what_may_be_in_memory_are_told_to_come_back_announced_or_not(
    context: AdapterContext, intake: MemoryIntake
) -> None:
    adapter = create({**SETTINGS, "in_flight_bytes_max": 10_500}, context)
    await adapter.start()

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"a": 1}'

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{adapter.port}", auth=("gw", "s3cret")) as client:
        intake.open.clear()
        waiting = asyncio.create_task(client.post("/push/a", json={"a": "x" * 900}))
        await until(lambda: adapter.health()["in_flight"] == 1)
        typed = {"content-type": "application/json"}
        busy = [
            await client.post("/push/a", json={"a": "x" * 9_700}),
            await client.post("/push/a", content=pieces(), headers=typed),
            await client.post("/push/a", content=gzip.compress(b"{}"), headers={**typed, "content-encoding": "gzip"}),
        ]
        assert [(one.status_code, one.headers["retry-after"]) for one in busy] == [(429, "2")] * 3
        small = asyncio.create_task(client.post("/push/a", json={"a": 1}))
        await until(lambda: adapter.health()["in_flight"] == 2)
        intake.open.set()
        assert [(await one).status_code for one in (waiting, small)] == [200, 200]
        assert (await client.post("/push/a", content=pieces(), headers=typed)).status_code == 200
        assert (adapter.health()["in_flight_bytes"], adapter.health()["busy"]) == (0, 3)
    await adapter.stop()


async def test_while_the_log_is_away_the_sender_is_told_so(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    intake.failure = Unavailable("the log is away")
    answer = await client.post("/push/a", json={"a": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_refused_message_is_told_to_its_sender(client: httpx.AsyncClient, intake: MemoryIntake) -> None:
    intake.refuse = "device shut out"
    answer = await client.post("/push/a", json={"a": 1})
    assert (answer.status_code, answer.json()["detail"]) == (422, "device shut out")
    assert intake.rejected == {}  # ingest has counted it


async def test_a_request_sent_again_under_its_key_is_stored_once(
    client: httpx.AsyncClient, intake: MemoryIntake
) -> None:
    headers = {"idempotency-key": "k1"}
    first = await client.post("/push/a", json={"a": 1}, headers=headers)
    again = await client.post("/push/a", json={"a": 1}, headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert len(intake.messages) == 1
    assert (await client.post("/push/a", json={"a": 2}, headers=headers)).status_code == 422
    intake.failure = Unavailable("away")
    headers = {"idempotency-key": "k2"}
    assert (await client.post("/push/a", json={"a": 1}, headers=headers)).status_code == 503
    intake.failure = None
    assert (
        await client.post("/push/a", json={"a": 1}, headers=headers)
    ).status_code == 200  # a failure is not remembered


async def test_a_key_whose_first_request_is_under_way_is_a_conflict(
    client: httpx.AsyncClient, intake: MemoryIntake, adapter: HttpPushAdapter
) -> None:
    intake.open.clear()
    headers = {"idempotency-key": "k"}
    first = asyncio.create_task(client.post("/push/a", json={"a": 1}, headers=headers))
    await until(lambda: adapter.health()["in_flight"] == 1)
    assert (await client.post("/push/a", json={"a": 1}, headers=headers)).status_code == 409
    intake.open.set()
    assert (await first).status_code == 200


def test_keys_are_forgotten_after_their_time_and_beyond_their_number() -> None:
    now = [0.0]
    repeats = Repeats(10, 2, lambda: now[0])
    for key in ("a", "b"):
        assert repeats.begin("gw", key, b"") is None
        repeats.end("gw", key, (200, b""))
    assert repeats.begin("gw", "b", b"") == (200, b"")
    assert repeats.begin("gw", "c", b"") is None  # "a" made room
    now[0] = 11
    assert repeats.begin("gw", "b", b"") is None
    with pytest.raises(InvalidData):
        repeats.begin("gw", "k" * 300, b"")


async def test_start_and_stop_twice_are_once_and_what_is_under_way_is_answered(
    context: AdapterContext, intake: MemoryIntake
) -> None:
    adapter = create({"port": 0}, context)
    await adapter.start()
    await adapter.start()
    port = adapter.port
    intake.open.clear()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=("gw", "s3cret")) as client:
        asked = asyncio.create_task(client.post("/push/a", json={"a": 1}))
        await until(lambda: adapter.health()["in_flight"] == 1)
        stopping = asyncio.create_task(adapter.stop())
        await asyncio.sleep(0.05)
        intake.open.set()
        assert (await asked).status_code == 200
        await stopping
        await adapter.stop()
        with pytest.raises(httpx.ConnectError):
            await client.post("/push/a", json={"a": 1})


async def test_a_port_in_use_is_unavailable_and_says_so(adapter: HttpPushAdapter, context: AdapterContext) -> None:
    with pytest.raises(Unavailable, match="port"):
        await create({"port": adapter.port}, context).start()


@pytest.mark.parametrize(
    "settings",
    [
        {"port": -1},
        {"hots": "x"},
        {"host": ""},
        {"accepts": "text/csv"},
        {"accepts": []},
        {"accepts": ["Text/CSV"]},
        {"body_s": True},
        {"tls_key": "x.pem"},
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        create(settings, context)


async def test_an_unusable_certificate_or_address_is_a_wrong_setting(context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match="tls_cert"):
        await create({"port": 0, "tls_cert": "/nowhere.pem", "tls_key": "/nowhere.pem"}, context).start()
    with pytest.raises(InvalidSettings, match="host"):
        await create({"host": "203.0.113.1", "port": 0}, context).start()


def test_the_manifest_names_codecs_that_exist() -> None:
    assert set(registry.manifest("adapter", "http_push")["codecs"]) <= set(registry.names("codec"))
