"""Settings of an OPC UA link, validated; the adapter reads them once in `create`, `haechi check` before that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from haechi.core.errors import InvalidSettings
from haechi.plugins.wire.opcua.peer import Item, Server

Policy = Literal["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
Mode = Literal["sign", "sign_and_encrypt"]
Seconds = Annotated[float, msgspec.Meta(ge=0.01, le=3_600)]
Pause = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Milliseconds = Annotated[float, msgspec.Meta(ge=1, le=86_400_000)]
NODE_ID = re.compile(r"(ns=\d{1,5};|nsu=[^;]+;)?(i=\d{1,10}|s=.+|g=[0-9a-fA-F-]{36}|b=[A-Za-z0-9+/=]+)")
INSTALL = "pip install 'haechi[opcua]'"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One `[[settings.device]]`: a server. Empty text means: as the link says."""

    id: str
    url: str = ""
    security: Policy | Literal[""] = ""
    mode: Mode | Literal[""] = ""
    user: str = ""
    password_file: str = ""
    anonymous: bool = False
    certificate_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One `[[settings.node]]`: a variable of the server. `{channel}` in `node` stands for each of `channels`."""

    node: str
    field: str
    device: str = "*"
    channel: str = ""
    channels: tuple[str, ...] = ()
    sampling_ms: Annotated[float, msgspec.Meta(ge=0, le=86_400_000)] | None = None
    queue: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    deadband: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    writable: bool = False

    def each(self) -> "tuple[Node, ...]":
        """One per channel."""
        if not self.channels:
            return (self,)
        return tuple(
            replace(self, node=self.node.replace("{channel}", one), channel=one, channels=()) for one in self.channels
        )


@dataclass(frozen=True, slots=True)
class OpcuaSettings:
    """What `[settings]` of a link may say; sample.toml explains each."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 4840
    path: str = ""
    security: Policy = "Basic256Sha256"
    mode: Mode = "sign_and_encrypt"
    user: str = ""
    password_file: str = ""
    anonymous: bool = False
    publishing_ms: Milliseconds = 500.0
    sampling_ms: Annotated[float, msgspec.Meta(ge=0, le=86_400_000)] = 250.0
    queue: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    every_sample: bool = False
    time: Literal["source", "server", "arrival"] = "source"
    subscribe: bool = True
    period_s: Annotated[float, msgspec.Meta(ge=0.01, le=86_400)] = 5.0
    refresh_s: Pause = 0.0
    timeout_s: Seconds = 4.0
    reconnect_s: Seconds = 1.0
    reconnect_s_max: Seconds = 60.0
    keep_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 600.0
    gather_ms: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 3.0
    presence: bool = True
    device: tuple[ServerSettings, ...] = field(default=())
    node: tuple[Node, ...] = field(default=())

    def nodes(self, device: str) -> tuple[Node, ...]:
        """Those of one server, one per channel."""
        return tuple(each for one in self.node if fnmatchcase(device, one.device) for each in one.each())

    def server(self, one: ServerSettings) -> Server:
        """One server, with everything the link says for all."""
        who = one if one.user or one.anonymous else self
        return Server(
            one.id,
            one.url or f"opc.tcp://{self.host}:{self.port}/{self.path.lstrip('/')}",
            one.security or self.security,
            one.mode or self.mode,
            who.user,
            who.password_file,
            one.certificate_sha256,
        )

    def item(self, handle: int, node: "Node") -> Item:
        """What is subscribed to for a node."""
        sampling_ms = self.sampling_ms if node.sampling_ms is None else node.sampling_ms
        return Item(handle, node.node, sampling_ms, node.queue or self.queue, node.deadband, self.every_sample)


