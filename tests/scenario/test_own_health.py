"""The platform says how it is: to Prometheus, to the console, and when one of its own processes hangs."""

import base64
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from exposition import Family, parse
from haechi.testing.platform import Platform

ENTITY = "urn:ngsi-ld:Platform:tiny:self"
ROLES = {"gateway", "pipeline", "api"}
PROCESSES = ROLES | {"supervisor", "nats-server"}


def scraped(platform: Platform, token: str) -> Mapping[str, Family]:
    request = urllib.request.Request(platform.url + "/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return parse(answer.read().decode())


def pushed(platform: Platform, content: bytes) -> None:
    token = base64.b64encode(f"RTU-2:{platform.secret('RTU-2', 'push')}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{platform.ports['push']}/push/P-2"
    with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=10) as answer:
        assert 200 <= answer.status < 300


def held(platform: Platform, token: str) -> float:
    """Samples of the push link in quarantine; the family is absent until the account has its first line."""
    found = scraped(platform, token).get("haechi_in_quarantine")
    return found.samples.get((("link", "push"),), 0.0) if found else 0.0


def test_prometheus_reads_the_platform_and_a_hanging_gateway_is_named(platform: Platform) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(platform.url + "/metrics", timeout=10)
    with refused.value as answer:
        assert answer.code == 401
    made = platform.command("token", "create", "prometheus", "--data", str(platform.data)).stdout
    token = next(word for word in made.split() if word.startswith("haechi_"))
    platform.request("GET", "/api/me")  # logs the platform's own client in

    def speaking() -> set[str]:
        return {dict(labels)["role"] for labels in scraped(platform, token)["haechi_role_silent_seconds"].samples}

    platform.wait_for(lambda: speaking() == ROLES, 10, "not every role said how it is")
    pushed(platform, b'{"pressure": 3.0}')
    pushed(platform, b'{"pressure": 3.0, "druck": 4.0}')
    platform.wait_for(lambda: held(platform, token) == 1, 10, "it is not in quarantine")
    found = scraped(platform, token)
    for role in PROCESSES:
        assert 5e6 < found["haechi_process_resident_memory_bytes"].at(role=role) < 1e9
        assert found["haechi_process_cpu_seconds_total"].at(role=role) > 0.01
    assert found["haechi_log_last_seq"].at() >= 1 and found["haechi_log_bytes"].at() > 0
    assert found["haechi_log_max_bytes"].at() == 20 * 2**30 and found["haechi_history_upkeep_stuck_seconds"].at() < 60
    assert found["haechi_disk_free_bytes"].at() > 1e6
    assert found["haechi_received_total"].at(link="push") == 3
    assert found["haechi_stored_total"].at(link="push") == 2
    assert found["haechi_in_quarantine"].at(link="push") == 1 and found["haechi_missing"].at(link="push") == 0
    assert found["haechi_link"].at(link="mqtt", figure="connections") == 0
    assert found["haechi_live_clients"].at() == 0
    assert found["haechi_alarms_active"].at(level="serious") == 0

    assert platform.request("GET", "/health")["status"] == "ok"
    gateway = platform.pids()["gateway"]
    os.kill(gateway, signal.SIGSTOP)
    try:
        hurt = platform.wait_for(
            lambda: (one := platform.request("GET", "/health"))["status"] == "degraded" and one, 20, "nobody noticed"
        )
        assert set(hurt["checks"]["problems"]) == {"gateway"}
        assert scraped(platform, token)["haechi_problem"].at(check="gateway") == 1
    finally:
        os.kill(gateway, signal.SIGCONT)
    platform.wait_for(lambda: platform.request("GET", "/health")["status"] == "ok", 10, "it did not come back")


@pytest.fixture
def watched(tiny_city: Path, tmp_path: Path) -> Iterator[Platform]:
    """The small city with the domain that watches the platform."""
    described = tiny_city / "city.toml"
    described.write_text(described.read_text().replace('["water", "air"]', '["water", "air", "platform"]'))
    with Platform(tiny_city, tmp_path / "data") as running:
        yield running


def test_a_gateway_that_hangs_becomes_an_alarm_that_ends_with_it(watched: Platform) -> None:
    def alarms() -> list[dict[str, Any]]:
        return list(watched.request("GET", "/api/alarms")["alarms"])

    entity = f"/api/entities/{ENTITY}"
    watched.wait_for(lambda: watched.request("GET", "/api/latest?domain=platform")["entity"], 20, "it says nothing")
    assert watched.request("GET", entity)["attributes"]["gatewaySilence"]["value"] < 10
    assert alarms() == []
    gateway = watched.pids()["gateway"]
    os.kill(gateway, signal.SIGSTOP)
    try:
        raised = watched.wait_for(alarms, 40, "no alarm")
    finally:
        os.kill(gateway, signal.SIGCONT)
    assert [(one["rule"], one["level"], one["entity"]) for one in raised] == [("platform.gateway", "alert", ENTITY)]
    assert raised[0]["entity_name"] == {"ko": "통합플랫폼", "zh": "城市平台", "en": "City platform"}
    assert raised[0]["playbook"] == "platform.trouble"
    watched.wait_for(lambda: not alarms()[0]["condition_active"], 30, "the alarm's condition stays")
    account = watched.request("GET", "/api/account")
    assert account["balanced"] and account["links"]["platform"]["stored"] >= 10
