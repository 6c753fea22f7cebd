"""Starts a whole platform as a process, on free ports, in a folder of its own; for scenario tests and benchmarks."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable

START_S = 60.0
STOP_S = 90.0  # each role has twenty seconds to finish, one after the other


class Platform:
    """`with Platform(city, data) as platform:` runs a city until the end of the block.

    `ports` maps each link of the city to its port; `url` is the console; `user` and `password` the first login.
    """

    user = "admin"

    def __init__(
        self, city: Path, data: Path, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """`options` follow `haechi run`; `environment` is added to this process' own for it and its children."""
        self.city, self.data = city, data
        self._environment = {**os.environ, **(environment or {})}
        self.ports = {path.stem: free_port() for path in sorted((city / "links").glob("*.toml"))}
        self.http_port = free_port()
        self.password = ""
        self._options = list(options)
        self._process: subprocess.Popen[str] | None = None
        self._token: str | None = None
        self._printed: list[str] = []
        self._file = data / "platform.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def credentials(self) -> Path:
        """The devices' secrets, as `haechi device issue` wrote them."""
        return self.data / "credentials.json"

    def secret(self, device: str, link: str) -> str:
        """The secret of one device."""
        return str(json.loads(self.credentials.read_text("utf-8"))[device][link])

    def __enter__(self) -> "Platform":
        self.data.mkdir(parents=True, exist_ok=True)
        self.command("device", "issue", str(self.city), "--data", str(self.data), "--out", str(self.credentials))
        try:
            self.start()
        except Unavailable:
            self.stop()  # nobody will leave the block, which was never entered
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts, or starts again after `stop` or `kill`; returns when every role serves."""
        settings = [f"--set={link}.port={port}" for link, port in self.ports.items() if _has_port(self.city, link)]
        command = [sys.executable, "-m", "haechi", "run", str(self.city), "--data", str(self.data)]
        command += ["--http", f"127.0.0.1:{self.http_port}", *settings, *self._options]
        with self._file.open("a") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=self._environment
            )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self.wait_for(self._is_up, START_S, f"the platform did not start; see {self._file}")

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._printed.append(line)
                if found := re.search(r"user admin, password (\S+)", line):
                    self.password = found.group(1)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Unavailable(f"the platform stopped with code {self._process.returncode}; see {self._file}")
        return any(line.startswith("  console ") for line in self._printed)

    def stop(self) -> None:
        """Stops as Ctrl-C does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_S)
        self._printed.clear()

    @property
    def pid(self) -> int:
        """Process id of the supervisor, whose children the other processes are."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """Process ids of the children by role, nats-server included."""
        assert self._process is not None
        listing = subprocess.run(  # noqa: S603 - our own children
            ["/bin/ps", "-ww", "-o", "pid=,comm=,args=", "--ppid", str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        found = {}
        for line in listing.splitlines():
            pid, _, command = line.strip().partition(" ")
            role = re.search(r"--role (\w+)", command) or re.match(r"haechi-(\w+)", command.strip())
            found[role.group(1) if role else "nats-server"] = int(pid)
        return found

    def kill(self, role: str) -> int:
        """kill -9 of one role; the supervisor starts it again. The process id, listed until somebody has noticed."""
        pid = self.pids()[role]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_supervisor(self) -> int:
        """kill -9 of the supervisor, whose children end with it; `start` starts everything again. The process id."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._printed.clear()
        return self._process.pid

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs `haechi` with these arguments."""
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "haechi", *arguments], capture_output=True, text=True, check=False
        )

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One HTTP request as the first user; the JSON answer. `urllib.error.HTTPError` when it is not 2xx."""
        headers = {"Content-Type": "application/json"}
        if path != "/api/login":
            headers["Authorization"] = f"Bearer {self.token()}"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def token(self) -> str:
        """The first user's session."""
        if self._token is None:
            login = {"user": self.user, "password": self.password}
            self._token = str(self.request("POST", "/api/login", login)["token"])
        return self._token

    def wait_for(self, found: Callable[[], Any], seconds: float, otherwise: str) -> Any:
        """Asks until the answer is true; `Unavailable` after that many seconds."""
        end = time.monotonic() + seconds
        while True:
            answer = found()
            if answer:
                return answer
            if time.monotonic() > end:
                raise Unavailable(otherwise)
            time.sleep(0.05)


def _has_port(city: Path, link: str) -> bool:
    settings = tomllib.loads((city / "links" / f"{link}.toml").read_text("utf-8")).get("settings", {})
    return "port" in settings
