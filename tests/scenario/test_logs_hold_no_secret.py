"""What the platform writes down while people and devices come, rightly and wrongly, holds none of their secrets."""

import base64
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from haechi.testing.platform import Platform

WRONG = "wr0ng-but-typed-by-somebody"


def status(platform: Platform, path: str, headers: dict[str, str], body: Any = None) -> int:
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(platform.url + path, content, headers), timeout=20
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def connects(platform: Platform, device: str, secret: str) -> bool:
    """Whether the MQTT door lets it in."""
    answers: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "field")
    client.username_pw_set(device, secret)
    client.on_connect = lambda *given: answers.append(not given[3].is_failure)
    client.connect("127.0.0.1", platform.ports["mqtt"], 60)
    client.loop_start()
    platform.wait_for(lambda: answers, 20, "no CONNACK")
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()  # else they are closed when the collector comes by, with a warning
    return answers[0]


def pushes(platform: Platform, secret: str) -> int:
    token = base64.b64encode(f"RTU-2:{secret}".encode()).decode()
    url = f"http://127.0.0.1:{platform.ports['push']}/push/P-2"
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, b'{"pressure": 3.0}', headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def written(platform: Platform) -> str:
    """Everything in the data folder that is a text for people: messages of the roles and of nats-server."""
    files = [file for file in platform.data.rglob("*.log") if file.is_file()]
    return "\n".join(file.read_text("utf-8", "replace") for file in files)


def test_no_secret_is_ever_written_down(tiny_city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAECHI_LOG", "debug")
    monkeypatch.setenv("HAECHI_LOG_FORMAT", "json")
    with Platform(tiny_city, tmp_path / "data") as platform:
        token, session = use(platform)
        text = written(platform)
        secrets = {
            "the first password": platform.password,
            "a session": session,
            "a service token": token,
            "a wrong password": WRONG,
            "a password as a name": WRONG + "-name",
            "RTU-1's secret": platform.secret("RTU-1", "mqtt"),
            "RTU-2's secret": platform.secret("RTU-2", "push"),
            "the log's token": json.loads((platform.data / "run" / "run.json").read_text())["log"]["token"],
        }
        for key, secret in list(secrets.items()):
            secrets[f"{key}, in base64"] = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
        assert {name for name, secret in secrets.items() if secret in text} == set()
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        told = {one["event"] for one in events}
        assert {"role_ready", "login", "login_refused", "device_refused", "adapter_started"} <= told
        refused = [one["device"] for one in events if one["event"] == "device_refused"]
        assert refused.count("RTU-1") == 1, "once, not thrice"
        assert {one["user"] for one in events if one["event"] == "login_refused"} == {"admin", "unknown"}


def use(platform: Platform) -> tuple[str, str]:
    """People, programs and devices, each rightly and wrongly; the service token and the session."""
    login = {"user": platform.user, "password": platform.password}
    session = str(platform.request("POST", "/api/login", login)["token"])
    assert status(platform, "/api/login", {}, {"user": "admin", "password": WRONG}) == 401
    assert status(platform, "/api/login", {}, {"user": WRONG + "-name", "password": "x"}) == 401
    made = platform.command("token", "create", "prometheus", "--data", str(platform.data)).stdout
    token = re.search(r"haechi_\S+", made)
    assert token, made
    assert status(platform, "/metrics", {"Authorization": f"Bearer {token[0]}"}) == 200
    assert status(platform, "/api/alarms", {"Authorization": f"Bearer {token[0]}"}) == 403
    assert status(platform, "/metrics", {"Authorization": f"Bearer {WRONG}"}) == 401
    assert connects(platform, "RTU-1", platform.secret("RTU-1", "mqtt"))
    for _ in range(3):
        assert not connects(platform, "RTU-1", WRONG)
    assert not connects(platform, WRONG + "-name", "x")
    assert pushes(platform, platform.secret("RTU-2", "push")) < 300
    assert pushes(platform, WRONG) == 401
    assert platform.command("token", "revoke", "prometheus", "--data", str(platform.data)).returncode == 0
    assert status(platform, "/metrics", {"Authorization": f"Bearer {token[0]}"}) == 401
    return token[0], session
