"""The NGSI-LD query language (clause 4.9): `q` to a tree, the tree to a test on stored entities. Used by queries.

Grammar, `;` (and) binding tighter than `|` (or):
    query := term (("|" | ";") term)*     term := "(" query ")" | "!" path | path [operator value]
    path := name ("." name)* ["[" part ("." part)* "]" | "{" [types ":"] path "}"]
    operator := == != >= <= > < ~= !~=
    value := scalar | scalar ".." scalar | scalar ("," scalar)*
    scalar := number | "text" | instant | date | time | true | false | URI | word
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any

from haechi.core.errors import InvalidData
from haechi.core.pattern import compile_pattern
from haechi.core.times import parse_iso
from haechi.core.urn import is_uri
from haechi.services.ngsi_ld.names import iri_of
from haechi.services.ngsi_ld.paths import Instant, Link, Load, Path, Vocab, no_entity, targets

LONGEST = 8192
DEEPEST = 30
Test = Callable[[Mapping[str, Any]], bool]
Expand = Callable[[str], str]

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {">": gt, "<": lt, ">=": ge, "<=": le}
_OPERATORS = ("!~=", "~=", "==", "!=", ">=", "<=", ">", "<")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*", re.ASCII)
_DATE_OR_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d([.,]\d+)?Z?", re.ASCII)
_WORD = re.compile(r"[^\W\d_]\w*")
_HINT = re.compile(r"((?!urn:|https?:)[^\W\d_]\w*(?:[,|][^\W\d_]\w*)*):(?!//)")  # types before a linked path
_NAME = re.compile(r"[^\s<>\"'=;()|&?*,\[\]{}!~]+")


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The path leads somewhere; `absent`: nowhere."""

    path: Path
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """What the path leads to stands in that relation to one of the values, or lies in the range."""

    path: Path
    operator: str
    values: tuple[Any, ...]  # float, str, bool or Instant; for patterns the compiled pattern's text
    is_range: bool = False


Node = All | Some | Exists | Compare


def parse(text: str, expand: Expand) -> Node:
    """The tree of a query; `InvalidData` says where it goes wrong."""
    if len(text) > LONGEST:
        raise InvalidData(f"q is longer than {LONGEST} characters; ask in several queries", "too_complex")
    parser = _Parser(text, expand)
    node = parser.either(0)
    if parser.at < len(text):
        raise parser.wrong("expected ; or | or the end")
    return node


