"""What `score` asks of a platform, against a small server written here; and that the testbed imports nothing of it."""

import ast
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from haechi_testbed import api

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
ONCE = {"id": "1-a", "rule": "water.inflow_jump", "entity": "urn:x", "raised_at": "2026-11-22T00:00:10Z", "count": 1}
TWICE = {"id": "2-b", "rule": "water.pressure_drop", "entity": "urn:y", "raised_at": "2026-11-22T00:00:20Z", "count": 2}
MOVES = [
    {"at": "2026-11-22T00:00:20Z", "from": "normal", "to": "unacknowledged"},
    {"at": "2026-11-22T00:05:00Z", "from": "unacknowledged", "to": "returned_unacknowledged"},
    {"at": "2026-11-22T01:00:00Z", "from": "returned_unacknowledged", "to": "unacknowledged"},
    {"at": "2026-11-22T01:01:00Z", "from": "acknowledged", "to": "unacknowledged"},
]


class Handler(BaseHTTPRequestHandler):
    """Answers as docs/reference/console-api.md says."""

    def _answer(self, status: int, body: Any) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = given == {"user": "admin", "password": "right"}
        self._answer(
            200 if good else 401, {"token": "t1"} if good else {"error": "Refused", "detail": "wrong password"}
        )

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer t1"
        if self.path == "/api/city":
            self._answer(200, {"now": "2026-11-22T00:00:00.500Z"})
        elif self.path.startswith("/api/alarms/2-b"):
            self._answer(200, {**TWICE, "transitions": MOVES})
        elif "state=active" in self.path:
            self._answer(200, {"alarms": [TWICE]})
        else:
            self._answer(200, {"alarms": [ONCE, TWICE] if "state=history" in self.path else []})

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_raising_of_an_alarm_counts_once(url: str) -> None:
    found = api.alarms(api.Account(url, "admin", "right"))
    assert [(one["id"], one["raised_at"]) for one in found] == [
        ("1-a", "2026-11-22T00:00:10Z"),
        ("2-b", "2026-11-22T00:00:20Z"),
        ("2-b", "2026-11-22T01:00:00Z"),
    ]


def test_the_platforms_clock_is_read(url: str) -> None:
    assert api.now_us(api.Account(url, "admin", "right")) == 1_795_305_600_500_000


def test_a_refused_login_says_so(url: str) -> None:
    with pytest.raises(api.NotAnswered, match=r"401.*wrong password"):
        api.alarms(api.Account(url, "admin", "wrong"))


def test_a_platform_that_is_not_there_says_what_to_start() -> None:
    with pytest.raises(api.NotAnswered, match="is `haechi run` up"):
        api.now_us(api.Account("http://127.0.0.1:9", "admin", "right"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_the_testbed_reaches_the_platform_over_the_wire_only(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name == "haechi" or name.startswith("haechi.") for name in names)
