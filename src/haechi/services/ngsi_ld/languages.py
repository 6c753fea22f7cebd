"""Natural language filter (clause 4.15): which text of a LanguageProperty a client wants. Used by representations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from haechi.core.errors import InvalidData

_RANGE = re.compile(r"\s*(\*|@none|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")


def parse(text: str | None) -> tuple[str, ...]:
    """Language ranges, best first (RFC 3282: those as heavy in the order given); empty when nothing was asked."""
    if text is None:
        return ()
    weighted: list[tuple[float, str]] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InvalidData(f"lang={text[:80]!r}: write languages such as fr-CH,fr;q=0.9,*;q=0.5", "bad_request")
        weighted.append((float(match[2] or 1), match[1].lower()))
    ranked = sorted((one for one in weighted if one[0] > 0), key=lambda one: -one[0])
    return tuple(name for _, name in ranked) or ("*",)


def chosen(instance: Mapping[str, Any], ranges: Sequence[str]) -> Mapping[str, Any]:
    """A LanguageProperty as a Property whose `lang` says the language of its value; others as they are."""
    texts = instance.get("languageMap")
    if instance["type"] != "LanguageProperty" or not isinstance(texts, Mapping) or not texts:
        return instance
    tag = _best(list(texts), ranges)
    rest = {name: value for name, value in instance.items() if name not in {"type", "languageMap"}}
    return {"type": "Property", "value": texts[tag], "lang": tag, **rest}


def _best(tags: Sequence[str], ranges: Iterable[str]) -> str:
    """Look-up of RFC 4647, 3.4, for each range; a language that has no match is given in any there is."""
    lowered = {tag.lower(): tag for tag in tags}
    for wanted in ranges:
        if wanted == "*":
            break
        rest = wanted
        while rest:
            longer = next((one for one in lowered if one.startswith(rest + "-")), None)
            found = rest if rest in lowered else longer
            if found is not None:
                return lowered[found]
            rest = rest.rpartition("-")[0]
    return lowered.get("@none", tags[0])
