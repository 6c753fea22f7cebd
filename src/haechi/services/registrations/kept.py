"""Answers of context sources that are given again while their registration's `cacheDuration` lasts (clause 5.2.34).

Used by those who ask sources. A change sent to a source, or to its registration, ends what was kept of it."""

from collections import OrderedDict, defaultdict
from collections.abc import Hashable
from typing import NamedTuple

from haechi.services.registrations.exchange import Incoming, Outgoing

MOST_BYTES = 16 << 20  # of one tenant; what was used longest ago goes first
_OVERHEAD = 1_000  # of an answer without its body, roughly


class _Answer(NamedTuple):
    registration: str
    until: int
    incoming: Incoming

    @property
    def size(self) -> int:
        return len(self.incoming.body) + _OVERHEAD


class KeptAnswers:
    """`changes` of a registration is taken before a question is sent: an answer that a change overtook is not kept."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._all: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._changes: defaultdict[str, int] = defaultdict(int)

    def changes(self, registration: str) -> int:
        """How often what the source has was changed through this broker."""
        return self._changes[registration]

    def find(self, registration: str, question: Outgoing, now: int) -> Incoming | None:
        """The answer that is still good at `now` (µs)."""
        key = _key(registration, question)
        found = self._all.get(key)
        if found is None:
            return None
        if found.until <= now:
            self._drop(key)
            return None
        self._all.move_to_end(key)
        return found.incoming

    def keep(self, registration: str, question: Outgoing, incoming: Incoming, until: int, changes: int) -> None:
        """`until`: µs, exclusive; `changes`: of before the question was sent."""
        if changes != self._changes[registration]:
            return
        key, answer = _key(registration, question), _Answer(registration, until, incoming)
        self._drop(key)
        self._all[key] = answer
        self._bytes += answer.size
        while self._bytes > self._most:
            self._drop(next(iter(self._all)))

    def forget(self, registration: str) -> None:
        """Whatever the source answered, it may answer otherwise now."""
        self._changes[registration] += 1
        for key in [key for key, one in self._all.items() if one.registration == registration]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        found = self._all.pop(key, None)
        if found is not None:
            self._bytes -= found.size


def _key(registration: str, question: Outgoing) -> Hashable:
    return registration, question.method, question.url, tuple(question.headers), question.body