class _Parser:
    def __init__(self, text: str, expand: Expand) -> None:
        self.text, self.at, self._expand, self._links = text, 0, expand, 0

    def wrong(self, complaint: str) -> InvalidData:
        before, after = self.text[max(0, self.at - 20) : self.at], self.text[self.at : self.at + 20]
        return InvalidData(f"q is wrong at character {self.at} ({before}▸{after}): {complaint}", "bad_request")

    def _next(self, expected: str) -> bool:
        found = self.text.startswith(expected, self.at)
        self.at += len(expected) if found else 0
        return found

    def either(self, depth: int) -> Node:
        parts = [self._both(depth)]
        while self._next("|"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self, depth: int) -> Node:
        parts = [self._term(depth)]
        while self._next(";"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _term(self, depth: int) -> Node:
        if not self._next("("):
            return self._comparison()
        if depth >= DEEPEST:
            raise InvalidData(f"q nests deeper than {DEEPEST} parentheses; flatten it", "too_complex")
        inner = self.either(depth + 1)
        if not self._next(")"):
            raise self.wrong("expected )")
        return inner

    def _comparison(self) -> Node:
        if self._next("!"):
            return Exists(self._path(), absent=True)
        path = self._path()
        operator = next((one for one in _OPERATORS if self._next(one)), None)
        if operator is None:
            return Exists(path)
        if operator.endswith("~="):
            return Compare(path, operator, (self._pattern(),))
        values = [self._scalar()]
        if operator in {"==", "!="}:
            if self._next(".."):
                values.append(self._scalar())
                if type(values[0]) is not type(values[1]) or isinstance(values[0], bool):
                    raise self.wrong("both ends of a range are numbers, texts or instants")
                return Compare(path, operator, tuple(values), is_range=True)
            while self._next(","):
                values.append(self._scalar())
        elif isinstance(values[0], bool):
            raise self.wrong(f"true and false are compared with == or !=, not {operator}")
        return Compare(path, operator, tuple(values))

    def _path(self) -> Path:
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.wrong("expected the name of an attribute")
        self.at = match.end()
        whole = match[0]
        names = [whole] if "://" in whole or whole.startswith("urn:") else whole.split(".")
        if not all(names):
            raise self.wrong("an attribute path has no empty names: write a.b")
        expanded = tuple(self._expand(one) for one in names)
        return self._linked(expanded) if self._next("{") else Path(expanded, self._brackets())

    def _linked(self, names: tuple[str, ...]) -> Path:
        self._links += 1
        if self._links > DEEPEST:
            raise InvalidData(f"q follows more than {DEEPEST} links; follow fewer", "too_complex")
        hint = _HINT.match(self.text, self.at)
        self.at = hint.end() if hint else self.at
        types = frozenset(self._expand(one) for one in re.split("[,|]", hint[1])) if hint else frozenset[str]()
        inner = self._path()
        if not self._next("}"):
            raise self.wrong("expected }")
        return Path(names, linked=inner, types=types)

    def _brackets(self) -> tuple[str, ...]:
        if not self._next("["):
            return ()
        end = self.text.find("]", self.at)
        if end < 0:
            raise self.wrong("expected ]")
        parts = tuple(self.text[self.at : end].split("."))
        self.at = end + 1
        if not all(parts):
            raise self.wrong("a path in brackets has no empty names: write attribute[a.b]")
        return parts

    def _scalar(self) -> Any:
        if self.text.startswith('"', self.at):
            return self._quoted()
        start = self.at
        while (
            self.at < len(self.text) and self.text[self.at] not in ';|(),"' and not self.text.startswith("..", self.at)
        ):
            self.at += 1
        raw = self.text[start : self.at]
        if raw in {"true", "false"}:
            return raw == "true"
        if _NUMBER.fullmatch(raw):
            return float(raw)
        if _INSTANT.fullmatch(raw):
            return self._instant(raw)
        if _DATE_OR_TIME.fullmatch(raw) or is_uri(raw) or _WORD.fullmatch(raw):
            return raw
        self.at = start
        raise self.wrong('expected a value: a number, a "text" in double quotes, an instant, true, false or a URI')

    def _instant(self, raw: str) -> Instant:
        try:
            return Instant(parse_iso(raw.replace(",", ".")))
        except (ValueError, OverflowError) as error:
            raise self.wrong(f"{raw[:40]} is no instant; write 2026-11-22T09:00:00Z") from error

    def _quoted(self) -> str:
        self.at += 1
        found: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                return "".join(found)
            if char == "\\" and self.text[self.at : self.at + 1] in {'"', "\\"}:
                char = self.text[self.at]
                self.at += 1
            found.append(char)
        raise self.wrong('expected " at the end of the text')

    def _pattern(self) -> str:
        """A regular expression, quoted or bare; bare it ends at ; or | or a ) that it did not open."""
        if self.text.startswith('"', self.at):
            return self._quoted()
        start, depth, in_class = self.at, 0, False
        while self.at < len(self.text):
            char = self.text[self.at]
            if not in_class and depth == 0 and char in ";|)":
                break
            if char == "\\":
                self.at += 1
            elif char == "]" or (char == "[" and not in_class):
                in_class = char == "["
            elif not in_class and char in "()":
                depth += 1 if char == "(" else -1
            self.at += 1
        self.at = min(self.at, len(self.text))
        if self.at == start:
            raise self.wrong("expected a regular expression")
        return self.text[start : self.at]


def compile_q(text: str, expand: Expand, expanded: frozenset[str] = frozenset(), load: Load = no_entity) -> Test:
    """A test for stored entities; `InvalidData` when `text` is no query.

    Texts compared with the attributes `expanded` (internal names) are terms of the context (`expandValues`); `load`
    finds linked entities.
    """
    node = parse(text, expand)
    if load is no_entity and any(path.depth for path in paths_of(node)):
        raise InvalidData("q follows relationships, which is not done here; ask of the entity itself", "bad_request")
    return compile_node(node, lambda path: expand if path.names[0] in expanded else _as_is, load)


def paths_of(node: Node) -> list[Path]:
    """Every path of a tree."""
    return [path for one in node.parts for path in paths_of(one)] if isinstance(node, All | Some) else [node.path]


def _as_is(text: str) -> str:
    return text


def compile_node(node: Node, expand: Callable[[Path], Expand], load: Load = no_entity) -> Test:
    """The test a tree stands for; `expand` says how texts compared at a path are expanded, `load` finds linked
    entities."""
    if isinstance(node, All | Some):
        tests = [compile_node(part, expand, load) for part in node.parts]
        combine = all if isinstance(node, All) else any
        return lambda entity: combine(test(entity) for test in tests)
    if isinstance(node, Exists):
        path, absent = node.path, node.absent
        return lambda entity: any(True for _ in targets(entity, path, load)) != absent
    return _comparing(node, expand(node.path), load)


def _comparing(node: Compare, expand: Expand, load: Load) -> Test:
    fits, path = comparison(node, expand), node.path
    if node.operator in {"!=", "!~="}:
        # An attribute that is not there fulfils no comparison, not even an unequal one (clause 4.9).
        def differs(entity: Mapping[str, Any]) -> bool:
            found = list(targets(entity, path, load))
            return bool(found) and not any(fits(one) for one in found)

        return differs
    return lambda entity: any(fits(one) for one in targets(entity, path, load))


def comparison(node: Compare, expand: Expand) -> Callable[[Any], bool]:
    """The positive test of one target: for `!=` and `!~=` that of their opposite."""
    if node.operator.endswith("~="):
        found = compile_pattern(node.values[0])
        return lambda target: isinstance(target, str) and not isinstance(target, Link) and found(target)
    if node.is_range:
        low, high = node.values
        return lambda target: _ordered(target, low, ">=") and _ordered(target, high, "<=")
    if node.operator in {"==", "!="}:
        values = [iri_of(expand(one)) if isinstance(one, str) and expand is not _as_is else one for one in node.values]
        return lambda target: any(_equal(target, value) for value in values)
    value, operator = node.values[0], node.operator
    return lambda target: _ordered(target, value, operator)


def _equal(target: Any, value: Any) -> bool:
    if isinstance(value, bool) or isinstance(target, bool):
        return target is value
    if isinstance(target, Vocab):
        return bool(iri_of(target) == value)
    if isinstance(value, Instant) or isinstance(target, Instant):
        left, right = _as_instant(target), _as_instant(value)
        return left is not None and left == right
    if isinstance(value, float):
        return isinstance(target, int | float) and target == value
    return isinstance(target, str) and target == value


def _ordered(target: Any, value: Any, operator: str) -> bool:
    left: Any = target
    right: Any = value
    if isinstance(target, bool | Link):
        return False
    if isinstance(value, Instant) or isinstance(target, Instant):
        left, right = _as_instant(target), _as_instant(value)
        if left is None or right is None:
            return False
    elif isinstance(value, float):
        if not isinstance(target, int | float):
            return False
    elif not isinstance(target, str):
        return False
    return _ORDERS[operator](left, right)


def _as_instant(value: Any) -> int | None:
    if isinstance(value, Instant):
        return value.us
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        return parse_iso(value)
    except (ValueError, OverflowError):
        return None
