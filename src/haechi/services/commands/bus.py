"""Outcomes of commands from the bus, where adapters tell them, to the log. Started by `app.py`."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog

from haechi.core.errors import Unavailable
from haechi.ports import Bus, Log

OUTCOMES = "command.done"
_events = structlog.get_logger("commands")
Stop = Callable[[], Awaitable[None]]


async def to_log(bus: Bus, log: Log) -> Stop:
    """Appends what adapters tell of commands to the log, each outcome once, until stopped."""

    async def heard(subject: str, payload: bytes) -> None:
        told = orjson.loads(payload)
        id, at = str(told.pop("id")), int(told["at"])
        record = {
            "id": f"{id}-{_word(told)}",
            "kind": "command.outcome",
            "user": "haechi",
            "at": at,
            "command": id,
            **told,
        }
        await log.append("ops", orjson.dumps(record), str(record["id"]))

    return await bus.listen(OUTCOMES, _careful(heard))


def _word(told: Mapping[str, Any]) -> str:
    """What is told, so that the same twice is kept once."""
    if told.get("waiting"):
        return f"waiting-{hashlib.blake2b(str(told.get('detail')).encode(), digest_size=6).hexdigest()}"
    if told.get("ok"):
        return "confirmed" if told.get("confirmed") else "delivered" if told.get("delivered") else "ok"
    return "unsure" if told.get("unsure") else "failed"


def _careful(heard: Callable[[str, bytes], Awaitable[None]]) -> Callable[[str, bytes], Awaitable[None]]:
    """What cannot be passed on now is told again by the projection, until the command's time is over."""

    async def listener(subject: str, payload: bytes) -> None:
        try:
            await heard(subject, payload)
        except Unavailable as error:
            _events.warning("not_passed_on", subject=subject, error=str(error))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            _events.error("notice_skipped", subject=subject, error=repr(error))

    return listener
