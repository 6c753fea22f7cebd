"""How big the log is, for the platform's own figures."""

from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError

from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import STREAM


@dataclass(frozen=True, slots=True)
class LogState:
    """What the stream holds now: old messages leave it, `last_seq` only rises."""

    last_seq: int
    messages: int
    bytes: int


async def log_state(client: Client) -> LogState:
    """Asks JetStream; `Unavailable` when it does not answer."""
    try:
        state = (await client.jetstream(timeout=5).stream_info(STREAM)).state
    except (nats.errors.Error, JetStreamError, OSError) as error:
        raise Unavailable(f"the log does not answer: {error}") from error
    return LogState(state.last_seq, state.messages, state.bytes)
