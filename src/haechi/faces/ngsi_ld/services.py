"""What this face needs from the rest: the live model, a way to the log, the clock. Made by `app.py`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from haechi.core.frame import Frame
from haechi.ports import Clock, EntityCensus, EntityStore


class LiveModel(EntityStore, EntityCensus, Protocol):
    """Entities and what kinds of them there are."""


@dataclass(frozen=True, slots=True)
class NgsiServices:
    """`write` appends a frame on subject `entity` to the log and returns when reads of `store` see it.

    `contexts` are user @contexts by URL that need no download: the city's own.
    """

    store: LiveModel
    write: Callable[[Frame], Awaitable[None]]
    clock: Clock
    contexts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
