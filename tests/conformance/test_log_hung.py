"""A nats-server that hangs: what is sent to it does not pile up, and everybody is told; then it goes on."""

import os
import signal
from typing import Any

import pytest

from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats import log as nats_log
from haechi.plugins.stores.nats.log import NatsBus, NatsLog

MIB = 1024 * 1024


async def test_a_server_that_does_not_read_is_sent_no_more_than_a_bound(
    log: NatsLog, nats_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_log, "APPEND_S", 0.3)
    monkeypatch.setattr(nats_log, "CONFIRM_S", 0.1)
    monkeypatch.setattr(nats_log, "PENDING_BYTES", 8 * MIB)
    bus = NatsBus(log._client)
    payload = os.urandom(2 * MIB)
    os.kill(nats_server.pid, signal.SIGSTOP)
    try:
        for number in range(12):
            with pytest.raises(Unavailable):
                await log.append("obs", payload, f"hung-{number}")
        assert log._client.pending_data_size < 12 * MIB
        with pytest.raises(Unavailable, match="does not read"):
            await bus.publish("live.alarm", b"{}")
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)
    monkeypatch.setattr(nats_log, "APPEND_S", 30.0)
    monkeypatch.setattr(nats_log, "CONFIRM_S", 5.0)
    seq = await log.append("obs", b"again", "again")
    assert await log.append("obs", b"again", "again") == seq
    await bus.publish("live.alarm", b"{}")
