"""Argon2 password hashes, computed in a worker thread so that a login never stalls the loop. Used by `accounts`."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from haechi.core.errors import InvalidData

MIN_LENGTH = 10
MAX_LENGTH = 1024  # argon2 takes anything; a megabyte of password is an attack


class Passwords:
    """Hashes and checks passwords; at most `parallel` at a time, because each takes 64 MiB and tens of milliseconds."""

    def __init__(self, hasher: PasswordHasher | None = None, parallel: int = 2) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(parallel)
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """The encoded hash; `InvalidData` when the password is too short or absurdly long."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise InvalidData(
                f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters; choose a longer one", "weak_password"
            )
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Whether the password belongs to the hash. Without one (no such user) it takes just as long and is False."""
        if len(password) > MAX_LENGTH:
            return False
        async with self._slots:
            return await asyncio.to_thread(self._verify, encoded, password)

    def _verify(self, encoded: str | None, password: str) -> bool:
        if encoded is None and not self._nobody:
            self._nobody = self._hasher.hash("nobody has this password")
        try:
            return self._hasher.verify(encoded or self._nobody, password) and encoded is not None
        except (VerificationError, InvalidHashError):
            return False
