"""People: users, roles, sessions and the slowing down of guesses, over a real SQLite store."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from haechi.core.errors import Busy, Conflict, InvalidData, NotFound, Refused
from haechi.core.times import to_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.users.accounts import COLLECTIONS, SESSION_S, Accounts
from haechi.services.users.passwords import Passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HOME = "192.0.2.7"


@dataclass
class Watch:
    """A clock the test moves."""

    instant: datetime = field(default_factory=lambda: datetime(2026, 11, 22, 9, tzinfo=UTC))

    def now(self) -> datetime:
        return self.instant

    async def sleep(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteRecords]:
    records = SqliteRecords(tmp_path / "users.db", COLLECTIONS)
    yield records
    records.close()


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
def accounts(store: SqliteRecords, clock: Watch) -> Accounts:
    numbers = count()
    return Accounts(store, clock, lambda: f"token-{next(numbers)}-{'x' * 32}", Passwords(QUICK))


def _written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_the_first_start_creates_an_admin_whose_password_is_told_once(accounts: Accounts) -> None:
    password = await accounts.first_start()
    assert password is not None and len(password) == 24
    assert await accounts.first_start() is None
    person, _ = await accounts.login("admin", password, HOME)
    assert person.role == "admin" and person.may("supervisor")


async def test_neither_passwords_nor_tokens_lie_in_the_store(accounts: Accounts, tmp_path: Path) -> None:
    await accounts.add("kim", "correct horse", "operator")
    _, token = await accounts.login("kim", "correct horse", HOME)
    everything = _written(tmp_path)
    assert b"kim" in everything
    assert b"correct horse" not in everything and token.encode() not in everything


async def test_a_session_slides_for_twelve_hours_and_ends_when_idle(accounts: Accounts, clock: Watch) -> None:
    await accounts.add("kim", "correct horse", "operator")
    _, token = await accounts.login("kim", "correct horse", HOME)
    for _ in range(3):
        clock.instant += timedelta(seconds=SESSION_S - 60)
        assert await accounts.who(token)
    clock.instant += timedelta(seconds=SESSION_S + 1)
    assert await accounts.who(token) is None


async def test_expired_sessions_are_swept_at_the_next_login(
    accounts: Accounts, clock: Watch, store: SqliteRecords
) -> None:
    await accounts.add("kim", "correct horse", "operator")
    await accounts.login("kim", "correct horse", HOME)
    clock.instant += timedelta(seconds=SESSION_S + 1)
    await accounts.login("kim", "correct horse", HOME)
    assert len(store.find("sessions")) == 1


async def test_logout_ends_the_session_and_only_that_one(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "operator")
    person, first = await accounts.login("kim", "correct horse", HOME)
    _, second = await accounts.login("kim", "correct horse", HOME)
    await accounts.logout(person.session)
    assert await accounts.who(first) is None
    assert await accounts.who(second)


@pytest.mark.parametrize("user", ["kim", "nobody"])
async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(accounts: Accounts, user: str) -> None:
    await accounts.add("kim", "correct horse", "operator")
    with pytest.raises(Refused, match="user or password is wrong"):
        await accounts.login(user, "wrong horse", HOME)


async def test_after_five_failures_even_the_right_password_must_wait(accounts: Accounts, clock: Watch) -> None:
    await accounts.add("kim", "correct horse", "operator")
    for _ in range(5):
        with pytest.raises(Refused):
            await accounts.login("kim", "wrong horse", HOME)
    with pytest.raises(Busy) as refused:
        await accounts.login("kim", "correct horse", HOME)
    assert refused.value.retry_after_s == 1
    await accounts.login(
        "kim", "correct horse", "198.51.100.4"
    )  # somebody else's typing does not lock her out elsewhere
    clock.instant += timedelta(seconds=1)
    await accounts.login("kim", "correct horse", HOME)


async def test_waits_double_with_each_failure_up_to_a_quarter_of_an_hour(accounts: Accounts, clock: Watch) -> None:
    waits = []
    for _ in range(20):
        try:
            await accounts.login("kim", "wrong horse", HOME)
        except Refused:
            continue
        except Busy as busy:
            waits.append(busy.retry_after_s)
            clock.instant += timedelta(seconds=busy.retry_after_s)
            with pytest.raises(Refused):
                await accounts.login("kim", "wrong horse", HOME)
    assert waits[:4] == [1, 2, 4, 8] and waits[-1] == 900


async def test_spraying_one_password_over_many_users_is_slowed_by_address(accounts: Accounts) -> None:
    for number in range(30):
        with pytest.raises(Refused):
            await accounts.login(f"user{number}", "wrong horse", HOME)
    with pytest.raises(Busy):
        await accounts.login("someone", "wrong horse", HOME)


async def test_many_good_logins_from_one_address_are_no_attack(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "operator")
    for _ in range(40):
        await accounts.login("kim", "correct horse", HOME)


async def test_disabling_a_user_ends_the_sessions_at_once(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "operator")
    _, token = await accounts.login("kim", "correct horse", HOME)
    await accounts.set_enabled("kim", False)
    assert await accounts.who(token) is None
    with pytest.raises(Refused):
        await accounts.login("kim", "correct horse", HOME)
    await accounts.set_enabled("kim", True)
    assert await accounts.who(token) is None
    await accounts.login("kim", "correct horse", HOME)


async def test_what_another_process_changes_holds_at_once_though_sessions_are_remembered(
    accounts: Accounts, clock: Watch, tmp_path: Path
) -> None:
    await accounts.add("kim", "correct horse battery", "operator")
    _, token = await accounts.login("kim", "correct horse battery", HOME)
    assert await accounts.who(token) is await accounts.who(token)  # remembered
    file = SqliteRecords(tmp_path / "users.db", COLLECTIONS)
    other = Accounts(file, clock, lambda: "", Passwords(QUICK))
    await other.set_enabled("kim", False)
    file.close()
    clock.instant += timedelta(milliseconds=5)
    assert await accounts.who(token) is None


async def test_changing_the_password_needs_the_old_one_and_ends_other_sessions(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "operator")
    _, token = await accounts.login("kim", "correct horse", HOME)
    with pytest.raises(Refused):
        await accounts.change_password("kim", "wrong horse", "battery staple", HOME)
    await accounts.change_password("kim", "correct horse", "battery staple", HOME)
    assert await accounts.who(token) is None
    await accounts.login("kim", "battery staple", HOME)


async def test_a_new_role_holds_from_the_next_request_on(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "viewer")
    _, token = await accounts.login("kim", "correct horse", HOME)
    await accounts.set_role("kim", "supervisor")
    person = await accounts.who(token)
    assert person is not None and person.may("operator") and not person.may("admin")


async def test_bad_users_are_refused_with_the_mend(accounts: Accounts) -> None:
    await accounts.add("kim", "correct horse", "operator")
    with pytest.raises(Conflict, match="exists already"):
        await accounts.add("kim", "correct horse", "operator")
    with pytest.raises(InvalidData, match="viewer, operator"):
        await accounts.add("lee", "correct horse", "boss")
    with pytest.raises(InvalidData, match="10 to"):
        await accounts.add("lee", "short", "operator")
    with pytest.raises(InvalidData, match="a-z"):
        await accounts.add("Lee Park", "correct horse", "operator")
    with pytest.raises(NotFound):
        await accounts.set_enabled("nobody", False)


async def test_the_list_of_users_shows_no_hashes(accounts: Accounts, clock: Watch) -> None:
    await accounts.add("kim", "correct horse", "operator", "김하나")
    assert await accounts.users() == [
        {
            "user": "kim",
            "name": "김하나",
            "role": "operator",
            "enabled": True,
            "created_at": to_us(clock.now()),
            "era": 0,
        }
    ]
