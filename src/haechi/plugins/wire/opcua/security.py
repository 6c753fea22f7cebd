"""Who we are to an OPC UA server and whom we believe: our certificate, trusted servers, endpoints. Used by
session.py and the adapter.

All files lie in the link's own folder: `own/` our certificate and key, `trusted/` servers a person looked at,
`rejected/` those seen and not trusted. Clauses are of OPC 10000-4 and 10000-6.
"""

import hashlib
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asyncua import ua
from asyncua.crypto import security_policies as policies
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from haechi.core.errors import NotSupported, Refused
from haechi.plugins.wire.opcua.peer import Server

POLICIES: dict[str, type[policies.SecurityPolicy]] = {
    "None": policies.SecurityPolicyNone,
    "Basic256Sha256": policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": policies.SecurityPolicyAes256Sha256RsaPss,
}
MODES = {"sign": ua.MessageSecurityMode.Sign, "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt}
KEY_BITS, YEARS = 2048, 10  # a new certificate must be trusted by hand at every server, so it is made to last
FEWEST_BITS = 2048  # OPC 10000-7: the three policies ask for 2048 to 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Our application certificate; `uri` stands in it, as 10000-6 6.2.2 asks."""

    uri: str
    certificate: Path
    key: Path
    ends: datetime


def identity(folder: Path, link: str, now: datetime) -> Identity:
    """The link's certificate, made when there is none; the key's file is for its owner only."""
    own = folder / "own"
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, key = own / "certificate.der", own / "key.pem"
    if not certificate.exists() or not key.exists():
        _make(certificate, key, link, now)
    found = x509.load_der_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri, *_) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return Identity(uri, certificate, key, found.not_valid_after_utc)


def _make(certificate: Path, key: Path, link: str, now: datetime) -> None:
    private = rsa.generate_private_key(65537, KEY_BITS)
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Haechi {link}"[:64])])
    names = [x509.UniformResourceIdentifier(f"urn:{host}:haechi:{link}"), x509.DNSName(host)]
    usage = dict.fromkeys(("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    usage |= dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), True
    )  # 10000-6 6.2.2
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    keep(key, private.private_bytes(*_PEM, serialization.NoEncryption()))
    keep(certificate, made.public_bytes(serialization.Encoding.DER))


_PEM = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def keep(file: Path, content: bytes) -> None:
    """Writes a file only its owner may read, whole or not at all."""
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def password(server: Server, folder: Path) -> str:
    """What the file says; relative names lie in the link's folder. `Refused` names the file and the mend."""
    file = folder / server.password_file
    try:
        if file.stat().st_mode & 0o077:
            raise Refused(f"others may read {file}; chmod 600 it")
        found = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"no password for {server.user} at {server.id}: {error}; write it into {file}") from error
    if not found:
        raise Refused(f"{file} is empty; write the password of {server.user} into it")
    return found


def chosen(server: Server, offered: Sequence[ua.EndpointDescription]) -> ua.EndpointDescription:
    """The endpoint with the link's policy and mode; never a weaker one. `NotSupported` names what there is."""
    policy, mode = POLICIES[server.security], _mode(server)
    for one in offered:
        if one.SecurityPolicyUri == policy.URI and one.SecurityMode == mode:
            _check_token(server, one)
            return one
    there = sorted({f"{str(one.SecurityPolicyUri).rpartition('#')[2]} {one.SecurityMode.name}" for one in offered})
    wanted = server.security if server.security == "None" else f"{server.security} {mode.name}"
    raise NotSupported(f"{server.id} offers {', '.join(there)}, not {wanted}; mend security and mode, or the server")


def _mode(server: Server) -> ua.MessageSecurityMode:
    return ua.MessageSecurityMode.None_ if server.security == "None" else MODES[server.mode]


def _check_token(server: Server, endpoint: ua.EndpointDescription) -> None:
    kind = ua.UserTokenType.UserName if server.user else ua.UserTokenType.Anonymous
    tokens = [one for one in endpoint.UserIdentityTokens if one.TokenType == kind]
    if not tokens:
        raise Refused(f"{server.id} takes no {'user name' if server.user else 'anonymous user'} there; mend user")
    plain = tokens[0].SecurityPolicyUri == policies.SecurityPolicyNone.URI
    if server.user and plain and endpoint.SecurityMode != ua.MessageSecurityMode.SignAndEncrypt:
        raise Refused(f'{server.id} wants the password in plain text; set mode = "sign_and_encrypt"')


def believed(server: Server, blob: bytes | None, folder: Path, now: datetime) -> bytes:
    """The server's certificate (DER) when a person pinned it or put it into `trusted/`; else `Refused`, and kept."""
    if not blob:
        raise Refused(f"{server.id} shows no certificate; mend the server or its policy")
    der = _first(blob)
    try:
        shown = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Refused(f"{server.id} shows a certificate that is none: {error}; mend the server") from error
    print_ = hashlib.sha256(der).hexdigest()
    if server.certificate_sha256:
        if server.certificate_sha256.replace(":", "").lower() != print_:
            raise Refused(f"{server.id} shows {print_}, not the pinned certificate; find out why before you change it")
    elif print_ not in _trusted(folder):
        rejected = folder / "rejected" / f"{print_}.der"
        rejected.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not rejected.exists():
            keep(rejected, der)
        raise Refused(
            f"nobody trusts the certificate of {server.id} yet: compare its SHA-256 {print_} with what the server's "
            f"own tool shows, then move {rejected} to {folder / 'trusted'}"
        )
    _check_valid(server, shown, now)
    return der


def _check_valid(server: Server, shown: x509.Certificate, now: datetime) -> None:
    if not shown.not_valid_before_utc <= now <= shown.not_valid_after_utc:
        span = f"{shown.not_valid_before_utc:%Y-%m-%d} to {shown.not_valid_after_utc:%Y-%m-%d}"
        raise Refused(f"the certificate of {server.id} is valid from {span}; renew it, or mend the clock here")
    key = shown.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < FEWEST_BITS:
        raise Refused(f"the certificate of {server.id} has no RSA key of {FEWEST_BITS} bits; renew it")


def _trusted(folder: Path) -> set[str]:
    found = set()
    (folder / "trusted").mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in (folder / "trusted").iterdir():
        content = file.read_bytes() if file.is_file() else b""
        if content.startswith(b"-----BEGIN"):
            try:
                content = x509.load_pem_x509_certificate(content).public_bytes(serialization.Encoding.DER)
            except ValueError:
                continue  # no certificate trusts nobody
        found.add(hashlib.sha256(content).hexdigest())
    return found


def _first(blob: bytes) -> bytes:
    """Of a chain, the server's own certificate: a DER SEQUENCE names its length."""
    if len(blob) < 4 or blob[1] & 0x80 == 0:
        return blob
    more = blob[1] & 0x7F
    return blob[: 2 + more + int.from_bytes(blob[2 : 2 + more], "big")]
