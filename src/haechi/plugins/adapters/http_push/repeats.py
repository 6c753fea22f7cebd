"""Remembers what was answered under an Idempotency-Key, so that a request sent again is stored once. Used by door.

In memory and for a while: after a restart a repeated request is stored again, where the history drops the double rows.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from haechi.core.errors import Conflict, InvalidData

KEY_MAX = 255


@dataclass(slots=True)
class _Entry:
    digest: bytes
    until: float
    answer: tuple[int, bytes] | None = None


class Repeats:
    """Answers by (device, key). `now` is any rising clock in seconds."""

    def __init__(self, kept_s: float, most: int, now: Callable[[], float]) -> None:
        self._kept_s, self._most, self._now = kept_s, most, now
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def begin(self, device: str, key: str, digest: bytes) -> tuple[int, bytes] | None:
        """The answer given before; None: go on and call `end` or `drop`.

        `Conflict`: the first request is still under way. `InvalidData`: the key came with another body or is too long.
        """
        if len(key) > KEY_MAX:
            raise InvalidData(f"an Idempotency-Key has at most {KEY_MAX} characters", "bad_key")
        self._forget_old()
        entry = self._entries.get((device, key))
        if entry is None:
            self._entries[device, key] = _Entry(digest, self._now() + self._kept_s)
            return None
        if entry.digest != digest:
            raise InvalidData("this Idempotency-Key came with another body; take a new key", "bad_key")
        if entry.answer is None:
            raise Conflict("the first request with this Idempotency-Key is still under way; ask again")
        return entry.answer

    def end(self, device: str, key: str, answer: tuple[int, bytes]) -> None:
        """The request is durable and answered so."""
        if (entry := self._entries.get((device, key))) is not None:
            entry.answer = answer

    def drop(self, device: str, key: str) -> None:
        """The request failed: the next one with this key counts."""
        self._entries.pop((device, key), None)

    def _forget_old(self) -> None:
        now = self._now()
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if oldest.until > now and len(self._entries) < self._most:
                return
            self._entries.popitem(last=False)
