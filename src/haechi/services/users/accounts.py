"""People: users with roles, their passwords and sessions, over a record store. Used by the console face and the CLI."""

import asyncio
import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from haechi.core.errors import Busy, Conflict, InvalidData, NotFound, Refused
from haechi.core.times import SECOND, to_us
from haechi.ports import Change, Clock, VersionedRecords
from haechi.services.users.passwords import Passwords
from haechi.services.users.throttle import Throttle

ROLES = ("viewer", "operator", "supervisor", "admin")
SESSION_S = 12 * 3600
COLLECTIONS = {"users": ("role",), "sessions": ("user", "expires_at"), "tokens": ("name",)}
_RENEW_AFTER_US = 300 * SECOND  # the sliding expiry is written at most this often: a request is not worth an fsync
_TRUSTED_US = 5_000  # what another process commits holds after that
_REMEMBERED = 1_000  # sessions of which the last answer is kept
_events = structlog.get_logger("people")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Person:
    """Who is asking."""

    user: str
    role: str
    name: str
    session: str = ""  # the session's id: the hash of its token
    scope: str = ""  # what a program's token is for (`tokens.SCOPES`); empty: a person

    def may(self, role: str) -> bool:
        """Whether this person's role is `role` or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class _Known:
    """Whose session it is, as long as nothing was committed since `version` and before `until` (microseconds)."""

    person: Person
    version: object
    until: int


class Accounts:
    """Users and sessions over a store of `COLLECTIONS`. `token` gives a new secret of 256 bits, as text."""

    def __init__(
        self, store: VersionedRecords, clock: Clock, token: Callable[[], str], passwords: Passwords | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._token = token
        self._passwords = passwords or Passwords()
        self._throttle = Throttle()
        self._known: dict[str, _Known] = {}
        self._asked_at, self._asked = 0, object()
        self._sessions = threading.Lock()  # a renewal must not bring back a session that is being ended

    def _now(self) -> int:
        return to_us(self._clock.now())

    # --- users ---

    async def first_start(self) -> str | None:
        """Creates `admin` when there are no users and returns its random password, to be shown once; else None."""
        if await asyncio.to_thread(self._store.find, "users", {}, "id", 1):
            return None
        password = self._token()[:24]
        await self.add("admin", password, "admin", "Administrator")
        return password

    def close(self) -> None:
        """Leaves the store to others."""
        self._store.close()

    async def add(self, user: str, password: str, role: str, name: str = "") -> Person:
        """Creates a user. `InvalidData` for a bad name, role or password; `Conflict` when the name is taken."""
        if not _NAME.fullmatch(user):
            raise InvalidData(
                f"user name {user!r}: use 1 to 64 of a-z 0-9 . _ - and start with a letter or digit", "bad_user"
            )
        _check_role(role)
        encoded = await self._passwords.hash(password)
        if await asyncio.to_thread(self._store.get, "users", user):
            raise Conflict(f"user {user!r} exists already; choose another name or change its password")
        body = {
            "name": name or user,
            "role": role,
            "password": encoded,
            "enabled": True,
            "created_at": self._now(),
            "era": 0,
        }
        await self._write(Change("users", user, body))
        return Person(user, role, name or user)

    async def set_enabled(self, user: str, enabled: bool) -> None:
        """Disables a user, which ends all sessions at once, or enables it again."""
        body = await self._user(user)
        await self._write(Change("users", user, {**body, "enabled": enabled, "era": body["era"] + (not enabled)}))

    async def set_role(self, user: str, role: str) -> None:
        """Changes the role; holds from the next request on."""
        _check_role(role)
        await self._write(Change("users", user, {**await self._user(user), "role": role}))

    async def set_password(self, user: str, password: str) -> None:
        """Sets a new password without the old one (an admin, the CLI); ends all sessions of the user."""
        body = await self._user(user)
        encoded = await self._passwords.hash(password)
        await self._write(Change("users", user, {**body, "password": encoded, "era": body["era"] + 1}))

    async def change_password(self, user: str, old: str, new: str, address: str) -> None:
        """Sets a new password when the old one is right (`Refused` else, throttled like a login); ends all sessions."""
        await self._checked(user, old, address)
        await self.set_password(user, new)
        _events.info("password_changed", user=user, address=address)

    async def users(self) -> list[dict[str, Any]]:
        """All users without their password hashes: `{user, name, role, enabled, created_at}`."""
        found = await asyncio.to_thread(self._store.find, "users", {}, "id", 10_000)
        return [{"user": one["id"]} | {k: v for k, v in one.items() if k not in {"id", "password"}} for one in found]

    # --- sessions ---

    async def login(self, user: str, password: str, address: str) -> tuple[Person, str]:
        """The person and a new session token. `Refused` when user or password is wrong (it is not said which),
        `Busy` with the seconds to wait after too many failures of this user from this address."""
        body = await self._checked(user, password, address)
        token = self._token()
        now = self._now()
        expires_at = now + SESSION_S * SECOND
        session = {"user": user, "era": body["era"], "created_at": now, "expires_at": expires_at, "address": address}
        await self._write(Change("sessions", _digest(token), session), *await self._expired(now))
        _events.info("login", user=user, role=body["role"], address=address)
        return Person(user, body["role"], body["name"], _digest(token)), token

    async def _checked(self, user: str, password: str, address: str) -> dict[str, Any]:
        wait_s = self._throttle.wait_s(user, address, self._now())
        if wait_s:
            raise Busy(f"too many wrong passwords; try again in {wait_s} s", wait_s)
        # Counted before the slow hash and taken back on success: parallel guesses cannot slip through together.
        self._throttle.failed(user, address, self._now())
        body = await asyncio.to_thread(self._store.get, "users", user)
        usable = body if body and body["enabled"] else None
        if not await self._passwords.matches(usable["password"] if usable else None, password) or not usable:
            # What a stranger typed as a name may be a password: only names of ours are written down.
            _events.warning("login_refused", user=user if body else "unknown", address=address)
            raise Refused("user or password is wrong; check both (an administrator can set a new password)")
        self._throttle.succeeded(user, address, self._now())
        return usable

    async def who(self, token: str) -> Person | None:
        """The person behind a session token, None when there is no such session, it expired or the user is disabled.

        Each use moves the expiry on to twelve hours from now.
        """
        return await self.who_session(_digest(token)) if token else None

    async def who_session(self, session: str) -> Person | None:
        """As `who`, by the session's id (`Person.session`): a long-lived connection asks again with it."""
        now, known = self._now(), self._known.get(session)
        if known and known.until > now and known.version == self._version(now):
            return known.person
        return await asyncio.to_thread(self._who, session, now)

    def _who(self, session: str, now: int) -> Person | None:
        version = self._store.version()
        with self._sessions:
            found = self._store.get("sessions", session)
            if not found or found["expires_at"] <= now:
                return None
            body = self._store.get("users", found["user"])
            # The era rises when a password changes or a user is disabled, in whatever process: older sessions are over.
            if not body or not body["enabled"] or body["era"] != found["era"]:
                return None
            expires_at = now + SESSION_S * SECOND
            if expires_at - found["expires_at"] > _RENEW_AFTER_US:
                self._store.commit([Change("sessions", session, {**found, "expires_at": expires_at})])
        person = Person(found["user"], body["role"], body["name"], session)
        self._remember(session, _Known(person, version, now + _RENEW_AFTER_US))
        return person

    def _version(self, now: int) -> object:
        """The store's, at most so old: asking is a system call and lets go of the interpreter."""
        if not 0 < now - self._asked_at < _TRUSTED_US:
            self._asked_at, self._asked = now, self._store.version()
        return self._asked

    def _remember(self, session: str, known: _Known) -> None:
        """Programs ask thousands of times a second; what is remembered holds until anything is committed."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[session] = known

    async def logout(self, session: str) -> None:
        """Ends the session."""
        await self._write(Change("sessions", session, None))

    # --- the store ---

    async def _user(self, user: str) -> dict[str, Any]:
        body = await asyncio.to_thread(self._store.get, "users", user)
        if body is None:
            raise NotFound(f"no user {user!r}; `haechi user list` shows who there is")
        return body

    async def _expired(self, now: int) -> list[Change]:
        oldest = await asyncio.to_thread(self._store.find, "sessions", {}, "expires_at", 100)
        return [Change("sessions", one["id"], None) for one in oldest if one["expires_at"] <= now]

    async def _write(self, *changes: Change) -> None:
        await asyncio.to_thread(self._commit, changes)

    def _commit(self, changes: Sequence[Change]) -> None:
        with self._sessions:
            self._store.commit(changes)
        self._known.clear()  # what this process changes holds from the next request on


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidData(f"no role {role!r}; there are {', '.join(ROLES)}", "bad_role")
