"""Settings of an MQTT link, validated; the adapter reads them once in `create`."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import msgspec

from haechi.core.errors import InvalidSettings
from haechi.core.mqtt.commands import CommandSettings
from haechi.core.mqtt.hub import HubLimits
from haechi.core.mqtt.topics import Template, is_filter

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1_000_000, le=100_000_000_000)]


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    topic: str
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 1883
    subscribe: tuple[str, ...] = ()
    presence: bool = True
    tls_cert: str = ""
    tls_key: str = ""
    gather_ms: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 2.0
    gather_max: Count = 2_000
    pending_max: Count = 4_000
    packet_bytes_max: Annotated[int, msgspec.Meta(ge=128, le=1_048_576)] = 262_144
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1_000
    connections_max: Count = 10_000
    sessions_max: Count = 20_000
    queue_max: Count = 1_000
    queue_bytes_max: Bytes = 64_000_000
    retained_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 100_000
    retained_bytes_max: Bytes = 64_000_000
    not_reading_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    session_expiry_s_max: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFE)] = 604_800
    unavailable_s: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 5.0
    commands: CommandSettings | None = None


def hub_limits(settings: MqttSettings) -> HubLimits:
    """What the link's sessions and retained messages may take."""
    names = (one.name for one in fields(HubLimits))
    return HubLimits(**{name: getattr(settings, name) for name in names})


def read(given: Mapping[str, Any]) -> MqttSettings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    known = [one.name for one in fields(MqttSettings)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidSettings(f"{', '.join(unknown)}: an MQTT link has no such setting; it has {', '.join(known)}")
    try:
        settings = msgspec.convert(dict(given), MqttSettings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"{error}; the adapter's sample.toml shows each setting") from error
    Template(settings.topic)
    for wanted in settings.subscribe:
        if not is_filter(wanted):
            raise InvalidSettings(f'subscribe: {wanted!r} is no topic filter; try "city/{{device}}/commands/#"')
    if settings.commands:
        settings.commands.check(settings.subscribe)
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise InvalidSettings("tls_key: give tls_cert and tls_key together, or neither")
    return settings


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
