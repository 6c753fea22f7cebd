"""Shared by the tests of the HTTP push door: what lies behind it."""

import asyncio
from collections.abc import Sequence

from haechi import registry
from haechi.core.errors import InvalidData
from haechi.core.message import Message
from haechi.ports import Receipt


class MemoryIntake:
    """Decodes with the link's codec like ingest does; can be held up and made to fail."""

    def __init__(self, codec: str = "json") -> None:
        self.messages: list[Message] = []
        self.rejected: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.refuse = ""
        self.codec = registry.create("codec", codec)({})

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        await self.open.wait()
        if self.failure:
            raise self.failure
        if self.refuse:
            return Receipt(refused=dict.fromkeys(range(len(messages)), self.refuse), each=[(0, 0)] * len(messages))
        self.messages += messages
        each = [self.outcome(one) for one in messages]
        return Receipt(sum(one for one, _ in each), sum(one for _, one in each), each=each)

    def outcome(self, message: Message) -> tuple[int, int]:
        try:
            return len(self.codec.decode(message)), 0
        except InvalidData:
            return 0, 1

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        assert link == "push"
        self.rejected[reason] = self.rejected.get(reason, 0) + count


class Registered:
    """Knows two devices until they are shut out."""

    shut_out = False

    def verify(self, device: str, secret: str, link: str) -> bool:
        if self.shut_out:
            return False
        return (device, secret, link) == ("gw:1", "s3cret", "push") or (device, secret) == ("gw", "s3cret")

    def knows(self, device: str, link: str) -> bool:
        return device in ("gw", "gw:1")
