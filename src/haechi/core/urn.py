"""Names of entities: what a URI is and which type an NGSI-LD URN carries. Used by ingest, context and the faces."""

import re
import unicodedata

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20\x7f]+")
_TYPED = re.compile(r"urn:ngsi-ld:([A-Za-z][A-Za-z0-9_.\-]*):[^\s<>\"{}|\\^`\x00-\x20\x7f]+")
LONGEST = 2048


def is_uri(text: object) -> bool:
    """Whether this is an absolute URI (IRIs included) of at most 2,048 characters."""
    if not isinstance(text, str) or len(text) > LONGEST or _URI.fullmatch(text) is None:
        return False
    return text.isascii() or not any(_invisible(one) for one in text)


def _invisible(char: str) -> bool:
    """Controls, spaces, fillers and unassigned code points: what names could differ in without anybody seeing it."""
    point = ord(char)
    if unicodedata.category(char) in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}:
        return True
    selects_variant = 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    return selects_variant or point in {0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800}


def type_of(urn: str) -> str | None:
    """The type in `urn:ngsi-ld:<Type>:<rest>`; None when the name is not of that form."""
    match = _TYPED.fullmatch(urn) if len(urn) <= LONGEST else None
    return match[1] if match else None
