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
        self.device, self._secret, self._host, self._port = device, secret, host, port
        self.refused = ""
        self.sent = 0
        self._waiting: dict[int, tuple[str, str]] = {}  # by message id: topic and payload
        self._early: set[int] = set()  # acknowledged before `publish` returned
        self._changed = threading.Condition()
        self._client: paho.Client | None = None
        self._kept: list[tuple[str, str]] = []  # given while there was no network

    @property
    def acknowledged(self) -> int:
        """How many the broker has taken."""
        return self.sent - len(self._waiting) - len(self._kept)

    def start(self) -> None:
        """Begins to connect; a broker that is not there yet is tried again."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self.device, clean_session=False, protocol=paho.MQTTv311
        )
        client.username_pw_set(self.device, self._secret)
        client.max_inflight_messages_set(INFLIGHT_MAX)
        client.max_queued_messages_set(QUEUE_MAX)
        client.reconnect_delay_set(1, 10)
        client.on_connect, client.on_publish = self._on_connect, self._on_publish
        client.connect_async(self._host, self._port, keepalive=30)
        self._client = client
        kept, self._kept = self._kept, []
        for topic, payload in kept:
            self._publish(topic, payload)
        client.loop_start()

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.refused = str(reason) if reason.is_failure else ""

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._changed:
            if self._waiting.pop(mid, None) is None:
                self._early.add(mid)
            self._changed.notify_all()

    def send(self, channel: str, body: Mapping[str, Any]) -> None:
        """Hands one JSON payload over; it is kept until the broker acknowledged it."""
        payload = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        self.sent += 1
        self._publish(f"city/{self.device}/{channel}", payload)

    def _publish(self, topic: str, payload: str) -> None:
        if self._client is None:
            self._kept.append((topic, payload))
            return
        mid = self._client.publish(topic, payload, qos=1).mid  # not under our lock: paho answers under its own
        with self._changed:
            if mid in self._early:
                self._early.discard(mid)
            else:
                self._waiting[mid] = (topic, payload)

    def go_offline(self) -> None:
        """Loses its network without a word; what is not acknowledged is sent again by the next `start`."""
        client, self._client = self._client, None
        if client is None:
            return
        client.loop_stop()
        line = client.socket()
        if line is not None:
            line.close()
        with self._changed:
            self._kept = [*self._waiting.values(), *self._kept]
            self._waiting.clear()
            self._early.clear()

    def stop(self, wait_s: float) -> int:
        """Waits until all is acknowledged, at most that long, and closes; returns how many were not."""
        if self._client is None:
            self.start()
        assert self._client is not None
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, wait_s)
        self._client.disconnect()
        self._client.loop_stop()
        return len(self._waiting)
