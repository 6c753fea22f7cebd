"""Regular expressions from outside, matched in linear time. Used by entity stores (`id_pattern`) and the NGSI-LD face.

Python's own engine can take hours on a hostile pattern, so every pattern must be one RE2 accepts (POSIX extended syntax
is); Python runs only those that cannot backtrack far.
"""

import re
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.errors import InvalidData

LONGEST = 512
_NOT_PLAIN = re.compile(r"\\|\(\?|\[\[|\)\s*[*+?{]")  # where Python and RE2 differ, or where repetition nests
_QUANTIFIER = re.compile(r"[*+?{]")
_SHORT = 1000  # characters: one quantifier over so many cannot take long


def matching(pattern: str, texts: Sequence[str]) -> list[bool]:
    """For each text, whether the pattern is found in it (anchor with ^ and $); `InvalidData` when it is none."""
    if len(pattern) > LONGEST:
        raise InvalidData(f"the pattern has {len(pattern)} characters, more than {LONGEST}; shorten it", "bad_pattern")
    try:
        # One text is always there: without any, a wrong pattern would pass.
        found = pc.match_substring_regex(pa.array([*texts, ""], pa.string()), pattern=pattern)
    except pa.ArrowInvalid as error:
        raise InvalidData(
            f"{pattern!r} is not a regular expression in RE2 syntax (no look-around, no back-references): {error}",
            "bad_pattern",
        ) from error
    answers: list[bool] = found.to_pylist()
    return answers[:-1]


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test for one text; `InvalidData` when the pattern is none."""
    matching(pattern, [])
    plain = None if _NOT_PLAIN.search(pattern) or len(_QUANTIFIER.findall(pattern)) > 1 else _plain(pattern)

    def test(text: str) -> bool:
        if plain is None or len(text) > _SHORT or "\n" in text:
            return matching(pattern, [text])[0]
        return plain.search(text) is not None

    return test


def _plain(pattern: str) -> re.Pattern[str] | None:
    """For Python's engine; None where only RE2 takes it, as `$?`."""
    try:
        return re.compile(pattern)
    except re.error:
        return None
