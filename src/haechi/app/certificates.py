"""When the certificate of a link ends. Read by the platform's own figures."""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from haechi.app.city import link_settings
from haechi.app.settings import RunSettings
from haechi.core.errors import InvalidData
from haechi.core.times import to_us
from haechi.services.cities.model import City

_CONTEXT_0, _UTC_TIME = 0xA0, 0x17


def expiries(settings: RunSettings, city: City) -> Mapping[str, int | None]:
    """For each link with a `tls_cert`: the instant it ends in microseconds; None when the file cannot be read."""
    files = {name: link_settings(one, settings.overrides).get("tls_cert", "") for name, one in city.links.items()}
    return {name: _ends(Path(file)) for name, file in files.items() if file}


def _ends(file: Path) -> int | None:
    try:
        return ends_at(file.read_text("utf-8"))
    except (OSError, ValueError, InvalidData):
        return None


def ends_at(pem: str) -> int:
    """`notAfter` of the first certificate in PEM text, in microseconds (RFC 5280 clause 4.1.2.5); `InvalidData`."""
    start, end = pem.find("-----BEGIN CERTIFICATE-----"), pem.find("-----END CERTIFICATE-----")
    if start < 0 or end < 0:
        raise InvalidData("no certificate in PEM form; give the file that tls_cert names", "no_certificate")
    der = ssl.PEM_cert_to_DER_cert(pem[start:end] + "-----END CERTIFICATE-----\n")
    try:
        return _not_after(der)
    except (IndexError, ValueError) as error:
        raise InvalidData(f"the certificate is torn: {error}", "no_certificate") from error


def _not_after(der: bytes) -> int:
    _, inner, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, inner)  # TBSCertificate
    kind, _, end = _element(der, at)
    skipped = 4 if kind == _CONTEXT_0 else 3  # version (may be absent), serialNumber, signature, issuer
    for _ in range(skipped):
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at)  # Validity
    _, _, at = _element(der, at)  # notBefore
    kind, start, end = _element(der, at)
    text = der[start:end].decode("ascii")
    century = ("20" if int(text[:2]) < 50 else "19") if kind == _UTC_TIME else ""
    return to_us(datetime.strptime(century + text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC))


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the DER element at `at`."""
    kind, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        more = length & 0x7F
        length, start = int.from_bytes(der[start : start + more], "big"), start + more
    return kind, start, start + length
