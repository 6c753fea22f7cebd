"""An OPC UA server of a plant, encrypted, with a password: its values, its setpoints, and a gateway that is killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform
from opcua_kit import SECURE, Peer, secret, trust

pytestmark = [pytest.mark.peer, pytest.mark.alone]  # the peer samples by timers, which a busy machine lets pass
SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-2"
WORD = "an-Unguessable.secret"
LINK = """\
adapter = "opcua"
codec = "opcua"

[settings]
port = {port}
user = "haechi"
password_file = "password"
publishing_ms = 100.0
sampling_ms = 50.0
queue = 200
reconnect_s = 0.1
reconnect_s_max = 0.5

[[settings.device]]
id = "S-1"

[[settings.node]]
field = "pressure"
node = "nsu=urn:peer:plant;s=Pressure"
writable = true

[[map]]
field = "pressure"
attribute = "pressure"
unit = "BAR"
writable = true
tolerance = 1.0
timeout_s = 10.0
undo = true
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Peer]:
    nodes = [{"id": "Pressure", "type": "Double", "value": 3.0, "writable": True, "sticksAbove": 5.0}]
    with Peer(tmp_path / "peer", **SECURE, nodes=nodes, anonymous=False, users={"haechi": WORD}) as running:
        yield running


@pytest.fixture
def platform(tiny_city: Path, tmp_path: Path, server: Peer) -> Iterator[Platform]:
    (tiny_city / "links" / "push.toml").unlink()
    (tiny_city / "links" / "plant.toml").write_text(LINK.format(port=server.port))
    (tiny_city / "devices.csv").write_text(f"device,channel,link,entity\nS-1,,plant,{SENSOR}\n")
    secret(tmp_path / "data" / "adapters" / "plant", WORD)
    trust(tmp_path / "data" / "adapters" / "plant", server.certificate)
    running = Platform(tiny_city, tmp_path / "data")
    running.ports["plant"] = server.port  # the adapter connects to it
    with running:
        yield running


def pressure(platform: Platform) -> Any:
    return platform.request("GET", f"/api/entities/{SENSOR}")["attributes"].get("pressure", {}).get("value")


def ended(platform: Platform, value: float) -> list[str]:
    body = {"entity": SENSOR, "attribute": "pressure", "value": value, "reason": "leak test"}
    id = platform.request("POST", "/api/commands", body)["id"]

    def over() -> Any:
        shown = platform.request("GET", f"/api/commands/{id}")
        return None if shown["open"] else shown

    return [one["state"] for one in platform.wait_for(over, 40, "the command ends")["steps"]]


def test_setpoints_reach_the_server_and_a_killed_gateway_misses_nothing(platform: Platform, server: Peer) -> None:
    platform.wait_for(lambda: pressure(platform) == 300.0, 40, "the server is subscribed to")

    assert ended(platform, 450.0) == ["requested", "sent", "confirmed", "verified"]
    assert pressure(platform) == 450.0
    # above 5 bar the server acknowledges and forgets
    assert ended(platform, 600.0) == ["requested", "sent", "confirmed", "failed", "undone"]
    assert asyncio.run(server.asked("writes")) == [["Pressure", 4.5], ["Pressure", 6], ["Pressure", 4.5]]

    server.tell("churn", ids=["Pressure"], count=40, everyMs=120)
    for _ in range(2):
        victim = platform.pids()["gateway"]
        platform.kill("gateway")
        platform.wait_for(lambda v=victim: platform.pids().get("gateway", v) != v, 30, "the gateway is started again")
    platform.wait_for(lambda: {"churned": 40} in server.said, 30, "the server counted to forty")
    platform.wait_for(lambda: pressure(platform) == 4_000.0, 40, "the newest value is here")

    query = f"/api/history?entity={SENSOR}&attribute=pressure&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
    values = platform.request("GET", query)["columns"]["value"]
    assert values[-40:] == pytest.approx([100.0 * one for one in range(1, 41)]), "each once, in order"
    assert WORD not in (platform.data / "platform.log").read_text()
