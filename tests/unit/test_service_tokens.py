"""Tokens of programs: shown once, hashed at rest, good for one thing alone, gone when revoked or over."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from haechi.cli import main
from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.faces.guard import Guard
from haechi.faces.http import person_of
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.users.accounts import COLLECTIONS
from haechi.services.users.tokens import PREFIX, Tokens
from haechi.testing.clock import StandingClock


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    store = SqliteRecords(tmp_path / "users.db", COLLECTIONS)
    secrets = iter("abcdefgh")
    yield Tokens(store, StandingClock(), lambda: next(secrets) * 43)
    store.close()


async def test_a_token_stands_for_a_viewer_of_its_scope(tokens: Tokens) -> None:
    token = tokens.create("prometheus", "metrics")
    assert token == PREFIX + "a" * 43
    person = await tokens.who(token)
    assert person and (person.user, person.scope, person.may("viewer"), person.may("operator")) == (
        "token:prometheus", "metrics", True, False
    )  # fmt: skip
    assert await tokens.who(token + "x") is None and await tokens.who(PREFIX) is None


def test_only_a_hash_is_kept(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.create("prometheus", "metrics")
    assert [sorted(one) for one in tokens.all()] == [["created_at", "expires_at", "name", "scope"]]
    dump = "".join(sqlite3.connect(tmp_path / "users.db").iterdump())
    assert "prometheus" in dump and token.removeprefix(PREFIX) not in dump


async def test_a_revoked_token_and_one_that_is_over_open_nothing(tokens: Tokens) -> None:
    first, second = tokens.create("a", "metrics"), tokens.create("b", "metrics", days=2)
    tokens.revoke("a")
    assert await tokens.who(first) is None and await tokens.who(second) is not None
    clock = StandingClock()
    clock.advance(2 * 86_400)
    tokens._clock = clock
    assert await tokens.who(second) is None
    with pytest.raises(NotFound, match="haechi token list"):
        tokens.revoke("a")


@pytest.mark.parametrize("wrong", [{"name": "No Name"}, {"scope": "admin"}, {"days": 0}, {"days": 5000}])
def test_what_cannot_be_a_token_is_refused(tokens: Tokens, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidData):
        tokens.create(**{"name": "prometheus", "scope": "metrics", **wrong})


def test_a_name_is_given_once(tokens: Tokens) -> None:
    tokens.create("prometheus", "metrics")
    with pytest.raises(Conflict, match="revoke it first"):
        tokens.create("prometheus", "metrics")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 403),
        ("GET", "/api/alarms", 403),
        ("POST", "/api/commands", 403),
        ("GET", "/metrics/", 403),
        ("GET", "/health", 403),
    ],
)
async def test_the_guard_lets_it_to_its_own_path_alone(tokens: Tokens, method: str, path: str, status: int) -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(person_of(request).user)

    app = Starlette(routes=[Route("/{any:path}", answer, methods=["GET", "POST"])])
    guarded = Guard(app, tokens.who, lambda method, path: path == "/health")
    token = tokens.create("prometheus", "metrics")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://city") as http:
        found = await http.request(method, path, headers={"Authorization": f"Bearer {token}"})
        assert found.status_code == status, found.text
        assert status == 200 or "for metrics alone" in found.json()["detail"]
        assert (await http.get("/metrics")).status_code == 401


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main(["token", "create", "prometheus", *data]) == 0
    token = next(word for word in capsys.readouterr().out.split() if word.startswith(PREFIX))
    assert len(token) > 40
    file = tmp_path / "grafana.token"
    assert main(["token", "create", "grafana", "--days", "30", "--out", str(file), *data]) == 0
    assert file.read_text().startswith(PREFIX) and file.stat().st_mode & 0o077 == 0
    assert file.read_text() not in capsys.readouterr().out
    assert main(["token", "list", *data]) == 0
    listed = capsys.readouterr().out
    assert "grafana" in listed and "prometheus" in listed and token not in listed
    assert main(["token", "revoke", "grafana", *data]) == 0
    assert main(["token", "revoke", "grafana", *data]) == 2
