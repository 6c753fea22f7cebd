"""Senders nobody may believe: messages cut off half way, wrong secrets. What they say must never be anywhere."""

import base64
import contextlib
import http.client
import socket
import struct

from fault_plan import DEVICES, DOORS, Send
from fault_senders import Sender, Stage, post


class Rogue(Sender):
    """One connection for each message; nothing of it counts as sent."""

    def send_all(self) -> None:
        for send in self.sends:
            self.stage.wait(send.at_ms)
            with contextlib.suppress(OSError, http.client.HTTPException):  # the platform may be away: nothing is lost
                _ACTS[DOORS[send.series], send.shape](self.stage, send)


def _half_mqtt(stage: Stage, send: Send) -> None:
    """CONNECT, then a PUBLISH that says it is longer than what comes (MQTT 3.1.1, 2.2.3)."""
    device = DEVICES[send.series]
    with _dial(stage, "mqtt") as peer:
        peer.sendall(_connect(device, stage.platform.secret(device, "mqtt")))
        peer.recv(4)
        packet = _publish(f"city/{device}/{send.series}", stage.payload(send).encode())
        peer.sendall(packet[: len(packet) - 3])


def _wrong_mqtt(stage: Stage, send: Send) -> None:
    """A wrong secret, and a PUBLISH that does not wait for the answer."""
    device = DEVICES[send.series]
    with _dial(stage, "mqtt") as peer:
        body = _publish(f"city/{device}/{send.series}", stage.payload(send).encode())
        peer.sendall(_connect(device, "wrong") + body)
        peer.recv(64)


def _half_push(stage: Stage, send: Send) -> None:
    device = DEVICES[send.series]
    token = base64.b64encode(f"{device}:{stage.platform.secret(device, 'push')}".encode()).decode()
    body = stage.payload(send).encode()
    head = f"POST /push/{send.series} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    with _dial(stage, "push") as peer:
        peer.sendall(head.encode() + body)


def _wrong_push(stage: Stage, send: Send) -> None:
    post(stage, send, stage.payload(send).encode(), secret="wrong")


_ACTS = {
    ("mqtt", "half"): _half_mqtt,
    ("mqtt", "wrong_secret"): _wrong_mqtt,
    ("push", "half"): _half_push,
    ("push", "wrong_secret"): _wrong_push,
}


def _dial(stage: Stage, link: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stage.platform.ports[link]), timeout=2)


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 16_384, "two bytes of remaining length are enough here"
    low, high = len(body) % 128, len(body) // 128
    return bytes([kind, *([low | 128, high] if high else [low])]) + body


def _connect(device: str, secret: str) -> bytes:
    body = _text("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 30) + _text(f"{device}-rogue") + _text(device)
    return _packet(0x10, body + _text(secret))


def _publish(topic: str, payload: bytes) -> bytes:
    return _packet(0x32, _text(topic) + struct.pack("!H", 7) + payload)
