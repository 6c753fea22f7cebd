"""One device's TCP connection: frames in, answers out, credentials, divided uploads. Made by adapter for each."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import structlog

from haechi.core.errors import InvalidData
from haechi.core.message import Message
from haechi.core.times import to_us
from haechi.plugins.adapters.hj212.gather import Gatherer, Pending
from haechi.plugins.adapters.hj212.settings import Hj212Settings
from haechi.plugins.codecs.hj212 import packet as hj
from haechi.plugins.codecs.hj212.framing import BadFrame, Framer
from haechi.ports import AdapterContext

_events = structlog.get_logger("hj212")
LET_IN_S = 1.0  # how long a device that was let in is not looked up again
_SETS = 16  # divided uploads one connection may have open
_SETS_BYTES = 1 << 20  # and what they may hold together


@dataclass(slots=True)
class Door:
    """What all connections of a link share."""

    settings: Hj212Settings
    context: AdapterContext
    gatherer: Gatherer
    connections: set["Connection"] = field(default_factory=set)
    frames: int = 0
    bad_frames: int = 0
    refused: int = 0
    deserted: asyncio.Event = field(default_factory=asyncio.Event)  # no connection is open


class Connection(asyncio.Protocol):
    """`asyncio.Protocol` and `gather.Sender`. Stops reading while too much of it waits for the log."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._framer = Framer(door.settings.segment_max)
        self._transport: asyncio.Transport | None = None
        self._unsettled = 0
        self._paused = self._clogged = self._stopped = False
        self._bad_in_row = 0
        self._let_in: tuple[str | None, str | None] | None = None  # who sent last, and until when that is good
        self._again_at = 0.0
        self._divided: dict[tuple[str, str, str], dict[int, bytes]] = {}
        self._divided_bytes = 0
        self.heard_at = self._clogged_at = asyncio.get_running_loop().time()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._transport = transport
        if len(self._door.connections) >= self._door.settings.connections_max:
            _events.warning("too_many_connections", link=self._door.context.link)
            transport.abort()
            return
        self._door.connections.add(self)
        self._door.deserted.clear()

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        received_at = to_us(self._door.context.clock.now())
        for found in self._framer.feed(data):
            self._take(found, received_at)
        if self._crowded():
            self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._door.connections.discard(self)
        if not self._door.connections:
            self._door.deserted.set()
        self._door.gatherer.forget(self)
        self._hand_over_rest()

    def pause_writing(self) -> None:
        """The device sends but does not take its answers: no more is read until it does."""
        self._clogged = True
        self._clogged_at = asyncio.get_running_loop().time()
        self._pause()

    def resume_writing(self) -> None:
        self._clogged = False
        self.resume()

    # --- gather.Sender ---

    def settle(self, settled: Sequence[Pending], refused: Sequence[str | None]) -> None:
        self._unsettled -= len(settled)
        answers = []
        for one, reason in zip(settled, refused, strict=True):
            if one.packet is None:
                continue
            if reason is not None:
                _events.warning("refused", link=self._door.context.link, mn=one.packet.mn, reason=reason)
                answers.append(hj.answer(one.packet, hj.REQUEST_ANSWER, hj.REFUSED))
            elif one.packet.wants_answer:
                answers.append(hj.answer(one.packet, hj.DATA_ANSWER))
        self._answer(*answers)

    def resume(self) -> None:
        if not self._paused or self._clogged or self._stopped:
            return
        if self._crowded():
            self._door.gatherer.pause(self)
        elif self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self.heard_at = asyncio.get_running_loop().time()
            self._transport.resume_reading()

    def close(self) -> None:
        """Ends the connection after what was answered has left."""
        if self._transport is not None:
            self._transport.close()

    def stop_taking(self) -> None:
        """Takes nothing more, for good: the link stops. What is half here is handed over as far as it came."""
        self._stopped = True
        self._pause()
        self._hand_over_rest()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def idle(self, now: float) -> bool:
        """Whether the device has been silent too long; never while it is we who do not listen."""
        return not self._paused and now - self.heard_at > self._door.settings.idle_s

    def clogged(self, now: float) -> bool:
        """Whether the device has not taken its answers for too long."""
        return self._clogged and now - self._clogged_at > self._door.settings.clogged_s

    @property
    def paused(self) -> bool:
        """Whether nothing is read from it now."""
        return self._paused

    def _crowded(self) -> bool:
        return self._unsettled >= self._door.settings.window or self._door.gatherer.full

    def _pause(self) -> None:
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()
            self._door.gatherer.pause(self)

    # --- frames ---

    def _take(self, found: bytes | BadFrame, received_at: int) -> None:
        if isinstance(found, BadFrame):
            self._take_bad(found.raw, received_at)
            return
        try:
            packet = hj.checked(found)
        except InvalidData:
            self._take_bad(found, received_at)  # the codec says the same again, and ingest quarantines it
            return
        self._bad_in_row = 0
        self._door.frames += 1
        if not self._admitted(packet):
            return
        if packet.carries_samples:
            self._take_upload(packet, found, received_at)
        elif packet.cn in (hj.HEARTBEAT, hj.ASK_TIME):
            self._answer(*([hj.answer(packet, hj.NOTICE_ANSWER)] if packet.wants_answer else []))
        elif packet.cn[0] != "9":  # a request to us, who take none; answers to commands need nothing
            self._refuse(packet, "not_an_upload", hj.WRONG_CN)

    def _take_bad(self, raw: bytes, received_at: int) -> None:
        """Bytes that are no frame go to quarantine, until it is clear that nobody here speaks HJ 212."""
        self._door.bad_frames += 1
        self._bad_in_row += 1
        if self._bad_in_row <= self._door.settings.bad_frames_max:
            self._put("", "", raw, received_at, None)
            return
        self._door.context.intake.reject(self._door.context.link, "garbage")
        _events.warning("no_hj212_here", link=self._door.context.link, bad_frames=self._bad_in_row)
        self.close()

    def _admitted(self, packet: hj.Packet) -> bool:
        if self._let_in == (packet.mn, packet.pw) and self.heard_at < self._again_at:
            return True
        registry, link = self._door.context.registry, self._door.context.link
        if not packet.mn or not registry.knows(packet.mn, link):
            self._refuse(packet, "unknown_device", hj.WRONG_MN)
            return False
        if self._door.settings.authenticate and not registry.verify(packet.mn, packet.pw or "", link):
            self._refuse(packet, "bad_credentials", hj.WRONG_PW)
            return False
        self._let_in, self._again_at = (packet.mn, packet.pw), self.heard_at + LET_IN_S
        return True

    def _refuse(self, packet: hj.Packet, reason: str, result: int) -> None:
        self._door.refused += 1
        self._door.context.intake.reject(self._door.context.link, reason)
        self._answer(hj.answer(packet, hj.REQUEST_ANSWER, result))

    def _take_upload(self, packet: hj.Packet, frame: bytes, received_at: int) -> None:
        mn, payload = packet.mn or "", frame
        if packet.pnum is not None and packet.pnum > 1 and packet.pno is not None:
            joined = self._join(packet, frame, received_at)
            if joined is None:
                return
            payload = joined
        self._put(mn, packet.cn, payload, received_at, packet)

    def _join(self, packet: hj.Packet, frame: bytes, received_at: int) -> bytes | None:
        """The whole divided upload once its last packet is here; DataTime often stands in the first one only."""
        key = (packet.mn or "", packet.qn or "", packet.cn)
        if packet.pnum is None or packet.pno is None or packet.pnum > self._door.settings.divided_max:
            return frame
        if key not in self._divided and len(self._divided) >= _SETS:
            self._hand_over(next(iter(self._divided)), received_at)
        parts = self._divided.setdefault(key, {})
        self._divided_bytes += len(frame) - len(parts.get(packet.pno, b""))
        parts[packet.pno] = frame
        if len(parts) >= packet.pnum:
            return self._whole(key)
        if self._divided_bytes > _SETS_BYTES:
            self._hand_over(next(iter(self._divided)), received_at)
        return None

    def _whole(self, key: tuple[str, str, str]) -> bytes:
        joined = _joined(self._divided.pop(key))
        self._divided_bytes -= len(joined)
        return joined

    def _hand_over(self, key: tuple[str, str, str], received_at: int) -> None:
        """A divided upload that will not become whole: the codec takes what can be dated; nobody is told "stored"."""
        self._put(key[0], key[2], self._whole(key), received_at, None)

    def _hand_over_rest(self) -> None:
        received_at = to_us(self._door.context.clock.now())
        for bad in self._framer.flush():
            self._take(bad, received_at)
        for key in tuple(self._divided):
            self._hand_over(key, received_at)

    def _put(self, mn: str, cn: str, payload: bytes, received_at: int, packet: hj.Packet | None) -> None:
        self._unsettled += 1
        message = Message(self._door.context.link, mn, cn, payload, received_at)
        self._door.gatherer.put(Pending(message, self, packet))

    def _answer(self, *packets: hj.Packet) -> None:
        if packets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(map(hj.encode, packets)))


def _joined(parts: Mapping[int, bytes]) -> bytes:
    return b"".join(parts[number] for number in sorted(parts))
