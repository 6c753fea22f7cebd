"""One MQTT client on a socket: reads its packets, answers them, delivers to it. The adapter makes it."""

import asyncio
import math
import socket
from typing import TYPE_CHECKING, Any, cast

import msgspec

from haechi.core.errors import InvalidData, Unavailable
from haechi.core.message import Message
from haechi.core.mqtt import packets as mqtt
from haechi.core.mqtt.commands import CORRELATION
from haechi.core.mqtt.session import Item, Session, delivery, received
from haechi.core.mqtt.topics import is_topic, permitted

if TYPE_CHECKING:
    from haechi.plugins.adapters.mqtt.adapter import MqttAdapter

CONNECT_S = 10.0  # a client that has not said CONNECT by then is gone
RECHECK_S = 5.0  # how often a connected device is looked up in the registry again
TOPIC_BYTES = 1024  # longer ones do not fit a bus subject
WINDOW = 32  # QoS 1 messages on their way to one subscriber
ALIASES = 32  # topic aliases a client may use (3.1.2.11.5)
ROUTES = 256  # topics remembered for one connection
# Why a connection is not read: the platform is busy, the client does not take its answers, its own share waits already.
GATHER, WRITE, SHARE = 1, 2, 4


class Entry(msgspec.Struct):
    """A packet waiting for the store. Without a message it only keeps its place among the acknowledgements."""

    sender: "Connection"
    reply: int  # PUBACK, PUBREC, PUBCOMP, or 0 for QoS 0
    number: int
    message: Message | None = None
    item: Item | None = None  # to retain or to give to subscribers
    code: int = 0


