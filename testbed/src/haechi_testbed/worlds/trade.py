"""What one more trade adds to a generated city. Made by the trade's own module, written by the world's script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Trade:
    """Texts by file name without folder or ending; rows of devices.csv are device, channel, link, entity."""

    domains: Sequence[str]
    testbed: Mapping[str, str]  # file in testbed/, with its ending -> text
    entities: Mapping[str, Sequence[dict[str, Any]]]  # facilities/<name>.ndjson
    links: Mapping[str, str] = field(default_factory=dict)  # links/<name>.toml
    devices: Sequence[tuple[str, str, str, str]] = ()
