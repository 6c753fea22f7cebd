"""Senders nobody may believe: messages cut off half way, wrong secrets. What they say must never be anywhere."""

import base64
import contextlib
import http.client
import socket
import struct

from fault_hj212 import frame
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
        peer.sendall(connect(device, stage.platform.secret(device, "mqtt"), f"{device}-rogue"))
        peer.recv(4)
        whole = _publish(f"city/{device}/{send.series}", stage.payload(send).encode())
        peer.sendall(whole[: len(whole) - 3])


def _wrong_mqtt(stage: Stage, send: Send) -> None:
    """A wrong secret, and a PUBLISH that does not wait for the answer."""
    device = DEVICES[send.series]
    with _dial(stage, "mqtt") as peer:
        body = _publish(f"city/{device}/{send.series}", stage.payload(send).encode())
        peer.sendall(connect(device, "wrong", f"{device}-rogue") + body)
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


def _half_hj212(stage: Stage, send: Send) -> None:
    whole = frame(stage, send, "20200101000000001")
    with _dial(stage, "hj212") as peer:
        peer.sendall(whole[: len(whole) - 9])


def _wrong_hj212(stage: Stage, send: Send) -> None:
    with _dial(stage, "hj212") as peer:
        peer.sendall(frame(stage, send, "20200101000000002", secret="wrong"))
        peer.recv(256)


_ACTS = {
    ("hj212", "half"): _half_hj212,
    ("hj212", "wrong_secret"): _wrong_hj212,
    ("mqtt", "half"): _half_mqtt,
    ("mqtt", "wrong_secret"): _wrong_mqtt,
    ("push", "half"): _half_push,
    ("push", "wrong_secret"): _wrong_push,
}


def _dial(stage: Stage, link: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stage.platform.ports[link]), timeout=2)


def text(words: str) -> bytes:
    """A length and UTF-8, clause 1.5.3."""
    return struct.pack("!H", len(words.encode())) + words.encode()


def packet(kind: int, body: bytes) -> bytes:
    """With its fixed header, clause 2.2."""
    size, length = len(body), bytearray()
    while size > 127:
        length.append(size % 128 | 128)
        size //= 128
    return bytes([kind, *length, size]) + body


def connect(device: str, secret: str, client: str) -> bytes:
    """CONNECT with user name and password, MQTT 3.1.1, clause 3.1."""
    body = text("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 30) + text(client) + text(device)
    return packet(0x10, body + text(secret))


def _publish(topic: str, payload: bytes) -> bytes:
    return packet(0x32, text(topic) + struct.pack("!H", 7) + payload)
