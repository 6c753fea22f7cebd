"""Settings of an HTTP link, validated; the adapter reads them once in `create`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from haechi.core.errors import InvalidSettings

LIMITS: Mapping[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "body_bytes_max": (1, 30_000_000),  # whole, it must fit into one message of the log, should it be quarantined
    "body_s": (0.1, 3_600),
    "in_flight_max": (1, 100_000),
    "in_flight_bytes_max": (1, 10_000_000_000),
    "connections_max": (1, 1_000_000),
    "retry_after_s": (1, 3_600),
    "idempotency_s": (0, 86_400),
    "idempotency_max": (1, 10_000_000),
}

JSON_ONLY = ("application/json",)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    host: str = "127.0.0.1"
    port: int = 8028  # 0: any free one
    accepts: tuple[str, ...] = JSON_ONLY
    body_bytes_max: int = 8_000_000
    body_s: float = 30.0
    in_flight_max: int = 1_000
    in_flight_bytes_max: int = 64_000_000
    connections_max: int = 10_000
    retry_after_s: int = 2
    idempotency_s: float = 600.0
    idempotency_max: int = 10_000
    tls_cert: str = ""
    tls_key: str = ""


def read(given: Mapping[str, Any]) -> HttpSettings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    known = {field.name: type(field.default) for field in fields(HttpSettings)}
    for name, value in given.items():
        if name not in known:
            raise InvalidSettings(f"{name}: an HTTP link has no such setting; it has {', '.join(known)}")
        _check(name, value, known[name])
    settings = HttpSettings(**{**given, "accepts": tuple(given.get("accepts", JSON_ONLY))})
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise InvalidSettings("tls_key: give tls_cert and tls_key together, or neither")
    return settings


def _check(name: str, value: Any, kind: type) -> None:
    if kind is tuple:
        if not isinstance(value, list | tuple) or not value or not all(_is_media_type(one) for one in value):
            raise InvalidSettings(f'{name}: give a list of media types, e.g. ["text/csv"], not {value!r}')
    elif kind in (int, float):
        low, high = LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | kind) or not low <= value <= high:
            raise InvalidSettings(f"{name}: give a number from {low:g} to {high:g}, not {value!r}")
    elif not isinstance(value, str) or (name == "host" and not value):
        raise InvalidSettings(f"{name}: give a text, not {value!r}")


def _is_media_type(value: Any) -> bool:
    return isinstance(value, str) and value.count("/") == 1 and value == value.lower() and ";" not in value
