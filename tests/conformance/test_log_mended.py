"""A log that forgot its end is filled up to where its consumers are, also when that is interrupted."""

import pytest

from haechi.app.pipeline import _mend_log
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsLog


async def test_filling_up_that_was_interrupted_is_finished_at_the_next_start(
    log: NatsLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append

    async def once(subject: str, payload: bytes, dedupe_id: str) -> int:
        if await log.last_seq() >= 1:
            raise Unavailable("killed here")
        return await append(subject, payload, dedupe_id)

    monkeypatch.setattr(log, "append", once)
    with pytest.raises(Unavailable):
        await _mend_log(log, 3)
    monkeypatch.setattr(log, "append", append)
    await _mend_log(log, 3)
    assert await log.append("obs", b"", "new") == 4