class Connection(asyncio.Protocol):
    """From CONNECT to the end of the socket. `session` is there once `device` is."""

    def __init__(self, door: "MqttAdapter") -> None:
        self.door, self.settings, self.link = door, door.settings, door.context.link
        self.transport: asyncio.Transport
        self.session: Session
        self.device = ""
        self.v5 = self._explain = False
        self.window, self._packet_max = WINDOW, 1 << 30
        self._will: tuple[mqtt.Will, str] | None = None  # with its channel
        self._heard_at, self._patience_s = door.loop.time(), CONNECT_S
        self._closed = self._polite = self._silent = False  # silent: its end says nothing of the device
        self._pauses, self._rest, self._need = 0, bytearray(), 0
        self._unacked, self._now, self._known_at = 0, 0, self._heard_at
        self._waiting, self._clogged_at = 0, 0.0
        self._routes: dict[bytes, tuple[str, str | None]] = {}
        self._aliases = mqtt.Aliases(ALIASES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self.transport = transport
        if len(self.door.connections) >= self.settings.connections_max:
            self.door.counts["turned_away"] += 1
            self._closed = True
            transport.abort()
            return
        self.door.connections.add(self)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        self._heard_at = self.door.loop.time()
        if self._rest or self._pauses:
            self._rest += data
            if self._pauses or len(self._rest) < self._need:
                return
            data = bytes(self._rest)
        self._read(data)

    def _read(self, data: bytes) -> None:
        self._now = self.door.now()
        pos, size, self._need = 0, len(data), 0
        try:
            while pos < size and not self._closed:
                if self.door.full:
                    self.hold(GATHER)
                    break
                if not self.device and data[pos] != mqtt.CONNECT:
                    raise mqtt.malformed("the first packet is no CONNECT")
                head = mqtt.frame(data, pos, self.settings.packet_bytes_max)
                if head is None or head[2] > size:
                    self._need = head[2] - pos if head else 0
                    break
                first, start, pos = head
                if first & 0xF0 == mqtt.PUBLISH:
                    self._publish(first, data, start, pos)
                    if self._pauses:
                        break
                else:
                    self._other(first, data, start, pos)
        except InvalidData as error:
            self.door.context.intake.reject(self.link, error.reason)
            if error.reason == "unsupported_version":
                self.write(mqtt.connack(False, False, 1))
            self.leave(mqtt.CODES[error.reason], str(error))
        except Unavailable as error:
            self.leave(mqtt.BUSY, str(error), quiet=True)
        self._rest = bytearray(data[pos:])

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self.door.connections.discard(self)
        self._end()

    def pause_writing(self) -> None:
        self._clogged_at = self.door.loop.time()
        self.hold(WRITE)

    def resume_writing(self) -> None:
        self.release(WRITE)

    def hold(self, why: int) -> None:
        """Stops reading: back-pressure."""
        if why == GATHER and not self._pauses & GATHER:
            self.door.held.append(self)
        if not self._pauses and not self.transport.is_closing():
            self.transport.pause_reading()
        self._pauses |= why

    def release(self, why: int) -> None:
        """Reads on, first what had arrived before."""
        self._pauses &= ~why
        if self._pauses or self._closed:
            return
        self._heard_at = self.door.loop.time()
        if self._rest and len(self._rest) >= self._need:
            self._read(bytes(self._rest))
        if not self._pauses and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, packet: bytes) -> None:
        """Sends bytes unless the connection is closing."""
        if not self.transport.is_closing():
            self.transport.write(packet)

    def check(self, now: float) -> None:
        """Called each second: ends connections of devices shut out meanwhile and beyond their keep alive (3.1.2.10)."""
        late = now - self._heard_at
        if self.device and now - self._known_at > RECHECK_S:
            self._known_at = now
            if not self.door.context.registry.knows(self.device, self.link):
                self.leave(mqtt.REVOKED, "the device is no longer registered")
        deaf = self._pauses & WRITE and now - self._clogged_at > self.settings.not_reading_s
        if deaf or (self._closed and late > CONNECT_S):
            self.transport.abort()
        elif late > self._patience_s and not self._pauses:
            self.leave(mqtt.IDLE, "keep alive passed without a packet")

    def leave(self, code: int, why: str, quiet: bool = False) -> None:
        """Ends the connection from our side, in 5.0 with DISCONNECT; `quiet`: the device is not to blame."""
        if self._closed:
            return
        if self.v5 and self.device:
            self.write(mqtt.farewell(code, why if self._explain else ""))
        self._silent = quiet
        self._close()

    def _close(self) -> None:
        self._closed = True
        self.transport.close()

    def _end(self) -> None:
        """Leaves the session; an unexpected end publishes the will and tells that the device is offline."""
        door, device, self.device = self.door, self.device, ""
        if not device:
            return
        session = self.session
        if session.outlet is self:
            session.leave(door.now())
            door.hub.touch(session)
        if self._will and not self._silent:
            delay_s = min(self._will[0].properties.get(mqtt.WILL_DELAY, 0), session.expiry_s)
            session.will = door.loop.call_later(delay_s, self._last_words, device, *self._will).cancel
        if not session.expiry_s and session.outlet is None:
            door.hub.forget(session)
        door.devices[device] -= 1
        if not door.devices[device]:
            del door.devices[device]
            if not self._silent and not self._polite:
                self._presence(device, b'{"online": false}')

    def _presence(self, device: str, payload: bytes) -> None:
        if self.settings.presence:
            self.door.add(Entry(self, 0, 0, Message(self.link, device, "$status", payload, self.door.now())))

    def _last_words(self, device: str, will: mqtt.Will, channel: str) -> None:
        now = self.door.now()
        item = received(will.topic, will.payload, will.qos << 1 | will.retain, will.properties, now)
        message = Message(self.link, device, channel, will.payload, now)
        self.door.add(Entry(self, 0, 0, message, item))

    def _publish(self, first: int, data: bytes, start: int, end: int) -> None:
        raw, number, body, about = mqtt.publish(first, data, start, end, self.v5)
        if mqtt.ALIAS in about:
            raw = self._aliases.topic(raw, about[mqtt.ALIAS])
        topic, channel = self._routes.get(raw) or self._route(raw)
        qos, session, payload, item = first >> 1 & 3, self.session, data[body:end], None
        if qos == 2:
            if number in session.received:
                self.write(mqtt.acknowledge(mqtt.PUBREC, number))
            if number in session.received or number in session.busy:
                return  # sent again, stored once
            session.busy.add(number)
        if qos:
            self._unacked += 1
            if self.v5 and self._unacked > self.settings.receive_maximum:
                raise InvalidData("more unacknowledged packets than Receive Maximum allows", "receive_maximum")
            self._waiting += 1
            if self._waiting >= self.settings.receive_maximum and not self.v5:
                self.hold(SHARE)  # 3.1.1 knows no Receive Maximum: TCP says it
        if channel is None:
            self._aside(topic, payload, about.get(CORRELATION), mqtt.REPLIES[qos], number)
            return
        if first & 1 or self.door.hub.subscriptions.matches(topic):
            item = received(topic, payload, first, about, self._now)
        clears = first & 1 and not payload
        message = None if clears else Message(self.link, self.device, channel, payload, self._now)
        self.door.add(Entry(self, mqtt.REPLIES[qos], number, message, item))

    def _route(self, raw: bytes) -> tuple[str, str | None]:
        topic = mqtt.text(raw)
        if not is_topic(topic) or len(raw) > TOPIC_BYTES:
            raise InvalidData("a topic to publish on has 1 to 1,024 bytes and no wildcards", "bad_topic")
        answer = self.door.courier.is_answer(self.device, topic)
        route = (topic, None if answer else self.door.topic.channel(self.device, topic))
        if len(self._routes) < ROUTES:
            self._routes[raw] = route
        return route

    def _aside(self, topic: str, payload: bytes, correlation: bytes | None, reply: int, number: int) -> None:
        """No observation: the answer to a command, or not the device's topic. 5.0 has a code for that, in 3.1.1 only
        the end of the connection says it (3.3.5)."""
        self.session.busy.discard(number)
        if self.door.courier.is_answer(self.device, topic):
            code = self.door.courier.answer(self.device, payload, correlation)
            self.door.add(Entry(self, reply, number, code=code))
            return
        if not (self.v5 and reply):
            raise InvalidData(f"{self.device} may not publish on {topic[:100]}", "foreign_topic")
        self.door.context.intake.reject(self.link, "foreign_topic")
        self.door.add(Entry(self, reply, number, code=mqtt.NOT_AUTHORIZED))

    def answer(self, entry: Entry, why: str) -> tuple["Connection | None", bytes]:
        """The acknowledgement of a stored packet and where it goes: QoS 2 to the connection the session has now."""
        reply, number, session = entry.reply, entry.number, self.session
        code = mqtt.UNSPECIFIED if why and self.v5 else entry.code
        target = None if self._closed else self
        if reply != mqtt.PUBACK:
            code = session.settle(reply, number, code)
            if session.expiry_s:
                self.door.hub.touch(session)
            target = session.outlet if isinstance(session.outlet, Connection) else None
        if reply != mqtt.PUBCOMP:
            self._waiting -= 1
            if self._pauses & SHARE and self._waiting <= self.settings.receive_maximum // 2:
                self.door.loop.call_soon(self.release, SHARE)
        if reply != mqtt.PUBREC or code:
            self._unacked = max(0, self._unacked - 1)
        return target, mqtt.acknowledge(reply, number, code if self.v5 else 0, why if self._explain else "")

    def _other(self, first: int, data: bytes, start: int, end: int) -> None:
        kind = mqtt.kind_of(first)
        if kind == mqtt.PUBREL:
            self.door.add(Entry(self, mqtt.PUBCOMP, mqtt.ack(data, start, end, self.v5)[0]))
        elif kind == mqtt.PUBACK:
            self.session.acknowledged(*mqtt.ack(data, start, end, self.v5))
            self.door.hub.touch(self.session)
        elif kind == mqtt.PINGREQ:
            self.write(mqtt.PINGRESP_BYTES)
        elif kind == mqtt.SUBSCRIBE:
            self._subscribe(*mqtt.filters(kind, data, start, end, self.v5))
        elif kind == mqtt.UNSUBSCRIBE:
            number, wanted = mqtt.filters(kind, data, start, end, self.v5)
            codes = [0 if self.door.hub.unsubscribe(self.session, one) else mqtt.NO_SUBSCRIPTION for one, _ in wanted]
            self.write(mqtt.granted(mqtt.UNSUBACK, number, codes, self.v5))
        elif kind == mqtt.CONNECT and not self.device:
            self._connect(mqtt.connect(data, start, end))
        elif kind == mqtt.DISCONNECT:
            self._disconnect(*mqtt.disconnect(data, start, end, self.v5))
        else:
            raise InvalidData(f"packet 0x{first:02x} is not for a server, or not now", "protocol_error")

    def _connect(self, asked: mqtt.Connect) -> None:
        about, device, will = asked.properties, asked.user or "", asked.will
        self.v5, verify = asked.version == 5, self.door.context.registry.verify
        secret = (asked.password or b"").decode("utf-8", "replace")
        if mqtt.AUTH_METHOD in about:
            self._refuse(mqtt.BAD_METHOD, "bad_auth_method")
        elif not asked.client and not asked.clean and not self.v5:
            self._refuse(mqtt.BAD_CLIENT, "bad_client_id")
        elif not device or set(device) & set("/+#") or not verify(device, secret, self.link):
            self._refuse(mqtt.BAD_CREDENTIALS, "bad_credentials")
        elif will and (not is_topic(will.topic) or self.door.topic.channel(device, will.topic) is None):
            self._refuse(mqtt.NOT_AUTHORIZED, "foreign_topic")
        else:
            self.device = device
            self._will = (will, self.door.topic.channel(device, will.topic) or "") if will else None
            self._explain = self.v5 and about.get(mqtt.PROBLEM_WANTED, 1) == 1
            self.window = min(WINDOW, about.get(mqtt.RECEIVE_MAXIMUM, WINDOW))
            self._packet_max = about.get(mqtt.PACKET_MAXIMUM, self._packet_max)
            self._patience_s = asked.keep_alive_s * 1.5 or math.inf
            self._join(asked, asked.client or f"auto-{self._now:x}-{id(self):x}")

    def _refuse(self, code: int, reason: str) -> None:
        self.door.context.intake.reject(self.link, reason)
        self.write(mqtt.connack(self.v5, False, code if self.v5 else 2 if code == mqtt.BAD_CLIENT else 5))
        self._close()

    def _join(self, asked: mqtt.Connect, client: str) -> None:
        """Takes up the client's session, ending the connection that has it, and says so in CONNACK (3.2)."""
        door, settings, most = self.door, self.settings, self.settings.session_expiry_s_max
        others = door.devices.get(self.device, 0)
        door.devices[self.device] = others + 1
        known = door.hub.sessions.get((self.device, client))
        if known and isinstance(known.outlet, Connection):
            known.outlet.leave(mqtt.TAKEN_OVER, "another connection took over this session")
            known.outlet._end()
        self.session, present = door.hub.open((self.device, client), asked.clean)
        self.session.will()
        wanted_s = asked.properties.get(mqtt.SESSION_EXPIRY, 0) if self.v5 else 0 if asked.clean else most
        self.session.expiry_s, self.session.left_at = min(wanted_s, most), 0
        limits = {mqtt.RECEIVE_MAXIMUM: settings.receive_maximum, mqtt.PACKET_MAXIMUM: settings.packet_bytes_max}
        about: dict[int, Any] = {**limits, mqtt.ALIAS_MAXIMUM: ALIASES, mqtt.SUBSCRIPTION_IDS: 0, mqtt.SHARED: 0}
        about |= {mqtt.SESSION_EXPIRY: self.session.expiry_s} | ({} if asked.client else {mqtt.ASSIGNED_CLIENT: client})
        self.write(mqtt.connack(self.v5, present, 0, about))
        door.hub.touch(self.session)
        self.session.resume(self)
        if not others:
            self._presence(self.device, b'{"online": true}')

    def _subscribe(self, number: int, wanted: list[tuple[str, int]]) -> None:
        hub, codes, kept = self.door.hub, list[int](), list[tuple[Item, int]]()
        for one, options in wanted:
            shared, qos = one.startswith("$share/"), min(options & 3, 1)
            if shared or not permitted(one, self.settings.subscribe, self.device):
                codes.append((mqtt.NO_SHARED if shared else mqtt.NOT_AUTHORIZED) if self.v5 else 0x80)
                continue
            if not hub.has_room(self.session, one):
                codes.append(mqtt.QUOTA if self.v5 else 0x80)
                continue
            codes.append(qos)
            new = hub.subscribe(self.session, one, options & ~3 | qos)
            if not options & mqtt.NEVER and (new or not options & mqtt.ONLY_NEW):
                kept += [(item, qos) for item in hub.kept(one)]
        hub.commit()
        self.write(mqtt.granted(mqtt.SUBACK, number, codes, self.v5))
        for item, qos in kept:
            hub.give(self.session, item, qos, True)

    def _disconnect(self, code: int, about: mqtt.Properties) -> None:
        expiry_s = about.get(mqtt.SESSION_EXPIRY, self.session.expiry_s)
        if expiry_s and not self.session.expiry_s:
            raise InvalidData("a session that ends with its connection cannot be kept afterwards", "protocol_error")
        self.session.expiry_s = min(expiry_s, self.settings.session_expiry_s_max)
        self._polite = True
        if code != 4:  # disconnect with will (3.14.2.1)
            self._will = None
        self._close()

    def send(self, item: Item, number: int, again: bool) -> bool:
        """Writes a PUBLISH; see `sessions.Outlet`."""
        packet = delivery(item, number, again, self.v5, self.door.now())
        taken = not self._closed and 0 < len(packet) <= self._packet_max and (number or not self._pauses & WRITE)
        self.write(packet if taken else b"")
        return bool(taken)
