"""What may stand in an HTTP header (RFC 9110, 5.5 and 5.6.2): asked before a client's texts are sent on as headers."""

import re

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def is_name(text: str) -> bool:
    """Whether a header can be called so."""
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether a header can say that: one line, no control characters."""
    return _TEXT.fullmatch(text) is not None
