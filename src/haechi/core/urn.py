"""Names of entities: what a URI is and which type an NGSI-LD URN carries. Used by ingest, context and the faces."""

import re

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20\x7f]+")
_TYPED = re.compile(r"urn:ngsi-ld:([A-Za-z][A-Za-z0-9_.\-]*):[^\s<>\"{}|\\^`\x00-\x20\x7f]+")
LONGEST = 2048


def is_uri(text: object) -> bool:
    """Whether this is an absolute URI (IRIs included) of at most 2,048 characters."""
    return isinstance(text, str) and len(text) <= LONGEST and _URI.fullmatch(text) is not None


def type_of(urn: str) -> str | None:
    """The type in `urn:ngsi-ld:<Type>:<rest>`; None when the name is not of that form."""
    match = _TYPED.fullmatch(urn) if len(urn) <= LONGEST else None
    return match[1] if match else None
