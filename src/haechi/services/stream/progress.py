"""How far the projections of another process have come: faces wait here to read their own writes and for answers to
commands."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson

from haechi.core import errors
from haechi.core.errors import HaechiError, Unavailable
from haechi.ports import Bus, Log

WAIT_S = 10.0
REMEMBERED = 1_000  # refusals nobody has asked for yet


class Refusals(Exception):
    """What the live model refused of a frame: another process was quicker. `errors` by command id."""

    def __init__(self, errors: Mapping[str, HaechiError]) -> None:
        super().__init__("; ".join(map(str, errors.values())))
        self.errors = errors


class Progress:
    """Follows `applied.*` and `reply.*` on the bus. Call `start` once."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._applied: dict[str, int] = {}
        self._moved = asyncio.Condition()
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._refused: dict[str, dict[str, Any]] = {}

    async def start(self) -> None:
        await self._bus.listen("applied.*", self._on_applied)
        await self._bus.listen("reply.*", self._on_reply)

    def applied(self) -> Mapping[str, int]:
        """Seq each projection last told of; projections not heard of yet are absent."""
        return dict(self._applied)

    async def advance(self, name: str, seq: int) -> None:
        """Notes that `name` has come to `seq`; also called for consumers in this process."""
        async with self._moved:
            self._applied[name] = max(seq, self._applied.get(name, 0))
            self._moved.notify_all()

    async def wait(self, names: tuple[str, ...], seq: int) -> None:
        """Returns when all of `names` have applied `seq`; `Unavailable` after ten seconds (the write itself is
        durable)."""

        def there() -> bool:
            return all(self._applied.get(one, 0) >= seq for one in names)

        try:
            async with asyncio.timeout(WAIT_S), self._moved:
                await self._moved.wait_for(there)
        except TimeoutError as error:
            late = [one for one in names if self._applied.get(one, 0) < seq]
            raise Unavailable(f"stored, but not applied yet by {', '.join(late)}; read again in a moment") from error

    async def _on_applied(self, subject: str, payload: bytes) -> None:
        await self.advance(subject.removeprefix("applied."), orjson.loads(payload)["seq"])

    async def _on_reply(self, subject: str, payload: bytes) -> None:
        id, reply = subject.removeprefix("reply."), orjson.loads(payload)
        waiting = self._replies.get(id)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)
        elif not reply["ok"]:
            self._refused[id] = reply
            if len(self._refused) > REMEMBERED:
                del self._refused[next(iter(self._refused))]

    def check(self, ids: Iterable[str]) -> None:
        """After `wait`: raises `Refusals` when some of these commands were refused. A reply is told before the position
        that includes it."""
        if self._refused and (errors := {id: _error(self._refused.pop(id)) for id in ids if id in self._refused}):
            raise Refusals(errors)

    async def ask(self, command_id: str, send: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Sends and returns the result of the reply to `command_id`; raises the error the reply names."""
        waiting = self._replies[command_id] = asyncio.get_running_loop().create_future()
        try:
            await send()
            async with asyncio.timeout(WAIT_S):
                reply = await waiting
        except TimeoutError as error:
            raise Unavailable("the command is stored but not answered yet; look at its effect in a moment") from error
        finally:
            del self._replies[command_id]
        if reply["ok"]:
            return dict(reply.get("result") or {})
        raise _error(reply)


def _error(reply: Mapping[str, Any]) -> HaechiError:
    kind = getattr(errors, str(reply.get("error")), errors.InvalidData)
    assert isinstance(kind, type) and issubclass(kind, HaechiError), kind
    return kind(str(reply.get("detail")))


class Commands:
    """Sends operator commands (`ops`) and returns what the projection that owns the kind answered."""

    def __init__(self, log: Log, progress: Progress) -> None:
        self._log, self._progress = log, progress

    async def __call__(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """`command` as in docs/reference/log.md; `id` is added when absent."""
        whole = {"id": uuid.uuid4().hex, **command}
        payload = orjson.dumps(whole)
        return await self._progress.ask(whole["id"], lambda: self._log.append("ops", payload, whole["id"]))
