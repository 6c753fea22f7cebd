"""The virtual gateway against a real broker (mosquitto): delivery, a broker that goes away and comes back, refusal."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from haechi_testbed.devices.mqtt import Gateway

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed; apt-get install mosquitto"),
]


class Broker:
    """mosquitto on a free port; `secret` empty: anyone may come in."""

    def __init__(self, folder: Path, secret: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._file = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "max_queued_messages 0",
            f"allow_anonymous {str(not secret).lower()}",
        ]
        if secret:
            users = folder / "users"
            users.touch(mode=0o600)
            subprocess.run(["mosquitto_passwd", "-b", str(users), "GW-01", secret], check=True, capture_output=True)
            lines += [f"password_file {users}", f"user {users.owner()}"]
        self._file.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Listener:
    """Subscribes to everything and keeps it."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda client, data, message: self.heard.append((message.topic, message.payload))
        self._client.on_connect = lambda client, *more: client.subscribe("city/#", qos=1)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _until(holds: object, wait_s: float = 15.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path)
    yield one
    one.stop()


def test_what_a_gateway_is_given_arrives_on_its_topic_and_is_acknowledged(broker: Broker) -> None:
    listener = Listener(broker.port)
    time.sleep(0.3)
    gateway = Gateway("GW-01", "secret", "127.0.0.1", broker.port)
    gateway.start()
    gateway.send("WP-001", {"ts": "2026-11-22T00:00:00Z", "pressure": 4.12})
    _until(lambda: listener.heard)
    assert gateway.stop(5.0) == 0
    listener.stop()
    topic, payload = listener.heard[0]
    assert topic == "city/GW-01/WP-001"
    assert json.loads(payload) == {"ts": "2026-11-22T00:00:00Z", "pressure": 4.12}


def test_nothing_is_lost_while_the_broker_is_away(broker: Broker) -> None:
    gateway = Gateway("GW-01", "secret", "127.0.0.1", broker.port)
    gateway.start()
    gateway.send("WP-001", {"n": 0})
    _until(lambda: gateway.acknowledged == 1)
    broker.stop()
    for number in range(1, 201):
        gateway.send("WP-001", {"n": number})
    assert gateway.acknowledged == 1
    broker.start()
    _until(lambda: gateway.acknowledged == 201, 30.0)
    assert gateway.stop(5.0) == 0


def test_a_gateway_that_lost_its_network_sends_what_waited_when_it_is_back(broker: Broker) -> None:
    gateway = Gateway("GW-01", "secret", "127.0.0.1", broker.port)
    gateway.start()
    gateway.send("WP-001", {"n": 0})
    _until(lambda: gateway.acknowledged == 1)
    gateway.go_offline()
    gateway.send("WP-001", {"n": 1})
    assert gateway.acknowledged == 1
    gateway.start()
    _until(lambda: gateway.acknowledged == 2)
    assert gateway.stop(5.0) == 0


def test_what_was_never_acknowledged_is_counted(broker: Broker) -> None:
    broker.stop()
    gateway = Gateway("GW-01", "secret", "127.0.0.1", broker.port)
    gateway.start()
    gateway.send("WP-001", {"n": 0})
    assert gateway.stop(0.2) == 1
    broker.start()


def test_wrong_credentials_are_noticed(tmp_path: Path) -> None:
    broker = Broker(tmp_path, secret="right")
    gateway = Gateway("GW-01", "wrong", "127.0.0.1", broker.port)
    gateway.start()
    _until(lambda: gateway.refused)
    gateway.stop(0.1)
    broker.stop()
    assert "auth" in gateway.refused.lower()
