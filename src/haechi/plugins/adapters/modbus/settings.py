"""Settings of a Modbus link, validated; the adapter reads them once in `create`, `haechi check` before that."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from haechi.core.errors import InvalidSettings

TABLES = ("coil", "discrete", "input", "holding")
FRAMINGS = ("tcp", "rtu")
ORDERS = ("big", "little")
WORDS: Mapping[str, int] = {"bit": 1, "u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}
"""Registers each type takes; a string says its own number (`words`)."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "framing": ("", *FRAMINGS),
    "table": TABLES,
    "type": (*WORDS, "string"),
    "byte_order": ORDERS,
    "word_order": ORDERS,
}
LIMITS: Mapping[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "unit": (0, 255),
    "period_s": (0, 86_400),
    "timeout_s": (0.01, 60),
    "reconnect_s": (0.01, 3_600),
    "reconnect_s_max": (0.01, 3_600),
    "gather_ms": (0, 1_000),
    "start": (0, 65_535),
    "count": (1, 65_536),
    "address": (0, 65_535),
    "bit": (0, 15),
    "words": (1, 125),
    "scale": (-1e12, 1e12),
    "offset": (-1e15, 1e15),
}


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """One `[[settings.device]]`. Empty text and 0 mean: as the link says."""

    id: str
    host: str = ""
    port: int = 0
    unit: int = 1
    period_s: float = 0.0
    framing: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """One `[[settings.block]]`: addresses that may be read in one request, listed registers or not."""

    table: str
    start: int
    count: int
    device: str = "*"


@dataclass(frozen=True, slots=True)
class Register:
    """One `[[settings.register]]`: `value = raw × scale + offset`. Addresses count from 0, as on the wire."""

    field: str
    address: int
    type: str = "u16"
    table: str = "holding"
    device: str = "*"
    channel: str = ""
    byte_order: str = "big"
    word_order: str = "big"
    scale: float = 1.0
    offset: float = 0.0
    bit: int = 0
    words: int = 0
    writable: bool = False

    @property
    def is_bits(self) -> bool:
        """Whether it lies in a table of single bits."""
        return self.table in ("coil", "discrete")

    @property
    def size(self) -> int:
        """Addresses it takes in its table."""
        return self.words if self.type == "string" else WORDS[self.type]


@dataclass(frozen=True, slots=True)
class ModbusSettings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    host: str = "127.0.0.1"
    port: int = 502
    framing: str = "tcp"
    period_s: float = 5.0
    timeout_s: float = 2.0
    reconnect_s: float = 1.0
    reconnect_s_max: float = 60.0
    gather_ms: float = 3.0
    presence: bool = True
    device: tuple[DeviceSettings, ...] = field(default=())
    block: tuple[Block, ...] = field(default=())
    register: tuple[Register, ...] = field(default=())

    def registers(self, device: str) -> tuple[Register, ...]:
        """Those of one device."""
        return tuple(one for one in self.register if fnmatchcase(device, one.device))

    def blocks(self, device: str) -> tuple[Block, ...]:
        """Those of one device."""
        return tuple(one for one in self.block if fnmatchcase(device, one.device))


def read(given: Mapping[str, Any]) -> ModbusSettings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    lists = {
        "device": tuple(_made(DeviceSettings, one, at) for one, at in _tables(given, "device")),
        "block": tuple(_made(Block, one, at) for one, at in _tables(given, "block")),
        "register": tuple(_made(Register, one, at) for one, at in _tables(given, "register")),
    }
    settings = _made(ModbusSettings, {**given, **lists}, "")
    if not settings.period_s:
        raise InvalidSettings("period_s: give the seconds between two polls, more than 0")
    if not settings.framing:
        raise InvalidSettings(f"framing: give one of {', '.join(FRAMINGS)}")
    _check_devices(settings)
    for index, one in enumerate(settings.register):
        _check_register(one, f"register.{index}.")
    for index, block in enumerate(settings.block):
        if block.start + block.count > 65_536:
            raise InvalidSettings(
                f"block.{index}.count: ends at {block.start + block.count - 1}; addresses end at 65535"
            )
    return settings


def _tables(given: Mapping[str, Any], key: str) -> Sequence[tuple[Mapping[str, Any], str]]:
    found = given.get(key, ())
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        raise InvalidSettings(f"{key}: write [[settings.{key}]] tables")
    return [(one, f"{key}.{index}.") for index, one in enumerate(found)]


Made = TypeVar("Made", DeviceSettings, Block, Register, ModbusSettings)


def _made(kind: type[Made], given: Mapping[str, Any], at: str) -> Made:
    known = {one.name: one for one in fields(kind)}
    for name, value in given.items():
        if name not in known:
            raise InvalidSettings(f"{at}{name}: a Modbus link has no such setting; it has {', '.join(known)}")
        _check(name, value, known[name].type, at)
    for name, one in known.items():
        if name not in given and one.default is MISSING:
            raise InvalidSettings(f"{at}{name}: is missing; add it")
    return kind(**given)


def _check(name: str, value: Any, kind: Any, at: str) -> None:
    if kind in (int, float):
        low, high = LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | kind) or not low <= value <= high:
            raise InvalidSettings(f"{at}{name}: give a number from {low:g} to {high:g}, not {value!r}")
    elif kind is bool and not isinstance(value, bool):
        raise InvalidSettings(f"{at}{name}: give true or false, not {value!r}")
    elif kind is str and (not isinstance(value, str) or (name in CHOICES and value not in CHOICES[name])):
        wanted = f"one of {', '.join(filter(None, CHOICES[name]))}" if name in CHOICES else "a text"
        raise InvalidSettings(f"{at}{name}: give {wanted}, not {value!r}")


def _check_devices(settings: ModbusSettings) -> None:
    seen: set[str] = set()
    for index, one in enumerate(settings.device):
        if not one.id or one.id in seen:
            raise InvalidSettings(f"device.{index}.id: {one.id!r} is empty or stands twice; name each device once")
        seen.add(one.id)
        if not settings.registers(one.id):
            raise InvalidSettings(f"device.{index}.id: no [[settings.register]] is for {one.id!r}; add one")
        _check_fields(settings, one.id)


def _check_fields(settings: ModbusSettings, device: str) -> None:
    seen: set[tuple[str, str]] = set()
    for one in settings.registers(device):
        if (one.channel, one.field) in seen:
            raise InvalidSettings(
                f"register: {device} has field {one.field!r} twice on channel {one.channel!r}; rename one"
            )
        seen.add((one.channel, one.field))


def _check_register(one: Register, at: str) -> None:
    if not one.field:
        raise InvalidSettings(f"{at}field: name the field as the link's [[map]] does")
    if one.is_bits and one.type != "bit":
        raise InvalidSettings(f'{at}type: table {one.table} holds single bits; write type = "bit"')
    if (one.type == "string") != bool(one.words):
        raise InvalidSettings(f'{at}words: give the number of registers of type "string", and of no other')
    if one.address + one.size > 65_536:
        raise InvalidSettings(f"{at}address: {one.address} with {one.size} registers ends behind 65535")
    if not one.scale:
        raise InvalidSettings(f"{at}scale: 0 makes every value the same; give another")
    if one.type in ("bit", "string") and (one.scale, one.offset) != (1.0, 0.0):
        raise InvalidSettings(f"{at}scale: a {one.type} has neither scale nor offset; remove them")
    if one.writable and (one.table in ("input", "discrete") or (one.type == "bit" and one.table == "holding")):
        raise InvalidSettings(f"{at}writable: only coils and whole holding registers can be written; set it to false")
