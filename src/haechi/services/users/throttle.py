"""Slows down password guessing: a user from an address, and an address as a whole, must wait. Used by `accounts`."""

from collections import OrderedDict
from dataclasses import dataclass

from haechi.core.times import SECOND

FREE_PER_USER = 5  # wrong passwords of one user from one address before the first wait
FREE_PER_ADDRESS = 30  # over all users: a spray over names from one address
LONGEST_S = 900
FORGIVEN_S = 3600  # after the last failure's wait: yesterday's typing errors are no attack
REMEMBERED = 10_000  # keys; the oldest are forgotten first, so a flood of made-up names takes no memory


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    free_at: int


class Throttle:
    """Counts failures in memory; waits double from 1 s to 15 min and end with a success. Instants in microseconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def wait_s(self, user: str, address: str, now: int) -> int:
        """Whole seconds until the next attempt is looked at; 0 when it may be made now."""
        known = (self._failures.get(key) for key in _keys(user, address))
        free_at = max((one.free_at for one in known if one), default=0)
        return max(0, -(-(free_at - now) // SECOND))

    def failed(self, user: str, address: str, now: int) -> None:
        """Notes a wrong password."""
        for key, free in zip(_keys(user, address), (FREE_PER_USER, FREE_PER_ADDRESS), strict=True):
            before = self._failures.pop(key, None)
            recent = before and now - before.free_at < FORGIVEN_S * SECOND
            count = before.count + 1 if before and recent else 1
            wait_s = 0 if count < free else min(LONGEST_S, 2 ** min(count - free, 20))
            self._failures[key] = _Failures(count, now + wait_s * SECOND)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, user: str, address: str, now: int) -> None:
        """Forgets the failures of this user from this address, and takes this attempt off the count of the address."""
        mine, everyone = _keys(user, address)
        self._failures.pop(mine, None)
        before = self._failures.get(everyone)
        if before:
            self._failures[everyone] = _Failures(max(0, before.count - 1), now)


def _keys(user: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (user, address), ("", address)
