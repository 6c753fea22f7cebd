"""Clients that connect, ask for much and never read: MQTT subscribers, a live feed, large answers, half a request.

They come again every few seconds while the old ones stay, and must cost nobody anything. Used by the fault runs.
"""

import base64
import contextlib
import http.client
import os
import socket
import struct
import threading
import urllib.error

from fault_city import entity_of
from fault_rogues import connect, packet, text
from fault_senders import Stage

EVERY_S = 4.0
ASKED = 10  # answers a client asks for on one connection before it reads any
LITTLE = 2048  # what its socket takes


class Deaf(threading.Thread):
    """Until `end` is set; `made` counts those that stood. Set both events."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="deaf", daemon=True)
        self._stage, self.made = stage, 0
        self.enough = threading.Event()  # no more come, those that are there stay: each one's coming is on the log
        self.end = threading.Event()
        self._open: list[socket.socket] = []

    def run(self) -> None:
        while not self.enough.is_set():
            for kind in (_subscriber, _feed, _reader, _half_head):
                with contextlib.suppress(OSError, http.client.HTTPException, urllib.error.URLError):
                    self._open.append(kind(self._stage))
                    self.made += 1
            self.enough.wait(EVERY_S)
        self.end.wait()
        for one in self._open:
            one.close()


def _saying(port: int, words: bytes) -> socket.socket:
    """A connection that has said this and reads nothing."""
    peer = socket.socket()
    try:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        peer.settimeout(2)
        peer.connect(("127.0.0.1", port))
        peer.sendall(words)
    except OSError:
        peer.close()
        raise
    return peer


def _subscriber(stage: Stage) -> socket.socket:
    """QoS 1 to everything, and no PUBACK ever."""
    name = f"deaf-{os.urandom(4).hex()}"
    hello = connect("RTU-3", stage.platform.secret("RTU-3", "mqtt"), name)
    return _saying(stage.platform.ports["mqtt"], hello + packet(0x82, struct.pack("!H", 1) + text("city/#") + b"\x01"))


def _feed(stage: Stage) -> socket.socket:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    return _ask(stage, "/api/live", f"{upgrade}Sec-WebSocket-Key: {key}\r\n", 1)


def _reader(stage: Stage) -> socket.socket:
    entity = entity_of("P-3")
    span = "from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
    return _ask(stage, f"/api/history?entity={entity}&attribute=pressure&{span}&limit=1000000", "", ASKED)


def _half_head(stage: Stage) -> socket.socket:
    return _saying(stage.platform.ports["push"], b"POST /push/P-5 HTTP/1.1\r\nHost: x\r\nContent-Le")


def _ask(stage: Stage, path: str, headers: str, times: int) -> socket.socket:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stage.platform.token()}\r\n{headers}\r\n"
    return _saying(stage.platform.http_port, head.encode() * times)
