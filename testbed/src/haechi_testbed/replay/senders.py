"""Who carries the rows of a replay: an HJ 212 device or an MQTT publisher per device of the file. Used by replay."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from haechi_testbed.devices.hj212 import wire
from haechi_testbed.devices.hj212.device import Hj212Device, Manner
from haechi_testbed.replay.mqtt import Publisher
from haechi_testbed.replay.rows import Layout, Row, is_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEPARATORS = frozenset(";,=&#\r\n")


class Carrier(Protocol):
    """One device's connection."""

    sent: int
    acknowledged: int
    refused: int
    refusal: str

    @property
    def waiting(self) -> int:
        """Rows without an answer."""

    async def room(self, most: int) -> None:
        """Returns when fewer than `most` rows are unanswered."""

    async def close(self, wait_s: float) -> int:
        """Ends it; returns how many rows have no answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go and who they say they are from. `secrets` by device of the file."""

    host: str
    port: int
    secrets: Mapping[str, str]
    seed: int = 1

    def secret(self, device: str) -> str:
        """ValueError when the file has none for the device."""
        if device not in self.secrets:
            raise ValueError(
                f"no secret for {device!r}; give the file that `haechi device issue` wrote (--credentials)"
            )
        return self.secrets[device]


class _FileClock:
    """The devices of a replay live in the time of their file."""

    def __init__(self) -> None:
        self.at_us = 0

    def now_us(self) -> int:
        """Instant of the last row."""
        return self.at_us


class Hj212Senders:
    """Rows as HJ 212 uploads, one device each."""

    def __init__(self, target: Target, layout: Layout, window: int) -> None:
        """`window`: uploads of one device under way."""
        self._target, self._layout = target, layout
        self._clock = _FileClock()
        self._manner = Manner(offset_h=layout.offset_h, window=window, kept=2 * window, answer_s=60.0, heartbeat_s=0.0)
        self.carriers: dict[str, Hj212Device] = {}
        self._data_times: dict[int, str] = {}

    async def send(self, row: Row) -> None:
        """Waits for room, then hands the row over; ValueError when a cell cannot travel in HJ 212."""
        device = self.carriers.get(row.device) or self._connect(row.device)
        if device.waiting >= self._manner.window:
            await device.room(self._manner.window)
        self._clock.at_us = row.at_us
        device.post_body(self._layout.cn, f"DataTime={self._data_time(row.at_us)};{_items(row)}")

    def _connect(self, mn: str) -> Hj212Device:
        target = self._target
        rng = random.Random(f"{mn} {target.seed}")  # noqa: S311 - a simulation, not a secret
        device = Hj212Device(mn, target.secret(mn), target.host, target.port, self._clock, rng)
        device.manner = self._manner
        device.start()
        self.carriers[mn] = device
        return device

    def _data_time(self, at_us: int) -> str:
        if at_us not in self._data_times:
            self._data_times[at_us] = wire.data_time(at_us, self._layout.offset_h)
        return self._data_times[at_us]


def _items(row: Row) -> str:
    for name, text in row.cells:
        if not _SEPARATORS.isdisjoint(text):
            raise ValueError(f"line {row.line}: {name}={text!r} cannot travel in HJ 212; replay it --as mqtt")
    return ";".join([f"{name}={text}" for name, text in row.cells])


class MqttSenders:
    """Rows as JSON objects `{"ts": …, column: value}`, QoS 1, topic `city/{device}/{channel}`."""

    def __init__(self, target: Target, topic: str, window: int) -> None:
        """`topic` with `{device}`; `window`: messages of one device under way."""
        self._target, self._topic, self._window = target, topic, window
        self.carriers: dict[str, Publisher] = {}

    async def send(self, row: Row) -> None:
        """Waits for room, then hands the row over."""
        carrier = self.carriers.get(row.device) or self._connect(row.device)
        if carrier.waiting >= self._window:
            await carrier.room(self._window)
        await carrier.publish(self._topic.replace("{device}", row.device), _json(row))

    def _connect(self, device: str) -> Publisher:
        target = self._target
        rng = random.Random(f"{device} {target.seed}")  # noqa: S311 - a simulation, not a secret
        self.carriers[device] = Publisher(device, target.secret(device), target.host, target.port, rng)
        return self.carriers[device]


def _json(row: Row) -> bytes:
    instant = (_EPOCH + timedelta(microseconds=row.at_us)).isoformat().replace("+00:00", "Z")
    body: dict[str, str | float] = {"ts": instant}
    for name, text in row.cells:
        body[name] = float(text) if is_number(text) else text
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


Senders = Hj212Senders | MqttSenders
Progress = Callable[[str], None]
