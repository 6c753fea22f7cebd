"""The devices of a fault run: MQTT QoS 1 and HTTP push over several connections, and what each was acknowledged."""

import base64
import contextlib
import http.client
import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from fault_checks import Row
from fault_city import attribute_of, entity_of
from fault_plan import DEVICES, Send
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from haechi.testing.platform import Platform

GIVE_UP_S = 40.0  # after the last message: whoever is not acknowledged by then stays in doubt
PUSH_TIMEOUT_S = 6.0
PADDING = 20_000
RESEND_S = 0.3


@dataclass(slots=True)
class Timeline:
    """The run's own time in seconds. It stands still while everything is started again, else faults would pile up."""

    begun: float

    def now(self) -> float:
        return time.monotonic() - self.begun

    def wait(self, at_ms: int) -> None:
        """Until this instant of the run."""
        while (left := at_ms / 1000 - self.now()) > 0:
            time.sleep(min(left, 0.1))

    def stood_still(self, seconds: float) -> None:
        """That long nothing was due."""
        self.begun += max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class Stage:
    """What every sender of a run shares. `zero_ms` is the wall clock at the run's beginning in whole seconds."""

    platform: Platform
    zero_ms: int
    time: Timeline

    def wait(self, at_ms: int) -> None:
        """Until this instant of the run."""
        self.time.wait(at_ms)

    def payload(self, send: Send) -> str:
        """What travels. A malformed one is unlike any other, so that it can be found in quarantine."""
        ts = self.zero_ms + send.offset_ms
        if send.shape == "malformed":
            return f'{{"pressure": {send.value}, "ts": {ts}, "{send.series}'
        padding = PADDING if send.series == "P-3" else 0  # long ones, for subscribers that do not read
        return json.dumps({"pressure": send.value, "ts": ts}) + " " * padding

    def row(self, send: Send) -> Row:
        """The observation as history must show it."""
        return Row(
            entity_of(send.series), attribute_of(send.series), (self.zero_ms + send.offset_ms) * 1000, send.value
        )


class Sender(threading.Thread):
    """One connection of one device; `sent` what it began to send whole, `acknowledged` what the platform took."""

    def __init__(self, stage: Stage, sends: Sequence[Send]) -> None:
        super().__init__(name=f"sender-{sends[0].connection}", daemon=True)
        self.stage, self.sends = stage, sends
        self.sent: list[Send] = []
        self.acknowledged: list[Send] = []
        self.acknowledged_at: dict[Send, float] = {}  # monotonic; where the sender notes it
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.send_all()
        except Exception as error:  # shown by the run as its failure
            self.error = error

    def send_all(self) -> None:
        raise NotImplementedError


class MqttSender(Sender):
    """paho keeps what was not acknowledged and sends it again after each reconnect, with DUP set.

    Nothing new is handed to it before that: it would overtake what is sent again by as long as the platform was away.
    """

    def send_all(self) -> None:
        device = DEVICES[self.sends[0].series]
        acknowledged: dict[int, float] = {}
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"{device}-{self.sends[0].connection}", clean_session=False)
        client.username_pw_set(device, self.stage.platform.secret(device, "mqtt"))
        client.reconnect_delay_set(1, 2)

        def stored(_: object, __: object, mid: int, reason: ReasonCode, ___: object) -> None:
            if not reason.is_failure:
                acknowledged[mid] = time.monotonic()

        good_from = [math.inf]

        def connected(*_: object) -> None:
            good_from[0] = time.monotonic() + RESEND_S

        def lost(*_: object) -> None:
            good_from[0] = math.inf

        client.on_publish, client.on_connect, client.on_disconnect = stored, connected, lost
        client.connect_async("127.0.0.1", self.stage.platform.ports["mqtt"], keepalive=10)
        client.loop_start()
        numbers: dict[int, Send] = {}
        try:
            for send in self.sends:
                self.stage.wait(send.at_ms)
                end = time.monotonic() + GIVE_UP_S
                while time.monotonic() < min(good_from[0], end):
                    time.sleep(0.02)
                self.sent.append(send)
                numbers[client.publish(f"city/{device}/{send.series}", self.stage.payload(send), qos=1).mid] = send
            end = time.monotonic() + GIVE_UP_S
            while len(acknowledged) < len(numbers) and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            client.disconnect()
            client.loop_stop()
        self.acknowledged = [numbers[mid] for mid in acknowledged]
        self.acknowledged_at = {numbers[mid]: at for mid, at in acknowledged.items()}


class PushSender(Sender):
    """One request after the other; what was not answered is sent again, now and then with an Idempotency-Key."""

    def send_all(self) -> None:
        for number, send in enumerate(self.sends):
            self.stage.wait(send.at_ms)
            self.sent.append(send)
            end = time.monotonic() + GIVE_UP_S
            key = f"{send.series}-{number}" if number % 2 else ""
            while not (taken := self._post(send, key)) and time.monotonic() < end:
                time.sleep(0.3)
            if taken:
                self.acknowledged.append(send)

    def _post(self, send: Send, key: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return post(self.stage, send, self.stage.payload(send).encode(), key=key) in (200, 202)
        return False


def post(stage: Stage, send: Send, body: bytes, *, secret: str | None = None, key: str = "") -> int:
    """One request; the status. `OSError` or `HTTPException` when there was no answer."""
    device = DEVICES.get(send.series, "RTU-2")
    password = stage.platform.secret(device, "push") if secret is None else secret
    token = base64.b64encode(f"{device}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", stage.platform.ports["push"], timeout=PUSH_TIMEOUT_S)
    try:
        connection.request(
            "POST", f"/push/{send.series}", body, {**headers, **({"Idempotency-Key": key} if key else {})}
        )
        return connection.getresponse().status
    finally:
        connection.close()
