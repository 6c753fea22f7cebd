"""Settings of an HJ 212 link, validated; the adapter reads them once in `create`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from haechi.core.errors import InvalidSettings

LIMITS: Mapping[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "gather_ms": (0, 1_000),
    "gather_max": (1, 100_000),
    "pending_max": (1, 1_000_000),
    "pending_bytes_max": (1, 1_000_000_000),
    "window": (1, 100_000),
    "segment_max": (128, 9_999),
    "connections_max": (1, 1_000_000),
    "idle_s": (1, 86_400),
    "bad_frames_max": (1, 1_000_000),
    "divided_max": (1, 999),
    "clogged_s": (1, 86_400),
}


@dataclass(frozen=True, slots=True)
class Hj212Settings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    host: str = "127.0.0.1"
    port: int = 8212  # 0: any free one
    authenticate: bool = True
    gather_ms: float = 3.0
    gather_max: int = 1_000
    pending_max: int = 16_000
    pending_bytes_max: int = 16_000_000
    window: int = 4_000
    segment_max: int = 9_999
    connections_max: int = 10_000
    idle_s: float = 900.0
    bad_frames_max: int = 100
    divided_max: int = 64
    clogged_s: float = 30.0


def read(given: Mapping[str, Any]) -> Hj212Settings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    known = {field.name: type(field.default) for field in fields(Hj212Settings)}
    for name, value in given.items():
        if name not in known:
            raise InvalidSettings(f"{name}: an HJ 212 link has no such setting; it has {', '.join(known)}")
        _check(name, value, known[name])
    return Hj212Settings(**given)


def _check(name: str, value: Any, kind: type) -> None:
    if kind in (int, float):
        low, high = LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | kind) or not low <= value <= high:
            raise InvalidSettings(f"{name}: give a number from {low:g} to {high:g}, not {value!r}")
    elif not isinstance(value, kind) or value == "":
        raise InvalidSettings(f"{name}: give {'a text' if kind is str else 'true or false'}, not {value!r}")