def read(given: Mapping[str, Any]) -> OpcuaSettings:
    """Validated settings; `InvalidSettings` names the setting and the mend."""
    known = [one.name for one in fields(OpcuaSettings)]
    if unknown := sorted(set(given) - set(known)):
        raise InvalidSettings(f"{', '.join(unknown)}: an OPC UA link has no such setting; it has {', '.join(known)}")
    _no_others(given, "device", ServerSettings)
    _no_others(given, "node", Node)
    try:
        settings = msgspec.convert(dict(given), OpcuaSettings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"{error}; the adapter's sample.toml shows each setting") from error
    _check_servers(settings)
    for index, one in enumerate(settings.node):
        _check_node(one, f"node.{index}.")
    if find_spec("asyncua") is None:
        raise InvalidSettings(f"adapter: OPC UA needs the library asyncua, which is not installed; {INSTALL}")
    return settings


def _no_others(given: Mapping[str, Any], key: str, kind: type[ServerSettings] | type[Node]) -> None:
    """msgspec leaves out what a nested table may not have; a misspelt setting must not pass unseen."""
    known = [one.name for one in fields(kind)]
    for index, table in enumerate(given.get(key, ())):
        if isinstance(table, Mapping) and (unknown := sorted(set(table) - set(known))):
            wrong = ", ".join(f"{key}.{index}.{one}" for one in unknown)
            raise InvalidSettings(f"{wrong}: a {key} of an OPC UA link has no such setting; it has {', '.join(known)}")


def _check_servers(settings: OpcuaSettings) -> None:
    seen: set[str] = set()
    for index, one in enumerate(settings.device):
        at, who = f"device.{index}.", one if one.user or one.anonymous else settings
        if not one.id or one.id in seen or "/" in one.id:
            raise InvalidSettings(f"{at}id: {one.id!r} is empty, has a slash or stands twice; name each server once")
        seen.add(one.id)
        _check_url(settings.server(one).url, at + "url")
        if who.anonymous == bool(who.user):
            raise InvalidSettings(f"{at}user: give user and password_file, or say anonymous = true (not both)")
        _check_password(settings.server(one), at)
        if one.certificate_sha256 and not _is_sha256(one.certificate_sha256):
            raise InvalidSettings(
                f"{at}certificate_sha256: give the 64 hexadecimal digits of the certificate's SHA-256"
            )
        _check_fields(settings, one.id, at)


def _check_url(url: str, at: str) -> None:
    try:
        parts = urlsplit(url)
        wrong = parts.scheme != "opc.tcp" or not parts.hostname or not parts.port or "@" in parts.netloc
    except ValueError:
        wrong = True
    if wrong:
        raise InvalidSettings(
            f'{at}: {url.rpartition("@")[2]!r} is none; write "opc.tcp://HOST:PORT/PATH", no user in it'
        )


def _check_password(server: Server, at: str) -> None:
    if bool(server.user) != bool(server.password_file):
        raise InvalidSettings(f"{at}password_file: name a file that holds the password of user, and nothing else")
    if server.user and server.security == "None":
        raise InvalidSettings(f'{at}security: "None" would show the password to everyone; choose a policy')


def _is_sha256(text: str) -> bool:
    bare = text.replace(":", "")
    return len(bare) == 64 and all(one in "0123456789abcdefABCDEF" for one in bare)


def _check_fields(settings: OpcuaSettings, device: str, at: str) -> None:
    nodes = settings.nodes(device)
    if not nodes:
        raise InvalidSettings(f"{at}id: no [[settings.node]] is for {device!r}; add one")
    seen: set[tuple[str, str]] = set()
    for one in nodes:
        if (one.channel, one.field) in seen:
            raise InvalidSettings(
                f"node: {device} has field {one.field!r} twice on channel {one.channel!r}; rename one"
            )
        seen.add((one.channel, one.field))


def _check_node(one: Node, at: str) -> None:
    if not one.field:
        raise InvalidSettings(f"{at}field: name the field as the link's [[map]] does")
    if not NODE_ID.fullmatch(one.node):
        raise InvalidSettings(f'{at}node: {one.node!r} is no node id; write "ns=2;s=NAME" or "nsu=URI;i=NUMBER"')
    if bool(one.channels) != ("{channel}" in one.node):
        raise InvalidSettings(f"{at}channels: go with {{channel}} in node, one without the other means nothing")
    if one.channels and one.channel:
        raise InvalidSettings(f"{at}channel: give channel or channels, not both")
