"""Whom an OPC UA client believes, and which endpoint it takes."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from haechi.core.errors import NotSupported, Refused
from haechi.plugins.wire.opcua.peer import Server
from haechi.plugins.wire.opcua.security import POLICIES, believed, chosen, identity

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SERVER = Server("S-1", "opc.tcp://127.0.0.1:4840/")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A certificate some server might show."""
    return identity(tmp_path_factory.mktemp("server"), "server", NOW).certificate.read_bytes()


def endpoint(policy: str, mode: ua.MessageSecurityMode, tokens: Sequence[ua.UserTokenPolicy]) -> ua.EndpointDescription:
    return ua.EndpointDescription(
        SecurityPolicyUri=POLICIES[policy].URI, SecurityMode=mode, UserIdentityTokens=list(tokens)
    )


ANYONE = ua.UserTokenPolicy(TokenType=ua.UserTokenType.Anonymous)
USER = ua.UserTokenPolicy(TokenType=ua.UserTokenType.UserName)
PLAIN = ua.UserTokenPolicy(TokenType=ua.UserTokenType.UserName, SecurityPolicyUri=POLICIES["None"].URI)
SIGN, ENCRYPT, NONE = ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt, ua.MessageSecurityMode.None_


def test_our_certificate_is_made_once_and_says_who_we_are(tmp_path: Path) -> None:
    first = identity(tmp_path, "plant", NOW)
    assert identity(tmp_path, "plant", NOW + timedelta(days=900)) == first
    found = x509.load_der_x509_certificate(first.certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [first.uri]
    assert first.uri.endswith(":haechi:plant")
    assert first.ends > NOW + timedelta(days=3_600)


def test_a_server_is_believed_when_its_certificate_lies_in_trusted_in_either_form(tmp_path: Path, shown: bytes) -> None:
    with pytest.raises(Refused, match="nobody trusts") as refused:
        believed(SERVER, shown, tmp_path, NOW)
    mark = hashlib.sha256(shown).hexdigest()
    assert mark in str(refused.value)
    assert (tmp_path / "rejected" / f"{mark}.der").read_bytes() == shown
    pem = x509.load_der_x509_certificate(shown).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "trusted" / "plant.pem").write_bytes(pem)
    assert believed(SERVER, shown, tmp_path, NOW) == shown
    assert believed(SERVER, shown + b"the rest of a chain", tmp_path, NOW) == shown
    (tmp_path / "trusted" / "plant.pem").write_bytes(b"-----BEGIN nothing")
    with pytest.raises(Refused, match="nobody trusts"):
        believed(SERVER, shown, tmp_path, NOW)


@pytest.mark.parametrize(
    ("days", "blob", "said"),
    [
        (-2, None, "valid from"),
        (4_000, None, "valid from"),
        (0, b"", "no certificate"),
        (0, b"0\x02xx", "that is none"),
    ],
)
def test_a_certificate_out_of_its_time_or_none_at_all_is_refused(
    tmp_path: Path, shown: bytes, days: int, blob: bytes | None, said: str
) -> None:
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "it.der").write_bytes(shown)
    with pytest.raises(Refused, match=said):
        believed(SERVER, shown if blob is None else blob, tmp_path, NOW + timedelta(days=days))


def test_only_the_policy_and_mode_of_the_link_are_taken() -> None:
    offered = [endpoint("None", NONE, [ANYONE]), endpoint("Basic256Sha256", SIGN, [ANYONE])]
    with pytest.raises(NotSupported, match="Basic256Sha256 Sign, None None_, not Basic256Sha256 SignAndEncrypt"):
        chosen(SERVER, offered)
    assert chosen(Server("S-1", "", mode="sign"), offered) is offered[1]
    assert chosen(Server("S-1", "", security="None"), offered) is offered[0]


def test_a_password_is_not_sent_where_others_can_read_it() -> None:
    server = Server("S-1", "", mode="sign", user="u", password_file="p")
    with pytest.raises(Refused, match="plain text"):
        chosen(server, [endpoint("Basic256Sha256", SIGN, [PLAIN])])
    with pytest.raises(Refused, match="takes no user name"):
        chosen(server, [endpoint("Basic256Sha256", SIGN, [ANYONE])])
    wanted = endpoint("Basic256Sha256", SIGN, [ANYONE, USER])
    assert chosen(server, [wanted]) is wanted
