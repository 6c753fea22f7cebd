"""The scope query language (clause 4.19): `/a/b`, `+` for one level, `#` for all below, `,` or `|`, `;`, parentheses.
Used by queries and subscriptions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.errors import InvalidData

DEEPEST = 30
_SCOPE = re.compile(r"/?(?:[^\s,;|()/#+]+|\+)(?:/(?:[^\s,;|()/#+]+|\+))*(?:/#)?|/?#")
Test = Callable[[Mapping[str, Any]], bool]
_Matches = Callable[[list[str]], bool]


def parse(text: str) -> Test:
    """A test on stored entities; `InvalidData` says where the text goes wrong."""
    parser = _Parser(text)
    matches = parser.either(0)
    if parser.at < len(text):
        raise parser.wrong()
    return lambda entity: matches(_scopes(entity))


def _scopes(entity: Mapping[str, Any]) -> list[str]:
    scope = entity.get("scope") or []
    return [scope] if isinstance(scope, str) else list(scope)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def wrong(self) -> InvalidData:
        return InvalidData(
            f"scopeQ={self.text[:80]!r} is wrong at character {self.at}: write scopes such as /city/district, + for one"
            " level, # for all below, joined by , or | (one of) or ; (all of)",
            "bad_request",
        )

    def either(self, depth: int) -> _Matches:
        tests = [self._both(depth)]
        while self.text[self.at : self.at + 1] in (",", "|"):
            self.at += 1
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda scopes: any(test(scopes) for test in tests)

    def _both(self, depth: int) -> _Matches:
        tests = [self._term(depth)]
        while self.text.startswith(";", self.at):
            self.at += 1
            tests.append(self._term(depth))
        return tests[0] if len(tests) == 1 else lambda scopes: all(test(scopes) for test in tests)

    def _term(self, depth: int) -> _Matches:
        if self.text.startswith("(", self.at) and depth < DEEPEST:
            self.at += 1
            inner = self.either(depth + 1)
            if not self.text.startswith(")", self.at):
                raise self.wrong()
            self.at += 1
            return inner
        match = _SCOPE.match(self.text, self.at)
        if match is None:
            raise self.wrong()
        self.at = match.end()
        wanted = match[0].strip("/").split("/")
        return lambda scopes: any(_fits(wanted, one.strip("/").split("/")) for one in scopes)


def _fits(wanted: list[str], levels: list[str]) -> bool:
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)] if len(levels) >= len(wanted) else []
    return len(wanted) == len(levels) and all(one in ("+", level) for one, level in zip(wanted, levels, strict=True))
