"""A virtual gateway: paho-mqtt with credentials, QoS 1, reconnect and resend. Used by the runner, one per gateway."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

QUEUE_MAX = 200_000  # messages kept while the broker is away
INFLIGHT_MAX = 500


class Gateway:
    """One connection. What it was given and what the broker acknowledged are counted, so that a run can be balanced."""

    def __init__(self, device: str, secret: str, host: str, port: int) -> None:
        """`device` is user name and client id; nothing is opened before `start`."""
        self.device, self._host, self._port = device, host, port
        self.refused = ""
        self.sent = self.acknowledged = 0
        self._offline = False
        self._empty = threading.Condition()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, clean_session=False, protocol=paho.MQTTv311)
        client.username_pw_set(device, secret)
        client.max_inflight_messages_set(INFLIGHT_MAX)
        client.max_queued_messages_set(QUEUE_MAX)
        client.reconnect_delay_set(1, 10)
        client.on_connect, client.on_publish = self._on_connect, self._on_publish
        self._client = client

    def start(self) -> None:
        """Begins to connect; a broker that is not there yet is tried again."""
        self._client.connect_async(self._host, self._port, keepalive=30)
        self._client.loop_start()

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.refused = str(reason) if reason.is_failure else ""

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._empty:
            self.acknowledged += 1
            self._empty.notify_all()

    def send(self, channel: str, body: Mapping[str, Any]) -> None:
        """Hands one JSON payload over; it is kept until the broker acknowledged it."""
        payload = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        self._client.publish(f"city/{self.device}/{channel}", payload, qos=1)
        self.sent += 1

    def go_offline(self) -> None:
        """Loses its network; what it is given meanwhile waits."""
        self._offline = True
        self._client.disconnect()

    def come_back(self) -> None:
        """Has its network again and sends what waited, in order."""
        self._offline = False
        self._client.loop_stop()
        self._client.connect_async(self._host, self._port, keepalive=30)
        self._client.loop_start()

    def stop(self, wait_s: float) -> int:
        """Waits until all is acknowledged, at most that long, and closes; returns how many were not."""
        if self._offline:
            self.come_back()
        with self._empty:
            self._empty.wait_for(lambda: self.acknowledged >= self.sent, wait_s)
        self._client.disconnect()
        self._client.loop_stop()
        return self.sent - self.acknowledged
