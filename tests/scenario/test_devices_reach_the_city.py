"""Devices send through real clients; what they send is on the operator's interface, in history, in the account, or
refused."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform

SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-1"
SECOND = "urn:ngsi-ld:WaterPressureSensor:tiny:P-2"
needs_mosquitto = pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto-clients is not installed")


def publish(platform: Platform, payload: str, secret: str | None = None, topic: str = "city/RTU-1/P-1") -> int:
    command = [
        "mosquitto_pub",
        "-h",
        "127.0.0.1",
        "-p",
        str(platform.ports["mqtt"]),
        "-q",
        "1",
        "-t",
        topic,
        "-m",
        payload,
    ]
    password = platform.secret("RTU-1", "mqtt") if secret is None else secret
    return subprocess.run(
        [*command, "-u", "RTU-1", "-P", password], check=False, timeout=20, capture_output=True
    ).returncode


def attribute(platform: Platform, entity: str = SENSOR) -> dict[str, Any]:
    found: dict[str, Any] = platform.request("GET", f"/api/entities/{entity}")["attributes"].get("pressure", {})
    return found


def values(platform: Platform, entity: str = SENSOR) -> list[float]:
    query = f"/api/history?entity={entity}&attribute=pressure&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
    found: list[float] = platform.request("GET", query)["columns"]["value"]
    return found


def link(platform: Platform, name: str = "mqtt") -> dict[str, Any]:
    found: dict[str, Any] = platform.request("GET", "/api/account")["links"].get(name, {})
    return found


@needs_mosquitto
def test_a_value_sent_by_mosquitto_is_the_value_shown_and_remembered(platform: Platform) -> None:
    assert publish(platform, '{"pressure": 412.5}') == 0
    assert values(platform) == [412.5], "acknowledged a moment ago, and in the answer"
    platform.wait_for(lambda: attribute(platform).get("value") == 412.5, 5, "the live model has it too")
    assert platform.wait_for(lambda: link(platform).get("stored", 0) >= 1, 5, "and the account")


@needs_mosquitto
def test_wrong_credentials_and_foreign_topics_are_refused_and_counted(platform: Platform) -> None:
    assert publish(platform, '{"pressure": 1}', secret="wrong") != 0
    publish(platform, '{"pressure": 2}', topic="city/RTU-9/P-1")
    rejected = platform.wait_for(lambda: link(platform).get("rejected"), 10, "refusals are counted")
    assert sum(rejected.values()) >= 1
    assert values(platform) == []
    assert platform.request("GET", "/api/account")["balanced"]


@needs_mosquitto
def test_a_payload_nobody_understands_comes_back_once_the_mapping_is_mended(
    platform: Platform, tiny_city: Path
) -> None:
    assert publish(platform, '{"druck": 398.0}') == 0, "kept, so acknowledged"
    assert publish(platform, "{not json") == 0
    platform.wait_for(lambda: link(platform).get("in_quarantine") == 2, 5, "both are in quarantine")
    listed = platform.command("quarantine", "list", "--data", str(platform.data)).stdout
    assert "unmapped_field" in listed
    assert "malformed" in listed
    shown = platform.command("quarantine", "show", listed.split()[0], "--data", str(platform.data)).stdout
    assert "payload" in shown

    mapping = tiny_city / "links" / "mqtt.toml"
    mapping.write_text(mapping.read_text() + '\n[[map]]\nfield = "druck"\nattribute = "pressure"\nunit = "KPA"\n')
    replayed = platform.command("quarantine", "replay", "--data", str(platform.data))
    assert "1 messages brought back, 1 still in quarantine" in replayed.stdout
    platform.wait_for(lambda: values(platform) == [398.0], 5, "it is in history")
    account = platform.command("account", "--data", str(platform.data))
    assert (account.returncode, "balances" in account.stdout) == (0, True), account.stdout


def push(platform: Platform, body: bytes, secret: str) -> tuple[int, dict[str, Any]]:
    token = base64.b64encode(f"RTU-2:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{platform.ports['push']}/push/P-2"
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_http_push_stores_before_it_answers_and_converts_units(platform: Platform) -> None:
    status, answer = push(platform, b'{"pressure": 4.5}', platform.secret("RTU-2", "push"))
    assert (status, answer["stored"]) == (200, 1)
    assert values(platform, SECOND) == [450.0]
    assert push(platform, b'{"pressure": 4.5}', "wrong")[0] in {401, 403}


@needs_mosquitto
def test_nothing_acknowledged_is_lost_when_every_role_is_killed(platform: Platform) -> None:
    for number, role in enumerate(("pipeline", "api", "gateway", "nats-server"), 1):
        assert publish(platform, json.dumps({"pressure": float(number)})) == 0
        killed = platform.kill(role)
        platform.wait_for(partial(_serves, platform, without=killed), 60, f"{role} comes back")
    assert platform.wait_for(lambda: sorted(values(platform)) == [1.0, 2.0, 3.0, 4.0], 10, str(values(platform)))
    platform.stop()
    account = platform.command("account", "--data", str(platform.data))
    assert account.returncode == 0, account.stdout


def _serves(platform: Platform, without: int) -> bool:
    """`without`: a process that is dead, which the supervisor may not have noticed yet."""
    roles = {"pipeline", "api", "gateway", "nats-server"}
    flags = [platform.data / "run" / f"{one}.ready" for one in roles - {"nats-server"}]
    pids = platform.pids()
    if set(pids) != roles or without in pids.values() or not all(one.exists() for one in flags):
        return False
    try:
        return bool(platform.request("GET", "/health")["status"] == "ok")
    except OSError:
        return False


def test_a_stopped_platform_leaves_no_process_and_no_port(platform: Platform) -> None:
    pids = platform.pids()
    assert set(pids) == {"pipeline", "api", "gateway", "nats-server"}
    platform.stop()
    for pid in pids.values():
        assert not Path(f"/proc/{pid}").exists()
    platform.start()
    assert platform.request("GET", "/health")["status"] in {"ok", "degraded"}


def test_a_broken_city_opens_no_port(tiny_city: Path, tmp_path: Path) -> None:
    (tiny_city / "links" / "mqtt.toml").write_text('adapter = "mqqt"\n')
    platform = Platform(tiny_city, tmp_path / "broken")
    ran = platform.command("run", str(tiny_city), "--data", str(tmp_path / "broken"), "--http", "127.0.0.1:1")
    assert ran.returncode == 2
    assert "mqtt.toml" in ran.stderr
    assert not (tmp_path / "broken").exists()
