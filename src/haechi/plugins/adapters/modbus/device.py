"""One device: its connection, its polls at their times, its writes. The adapter runs one of these per device.

Each has a task and a connection of its own, so a device that is slow or away delays nobody else.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson
import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from haechi.core.errors import Conflict, HaechiError, InvalidData, NotFound, Refused, Unavailable
from haechi.plugins.adapters.modbus.registers import Span, Value, decode, encode, spans
from haechi.plugins.adapters.modbus.settings import DeviceSettings, ModbusSettings, Register

STATUS = "$status"
AWAY = frozenset({ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE})  # the gateway speaks for a dead unit
# Exceptions (clause 7) after which a write may have been done.
MAYBE_DONE = frozenset({ExcCodes.DEVICE_FAILURE, ExcCodes.ACKNOWLEDGE, ExcCodes.GATEWAY_NO_RESPONSE})
READ = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # function codes
FRAMERS = {"tcp": FramerType.SOCKET, "rtu": FramerType.RTU}
_events = structlog.get_logger("modbus")


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the devices of a link put what they find."""

    store: Callable[[str, int, Mapping[str, bytes]], Awaitable[None]]  # device, read at, payloads; returns when durable
    skip: Callable[[str, int], None]  # reason and how many values had to be left out
    now: Callable[[], int]  # microseconds
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request and the function code its answer must have."""

    function: int
    send: Callable[[], Awaitable[ModbusPDU]]


class Poller:
    """Polls one device while `run` runs."""

    def __init__(self, device: DeviceSettings, settings: ModbusSettings, outlet: Outlet) -> None:
        self.device, self.online = device, False
        self._settings, self._out, self._counts = settings, outlet, outlet.counts
        self._registers = settings.registers(device.id)
        self._spans: list[Span] = []
        self._period_s = device.period_s or settings.period_s
        self._told: tuple[bool | None, str] = (None, "")  # what `$status` last said: online, fault
        self._due_now = asyncio.Event()
        self._busy = asyncio.Lock()  # a write and a poll never mix their answers
        self._client = AsyncModbusTcpClient(
            device.host or settings.host,
            port=device.port or settings.port,
            framer=FRAMERS[device.framing or settings.framing],
            timeout=settings.timeout_s,
            retries=0,
            reconnect_delay=0,  # the back-off is ours: it ends with a good poll, not with a TCP handshake
        )

    async def run(self) -> None:
        """Until cancelled: connects, polls; after a failure waits, twice as long each time."""
        wait_s = self._settings.reconnect_s
        try:
            while True:
                try:
                    await self._connect()
                    await self._poll_for_ever()
                except Exception as error:  # a bug met with one device must not leave it unpolled for ever
                    self._client.close()
                    if not isinstance(error, Unavailable):
                        self._counts["bugs"] += 1
                        _events.exception("poll_failed", device=self.device.id)
                    elif self.online or self._told[0] is None:
                        _events.warning("device_away", device=self.device.id, error=str(error), retry_s=wait_s)
                    wait_s = self._settings.reconnect_s if self.online else wait_s
                    self.online = False
                    await self._tell(False, "")
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, self._settings.reconnect_s_max)
        finally:
            self._client.close()

    async def _connect(self) -> None:
        self._counts["connects"] += 1
        async with self._busy:
            if not await self._client.connect():
                raise Unavailable(f"{self._client} does not take a connection; is the device on, host and port right?")
        self._spans = spans(self._registers, self._settings.blocks(self.device.id))

    async def _poll_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._due_now.clear()
            await self._poll()
            due += self._period_s
            late = loop.time() - due
            if late > 0:  # the device (or the log) took longer than the period: no poll is made up for
                missed = int(late // self._period_s) + 1
                self._counts["skipped"] += missed
                due += missed * self._period_s
            try:
                async with asyncio.timeout_at(due):
                    await self._due_now.wait()
            except TimeoutError:
                continue
            due = loop.time()

    async def _poll(self) -> None:
        async with self._busy:
            values, faults = await self._read_all()
            at = self._out.now()
        self.online = True
        self._counts["polls"] += 1
        await self._tell(True, "; ".join(faults))
        if values:
            await self._out.store(self.device.id, at, {name: orjson.dumps(one) for name, one in values.items()})

    async def _read_all(self) -> tuple[dict[str, dict[str, Value]], list[str]]:
        values, faults, known = dict[str, dict[str, Value]](), list[str](), list[Span]()
        for span in self._spans:
            answer = await self._ask(self._request(span))
            if answer.isError():
                known += self._refused(span, answer, faults)
                continue
            known.append(span)
            content = self._content(span, answer)
            for one in span.registers:
                try:
                    values.setdefault(one.channel, {})[one.field] = decode(one, span, content)
                except InvalidData as error:
                    self._out.skip(error.reason, 1)
        self._spans = known
        return {channel: found for channel, found in values.items() if found}, faults

    def _content(self, span: Span, answer: ModbusPDU) -> Sequence[int] | Sequence[bool]:
        """What the span holds. An answer of another length is another request's: the connection is out of step."""
        bits = span.table in ("coil", "discrete")
        content = answer.bits if bits else answer.registers
        if len(content) != (-(-span.count // 8) * 8 if bits else span.count):
            self._client.close()
            raise Unavailable(f"{self.device.id}: asked for {span}, got {len(content)}; no Modbus device?")
        return content

    def _refused(self, span: Span, answer: ModbusPDU, faults: list[str]) -> list[Span]:
        """Notes why; an illegal address is hunted down by halves, so that one wrong register spoils no other."""
        code = answer.exception_code
        if code in AWAY:
            raise Unavailable(f"{self.device.id}: the gateway says {_meaning(code)}; is the unit on, its number right?")
        self._counts["exceptions"] += 1
        faults.append(f"{span}: {_meaning(code)}")
        return list(span.halves()) if code == ExcCodes.ILLEGAL_ADDRESS and len(span.registers) > 1 else [span]

    def _request(self, span: Span) -> Request:
        read = {
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
            "input": self._client.read_input_registers,
            "holding": self._client.read_holding_registers,
        }[span.table]
        return Request(READ[span.table], partial(read, span.start, count=span.count, device_id=self.device.unit))

    async def _ask(self, request: Request) -> ModbusPDU:
        """The answer; `Unavailable` ends the connection, for a late answer must not be taken for the next one's."""
        try:
            answer = await request.send()
        except ModbusException as error:
            self._counts["no_answer"] += 1
            self._client.close()
            self._due_now.set()  # after a write: the next poll connects again, now
            what = "the connection was lost" if isinstance(error, ConnectionException) else "no answer in time"
            raise Unavailable(
                f"{self.device.id}: {what} (timeout_s = {self._settings.timeout_s:g}): {error}"
            ) from error
        if answer.function_code & 0x7F != request.function:
            self._client.close()
            what = f"asked with function {request.function}, answered with {answer.function_code}"
            raise Unavailable(f"{self.device.id}: {what}; does another program use its connection?")
        return answer

    async def _tell(self, online: bool, fault: str) -> None:
        if (online, fault) == self._told:
            return
        if fault:
            _events.warning("device_refuses", device=self.device.id, fault=fault)
        body: dict[str, Value] = {"online": online}
        if fault or self._told[1]:
            body["fault"] = fault
        self._told = (online, fault)
        if self._settings.presence:
            await self._out.store(self.device.id, self._out.now(), {STATUS: orjson.dumps(body)})

    # --- writing ---

    async def write(self, channel: str, field: str, value: object, expires_at: int) -> tuple[str, int]:
        """Writes, reads back; returns what reading back said and when it was sent. The next poll follows at once.

        `NotFound`, `InvalidData`, `Conflict` (too late): never sent. `Refused`: the device answered with an exception.
        `Unavailable`: no answer, or one after which nobody knows whether it was written.
        """
        register = self._writable(channel, field)
        content = encode(register, value)
        if not self.online:
            raise NotFound(f"{self.device.id} is not connected; nothing was sent. Ask again when it is online")
        async with self._busy:
            at = self._out.now()
            if at > expires_at:  # it may have waited for a slow poll
                raise Conflict("it came too late; nothing was sent")
            _accepted(await self._ask(self._writing(register, content)), f"{field} = {value}")
            self._counts["writes"] += 1
            found = await self._read_back(register)
        self._due_now.set()
        return found, at

    async def _read_back(self, register: Register) -> str:
        """The device has acknowledged the write: that its answer cannot be read does not take that back."""
        span = spans([register], ())[0]
        try:
            answer = await self._ask(self._request(span))
            _accepted(answer, "asked for it")
            return f"then the device held {decode(register, span, self._content(span, answer))}"
        except HaechiError as error:
            return f"reading it back failed: {error}"

    def _writable(self, channel: str, field: str) -> Register:
        for one in self._registers:
            if one.field == field and one.channel == channel and one.writable:
                return one
        raise NotFound(f"{self.device.id} has no writable register {field!r} on channel {channel!r}; mend the link")

    def _writing(self, register: Register, content: list[int] | bool) -> Request:
        at, unit = register.address, self.device.unit
        if isinstance(content, bool):
            return Request(5, partial(self._client.write_coil, at, content, device_id=unit))
        if len(content) == 1:
            return Request(6, partial(self._client.write_register, at, content[0], device_id=unit))
        return Request(16, partial(self._client.write_registers, at, content, device_id=unit))


def _accepted(answer: ModbusPDU, what: str) -> None:
    if not answer.isError():
        return
    text = f"{what}: the device answers {_meaning(answer.exception_code)}"
    raise (
        Unavailable(f"{text}; whether it was done is unknown") if answer.exception_code in MAYBE_DONE else Refused(text)
    )


def _meaning(code: int) -> str:
    try:
        return ExcCodes(code).name.lower().replace("_", " ").replace("unaviable", "unavailable")
    except ValueError:
        return f"exception {code}"
