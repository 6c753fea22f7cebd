"""What this face needs from the rest: the live model, a way to the log, the clock. Made by `app.py`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from haechi.core.frame import Frame
from haechi.ports import Clock, EntityCensus, EntityStore
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.subscriptions.notifier import Notifier


class LiveModel(EntityStore, EntityCensus, Protocol):
    """Entities and what kinds of them there are."""


@dataclass(frozen=True, slots=True)
class NgsiServices:
    """`write` appends a frame on subject `entity` to the log and returns when reads of `store` see it; `watched_anew`
    returns when changes are kept for the subscriptions there are now.
    """

    store: LiveModel
    write: Callable[[Frame], Awaitable[None]]
    clock: Clock
    contexts: Contexts
    notifier: Notifier
    watched_anew: Callable[[], Awaitable[None]]
