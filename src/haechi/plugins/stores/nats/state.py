"""How big the log is, for the platform's own figures."""

from dataclasses import dataclass

from nats.aio.client import Client

from haechi.plugins.stores.nats.upkeep import STREAM, answering


@dataclass(frozen=True, slots=True)
class LogState:
    """What the stream holds now: old messages leave it, `last_seq` only rises."""

    last_seq: int
    messages: int
    bytes: int


async def log_state(client: Client) -> LogState:
    """Asks JetStream; `Unavailable` when it does not answer."""
    with answering():
        state = (await client.jetstream(timeout=5).stream_info(STREAM)).state
    return LogState(state.last_seq, state.messages, state.bytes)
