"""Settings of an MQTT link, validated; the adapter reads them once in `create`."""

import ssl
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from haechi.core.errors import InvalidSettings
from haechi.core.mqtt.topics import Template, is_filter


def number(default: Any, low: int, high: int) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    topic: str
    host: str = "127.0.0.1"
    port: int = number(1883, 0, 65_535)
    subscribe: tuple[str, ...] = ()
    presence: bool = True
    tls_cert: str = ""
    tls_key: str = ""
    gather_ms: float = number(2.0, 0, 1_000)
    gather_max: int = number(2_000, 1, 100_000)
    pending_max: int = number(4_000, 1, 1_000_000)
    packet_bytes_max: int = number(262_144, 128, 1_048_576)
    receive_maximum: int = number(1_000, 1, 65_535)
    connections_max: int = number(10_000, 1, 1_000_000)
    queue_max: int = number(1_000, 1, 1_000_000)
    retained_max: int = number(100_000, 0, 10_000_000)
    session_expiry_s_max: int = number(604_800, 0, 0xFFFFFFFE)
    unavailable_s: float = number(5.0, 0, 3_600)


def read(given: Mapping[str, Any]) -> MqttSettings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    known = {one.name: one for one in fields(MqttSettings)}
    for name, value in given.items():
        if name not in known:
            raise InvalidSettings(f"{name}: an MQTT link has no such setting; it has {', '.join(known)}")
        _check(known[name], value)
    if "topic" not in given:
        raise InvalidSettings('topic: say where devices publish, e.g. "city/{device}/{channel...}"')
    Template(given["topic"])
    for wanted in given.get("subscribe", ()):
        if not is_filter(wanted):
            raise InvalidSettings(f'subscribe: {wanted!r} is no topic filter; try "city/{{device}}/commands/#"')
    if bool(given.get("tls_cert")) != bool(given.get("tls_key")):
        raise InvalidSettings("tls_key: give tls_cert and tls_key together, or neither")
    return MqttSettings(**{**given, "subscribe": tuple(given.get("subscribe", ()))})


def _check(known: Field[Any], value: Any) -> None:
    name, kind, limits = known.name, str if known.default is MISSING else type(known.default), known.metadata
    if kind is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise InvalidSettings(f"{name}: give a list of topic filters, not {value!r}")
    elif limits:
        right = isinstance(value, int | kind) and not isinstance(value, bool)
        if not right or not limits["low"] <= value <= limits["high"]:
            raise InvalidSettings(f"{name}: give a number from {limits['low']} to {limits['high']}, not {value!r}")
    elif not isinstance(value, kind):
        raise InvalidSettings(f"{name}: give a {'text' if kind is str else 'true or false'}, not {value!r}")


def tls(settings: MqttSettings) -> ssl.SSLContext | None:
    """The server's TLS 1.2+ context; None when the link names no certificate."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        files = f"{settings.tls_cert} with {settings.tls_key}"
        raise InvalidSettings(f"tls_cert: {files} cannot be used ({error}); both must be PEM files") from error
    return context
