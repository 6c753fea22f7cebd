"""The entity type selection language (clause 4.17): `A,B`, `A|B`, `A;B` and parentheses. Used by queries."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.attribute import name_from
from haechi.core.errors import InvalidData

DEEPEST = 30
_NAME = re.compile(r"[^\s,;|()<>\"'=&?*\[\]{}]+")
Test = Callable[[frozenset[str]], bool]


def parse(
    text: str, expand: Callable[[str], str]
) -> tuple[tuple[str, ...], Callable[[Mapping[str, Any]], bool] | None]:
    """Types of which an entity must have one, and a further test where the selection asks for several at once."""
    parser = _Parser(text, expand)
    test = parser.either(0)
    if parser.at < len(text):
        raise parser.wrong()
    types = tuple(dict.fromkeys(parser.types))
    return types, (lambda entity: test(frozenset(entity["type"]))) if parser.needs_test else None


def renamed(text: str, rename: Callable[[str], str]) -> str:
    """The same selection with other names."""
    return text if text == "*" else _NAME.sub(lambda found: rename(found[0]), text)


class _Parser:
    def __init__(self, text: str, expand: Callable[[str], str]) -> None:
        self.text, self.at, self.types, self.needs_test = text, 0, list[str](), False
        self._expand = expand

    def wrong(self) -> InvalidData:
        return InvalidData(
            f"type={self.text[:80]!r} is wrong at character {self.at}: separate types by , or | (one of) or ; (all of)",
            "bad_request",
        )

    def either(self, depth: int) -> Test:
        tests = [self._both(depth)]
        while self.text[self.at : self.at + 1] in (",", "|"):
            self.at += 1
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda types: any(test(types) for test in tests)

    def _both(self, depth: int) -> Test:
        tests = [self._term(depth)]
        while self.text.startswith(";", self.at):
            self.at += 1
            self.needs_test = True
            tests.append(self._term(depth))
        return tests[0] if len(tests) == 1 else lambda types: all(test(types) for test in tests)

    def _term(self, depth: int) -> Test:
        if self.text.startswith("(", self.at) and depth < DEEPEST:
            self.at += 1
            inner = self.either(depth + 1)
            if not self.text.startswith(")", self.at):
                raise self.wrong()
            self.at += 1
            return inner
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.wrong()
        self.at = match.end()
        name = self._expand(name_from(match[0]))
        self.types.append(name)
        return lambda types: name in types
