"""Answers for clients of earlier editions (clause 4.3.6.8): kinds of attributes they do not know become kinds they do.
Used by representations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from haechi.core.entity import KINDS

Version = tuple[int, int]
CURRENT: Version = (1, 9)
_PREFERENCE = re.compile(r"ngsi-ld\s*=\s*\"?(\d+)\.(\d+)\"?", re.IGNORECASE)
_SINCE: Mapping[str, Version] = {
    "LanguageProperty": (1, 4),
    "VocabProperty": (1, 8),
    "JsonProperty": (1, 8),
    "ListProperty": (1, 8),
    "ListRelationship": (1, 8),
}


def preferred(header: str | None) -> Version | None:
    """The edition that a Prefer header names; None when it names none."""
    match = None if header is None else _PREFERENCE.search(header)
    return (int(match[1]), int(match[2])) if match else None


def unknown_in(version: Version) -> frozenset[str]:
    """The kinds of attributes that this edition lacks."""
    return frozenset(kind for kind, since in _SINCE.items() if version < since)


def amended(instance: Mapping[str, Any], unknown: frozenset[str]) -> Mapping[str, Any]:
    """The instance as a Property or Relationship when its kind is unknown."""
    kind = instance["type"]
    if kind not in unknown:
        return instance
    plain = "Relationship" if kind == "ListRelationship" else "Property"
    rest = {name: value for name, value in instance.items() if name not in {"type", KINDS[kind]}}
    return {"type": plain, KINDS[plain]: instance.get(KINDS[kind]), **rest}


def concerns(attributes: Mapping[str, Sequence[Mapping[str, Any]]], unknown: frozenset[str]) -> bool:
    """Whether anything in these attributes has to be amended."""
    instances = (one for many in attributes.values() for one in many)
    return any(one["type"] in unknown or concerns(one.get("attrs", {}), unknown) for one in instances)
