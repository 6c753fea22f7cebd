"""What a client must know of a server before it connects. Filled by the adapter's settings, read by session.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is, how it is spoken to (policy and mode as sample.toml names them), who we are there."""

    id: str
    url: str
    security: str = "Basic256Sha256"
    mode: str = "sign_and_encrypt"
    user: str = ""  # empty: anonymous
    password_file: str = ""
    certificate_sha256: str = ""  # of the server's certificate; empty: those in `trusted/`


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait, how often to hear."""

    timeout_s: float = 4.0
    publishing_ms: float = 500.0
    keep_s: float = 600.0  # how long the server keeps session and subscription for a client that is away


@dataclass(frozen=True, slots=True)
class Item:
    """One variable to be subscribed to. `handle` names it in what the server publishes."""

    handle: int
    node: str  # "ns=2;s=NAME" or "nsu=URI;s=NAME"
    sampling_ms: float = 250.0
    queue: int = 10
    deadband: float = 0.0
    every_sample: bool = False  # a newer SourceTimestamp is told, also when the value is the same
