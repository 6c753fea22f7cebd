"""Tokens of programs that may see one thing and nothing else, e.g. Prometheus. Used by the guard and the CLI.

Hashed in the store of the people; a token has 256 bits, so a fast hash suffices. Shown once.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.core.times import DAY, to_us
from haechi.ports import Change, Clock, RecordStore
from haechi.services.users.accounts import Person

PREFIX = "haechi_"  # so that scanners for secrets, and the guard, know one
SCOPES: Mapping[str, frozenset[str]] = {"metrics": frozenset({"/metrics"})}
"""What a token of each scope reaches: paths, GET alone."""
DAYS = 365
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Tokens:
    """Over a store of `accounts.COLLECTIONS`. `secret` gives a new secret of 256 bits, as text."""

    def __init__(self, store: RecordStore, clock: Clock, secret: Callable[[], str]) -> None:
        self._store, self._clock, self._secret = store, clock, secret

    def create(self, name: str, scope: str, days: int = DAYS) -> str:
        """A new token, to be shown once. `InvalidData`, or `Conflict` when the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidData(
                f"name {name!r}: use 1 to 64 of a-z 0-9 . _ - and start with a letter or digit", "bad_name"
            )
        if scope not in SCOPES:
            raise InvalidData(f"no scope {scope!r}; there are {', '.join(SCOPES)}", "bad_scope")
        if not 1 <= days <= 3650:
            raise InvalidData(f"{days} days; give 1 to 3650", "bad_days")
        if self._store.find("tokens", {"name": name}, "id", 1):
            raise Conflict(f"token {name!r} exists already; revoke it first or choose another name")
        token, now = PREFIX + self._secret(), to_us(self._clock.now())
        body = {"name": name, "scope": scope, "created_at": now, "expires_at": now + days * DAY}
        self._store.commit([Change("tokens", _digest(token), body)])
        return token

    def all(self) -> list[dict[str, Any]]:
        """`{name, scope, created_at, expires_at}` of each, by name."""
        found = self._store.find("tokens", {}, "name", 10_000)
        return [{key: one[key] for key in ("name", "scope", "created_at", "expires_at")} for one in found]

    def revoke(self, name: str) -> None:
        """Ends a token, from the next request on; `NotFound`."""
        found = self._store.find("tokens", {"name": name}, "id", 1)
        if not found:
            raise NotFound(f"no token {name!r}; `haechi token list` shows them")
        self._store.commit([Change("tokens", one["id"], None) for one in found])

    async def who(self, token: str) -> Person | None:
        """Whom a token stands for: a viewer that reaches its scope alone. None when there is none or it has ended."""
        found = await asyncio.to_thread(self._store.get, "tokens", _digest(token))
        if not found or found["expires_at"] <= to_us(self._clock.now()):
            return None
        return Person(f"token:{found['name']}", "viewer", str(found["name"]), scope=str(found["scope"]))


def reaches(person: Person, method: str, path: str) -> bool:
    """Whether somebody may come to a path at all: people may, a token within its scope."""
    return not person.scope or (method in ("GET", "HEAD") and path in SCOPES.get(person.scope, frozenset()))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
