"""Orders texts as people do (the root collation of Unicode, by decomposition). Used by ordered queries.

Letters count first, then accents, then case. Languages whose own order differs from the root's are refused, except
German phonebooks.
"""

import re
import unicodedata
from collections.abc import Callable

from haechi.core.errors import InvalidData

Key = tuple[tuple[tuple[int, str], ...], str, str]
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# Their alphabets follow the root collation (CLDR 44: no tailoring, or one for letters they do not have).
_AS_ROOT = frozenset("und root de en fr it nl pt ko id ms ga lb".split())  # noqa: SIM905 - a list of words
_PHONEBOOK = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


def ordering(tag: str) -> Callable[[str], Key]:
    """The sort key of the collation that a language tag (RFC 6067) names; `InvalidData` when it is not known."""
    if not _TAG.fullmatch(tag):
        raise InvalidData(f"collation={tag[:40]!r} is no language tag; write und, or de-u-co-phonebk", "bad_request")
    language, _, rest = tag.lower().partition("-")
    phonebook = "co-phonebk" in rest
    tailored = "co-" in rest.replace("co-phonebk", "").replace("co-standard", "")
    if language not in _AS_ROOT or tailored or (phonebook and language != "de"):
        raise InvalidData(
            f"the order of {tag[:40]!r} is not known here; use und, which is right for {', '.join(sorted(_AS_ROOT))}",
            "bad_request",
        )
    return (lambda text: _key(text.translate(_PHONEBOOK))) if phonebook else _key


def _key(text: str) -> Key:
    whole = unicodedata.normalize("NFKD", text)
    letters = [one for one in whole if not unicodedata.combining(one)]
    base = "".join(letters).casefold()
    accents = "".join(one for one in whole if unicodedata.combining(one))
    return tuple((_rank(one), one) for one in base), accents, "".join(letters).swapcase()


def _rank(char: str) -> int:
    """Spaces and signs come before digits, digits before letters."""
    kind = unicodedata.category(char)[0]
    return {"Z": 0, "P": 1, "S": 2, "N": 3}.get(kind, 4)
