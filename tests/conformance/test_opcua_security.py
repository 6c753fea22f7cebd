"""Who may speak with whom: policies of OPC UA, certificates of both sides, users; against node-opcua."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opcua_kit import ALL, FIRST, SECURE, Ears, Kept, Peer, following, secret, trust, until

pytestmark = pytest.mark.peer
WORD = "an-Unguessable.secret"
USER = {"user": "haechi", "password_file": "password"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    options = {**SECURE, "users": {"haechi": WORD}, "anonymous": False}
    with Peer(tmp_path_factory.mktemp("peer"), **options) as running:
        yield running


@pytest.fixture
def intake() -> Kept:
    return Kept()


@pytest.fixture
def bus() -> Ears:
    return Ears()


async def faulty(intake: Kept, words: str) -> str:
    """Waits until the server's fault says this, and that nothing else came."""
    await until(lambda: intake.status() and words in intake.status()[-1].get("fault", ""))
    assert intake.status()[-1]["online"] is False
    assert not intake.samples
    return str(intake.status()[-1]["fault"])


def kept_in(folder: Path, word: str) -> list[str]:
    """Names of the files that hold it."""
    return [one.name for one in folder.rglob("*") if one.is_file() and word.encode() in one.read_bytes()]


@pytest.mark.parametrize("mode", ["sign", "sign_and_encrypt"])
@pytest.mark.parametrize("policy", ALL)
async def test_each_policy_and_mode_carries_values(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, policy: str, mode: str
) -> None:
    secret(tmp_path, WORD)
    trust(tmp_path, server.certificate)
    settings = {**USER, "port": server.port, "security": policy, "mode": mode}
    async with following(intake, bus, tmp_path, settings):
        await until(lambda: intake.newest() == FIRST)
    for private in ("own/key.pem", "own/certificate.der", "sessions/S-1.json"):
        assert (tmp_path / private).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "own").stat().st_mode & 0o077 == 0


async def test_a_server_nobody_looked_at_is_refused_until_its_certificate_is_moved(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    secret(tmp_path, WORD)
    async with following(intake, bus, tmp_path, {**USER, "port": server.port}):
        fault = await faulty(intake, "nobody trusts the certificate of S-1 yet")
        shown = hashlib.sha256(server.certificate).hexdigest()
        assert shown in fault
        seen = tmp_path / "rejected" / f"{shown}.der"
        seen.rename(tmp_path / "trusted" / seen.name)
        await until(lambda: intake.newest() == FIRST)
        assert intake.status()[-1] == {"online": True, "fault": ""}


@pytest.mark.parametrize("pinned", [True, False])
async def test_a_pinned_certificate_is_the_only_one_believed(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, pinned: bool
) -> None:
    secret(tmp_path, WORD)
    trust(tmp_path, server.certificate)
    mark = hashlib.sha256(server.certificate).hexdigest() if pinned else "ab" * 32
    device = [{"id": "S-1", "certificate_sha256": mark.upper()}]
    async with following(intake, bus, tmp_path, {**USER, "port": server.port, "device": device}):
        if pinned:
            await until(lambda: intake.newest() == FIRST)
        else:
            await faulty(intake, "not the pinned certificate")


async def test_a_wrong_password_is_refused_with_the_mend_and_never_shown(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret(tmp_path, "a-Wrong.secret")
    trust(tmp_path, server.certificate)
    async with following(intake, bus, tmp_path, {**USER, "port": server.port}):
        fault = await faulty(intake, "refuses the user")
        assert "mend user or password" in fault
        secret(tmp_path, WORD)
        await until(lambda: intake.newest() == FIRST)
    written = "".join(capfd.readouterr()) + "".join(one.payload.decode() for one in intake.messages)
    for word in (WORD, "a-Wrong.secret"):
        assert word not in written
        assert kept_in(tmp_path, word) == ["password"] or word != WORD


@pytest.mark.parametrize(
    "case", [(WORD, 0o644, "chmod 600"), ("", 0o600, "is empty"), (None, 0, "No such file")], ids=lambda one: one[2]
)
async def test_a_password_that_cannot_be_used_is_told(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path, case: tuple[str | None, int, str]
) -> None:
    text, mode, said = case
    if text is not None:
        secret(tmp_path, text, mode)
    trust(tmp_path, server.certificate)
    async with following(intake, bus, tmp_path, {**USER, "port": server.port}):
        await faulty(intake, said)


async def test_an_anonymous_client_is_refused_where_a_user_is_wanted(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    trust(tmp_path, server.certificate)
    async with following(intake, bus, tmp_path, {"anonymous": True, "port": server.port}):
        await faulty(intake, "takes no anonymous user")


async def test_a_server_that_does_not_trust_us_is_quoted_with_the_file_it_must_trust(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    secret(tmp_path, WORD)
    trust(tmp_path, server.certificate)
    await server.asked("accept", unknown=False)
    try:
        async with following(intake, bus, tmp_path, {**USER, "port": server.port}):
            fault = await faulty(intake, "refuses our certificate, or everyone")
            assert str(tmp_path / "own" / "certificate.der") in fault
            await server.asked("accept", unknown=True)
    finally:
        await server.asked("accept", unknown=True)


async def test_a_policy_the_server_does_not_offer_is_no_reason_for_a_weaker_one(
    server: Peer, intake: Kept, bus: Ears, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"security": "None", "anonymous": True, "port": server.port}
    async with following(intake, bus, tmp_path, settings):
        fault = await faulty(intake, "not None")
        assert "Basic256Sha256 SignAndEncrypt" in fault
