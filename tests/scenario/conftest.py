"""A whole platform on the small test city, started as a user starts it."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "cities" / "tiny"


@pytest.fixture
def tiny_city(tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


@pytest.fixture
def platform(tiny_city: Path, tmp_path: Path) -> Iterator[Platform]:
    with Platform(tiny_city, tmp_path / "data") as running:
        yield running


@pytest.fixture
def notified() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where notifications may be sent, and those that came."""
    came: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to print."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/notify", came
    server.shutdown()
    server.server_close()
