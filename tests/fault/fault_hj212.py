"""A station that speaks HJ 212 and waits for each data answer (9014); some frames it sends in pieces. Used by the fault
runs."""

import contextlib
import re
import socket
import time
from datetime import datetime, timedelta, timezone

from fault_plan import DEVICES, Send
from fault_senders import GIVE_UP_S, Sender, Stage

ANSWER_S = 6.0
CHINA = timezone(timedelta(hours=8))


class HjSender(Sender):
    """One frame after the other on one connection; what was not answered is sent again with the same QN."""

    def send_all(self) -> None:
        peer: socket.socket | None = None
        for number, send in enumerate(self.sends):
            self.stage.wait(send.at_ms)
            self.sent.append(send)
            qn, end = _qn(self.stage, number), time.monotonic() + GIVE_UP_S
            while time.monotonic() < end:
                try:
                    peer = peer or _dial(self.stage)
                    _send(peer, frame(self.stage, send, qn), pieces=1 + int(send.value) % 3)
                    _await(peer, qn)
                except OSError:
                    _hang_up(peer)
                    peer = None
                    time.sleep(0.3)
                else:
                    self.acknowledged.append(send)
                    break
        _hang_up(peer)


def frame(stage: Stage, send: Send, qn: str, secret: str | None = None) -> bytes:
    """A minute's value as HJ 212-2017, 2011: Flag 5 asks for an answer."""
    device = DEVICES[send.series]
    password = stage.platform.secret(device, "hj212") if secret is None else secret
    at = datetime.fromtimestamp((stage.zero_ms + send.offset_ms) / 1000, CHINA)
    segment = (
        f"QN={qn};ST=22;CN=2011;PW={password};MN={device};Flag=5;"
        f"CP=&&DataTime={at:%Y%m%d%H%M%S};a34004-Rtd={send.value},a34004-Flag=N&&"
    ).encode()
    return b"##%04d%b%04X\r\n" % (len(segment), segment, _crc(segment))


def _crc(segment: bytes) -> int:
    """Annex A: the register's high byte is mixed, its low byte shifted out."""
    register = 0xFFFF
    for byte in segment:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


def _qn(stage: Stage, number: int) -> str:
    at = datetime.fromtimestamp(stage.zero_ms / 1000 + number, CHINA)
    return f"{at:%Y%m%d%H%M%S}{number % 1000:03d}"


def _send(peer: socket.socket, whole: bytes, pieces: int) -> None:
    size = -(-len(whole) // pieces)
    for at in range(0, len(whole), size):
        peer.sendall(whole[at : at + size])
        if pieces > 1:
            time.sleep(0.02)


def _await(peer: socket.socket, qn: str) -> None:
    """Until the data answer to this QN is there; `OSError` when it does not come or is another."""
    heard, wanted = b"", re.compile(rb"QN=" + qn.encode() + rb";[^#]*CN=9014")
    peer.settimeout(ANSWER_S)
    while not wanted.search(heard):
        more = peer.recv(4096)
        if not more or b"CN=9011" in more:
            raise OSError(f"refused or hung up: {heard + more!r}")
        heard += more


def _dial(stage: Stage) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stage.platform.ports["hj212"]), timeout=3)


def _hang_up(peer: socket.socket | None) -> None:
    with contextlib.suppress(OSError):
        if peer is not None:
            peer.close()
