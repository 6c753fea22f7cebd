"""Reads TOML strictly: each wrong, missing or unknown key is a problem with its line. Used by the readers beside it."""

import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from haechi.services.cities.problems import Report

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*((?:\.\s*(?:"[^"]*"|[A-Za-z0-9_-]+)\s*)*)=(.*)$""")
_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*$')
LANGUAGES = ("ko", "zh", "en")


def key_lines(text: str) -> dict[str, int]:
    """Line of each key and table by dotted path; members of arrays of tables carry their index (`map.0.unit`)."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix, depth, block = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if block:
            block = "" if block in line else block
            continue
        if depth == 0 and (header := _HEADER.match(line)):
            prefix = _table_path(header[2].replace('"', ""), header[1] == "[[", counts)
            lines.setdefault(prefix, number)
            continue
        if depth == 0 and (key := _KEY.match(line)):
            name = (key[1] + key[2]).replace('"', "").replace(" ", "")
            path = f"{prefix}.{name}" if prefix else name
            lines.setdefault(path, number)
            opened = [mark for mark in ('"""', "'''") if line.count(mark) == 1]
            block = opened[0] if opened else ""
        depth = 0 if block else max(0, depth + _opened(line))
    return lines


def _opened(line: str) -> int:
    bare = _STRINGS.sub("", line)
    return sum(bare.count(mark) for mark in "[{") - sum(bare.count(mark) for mark in "]}")


def _table_path(name: str, array: bool, counts: dict[str, int]) -> str:
    resolved: list[str] = []
    parts = [part.strip() for part in name.split(".")]
    for position, part in enumerate(parts):
        resolved.append(part)
        path = ".".join(resolved)
        if array and position == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            resolved.append(str(counts[path]))
    return ".".join(resolved)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Table:
    """One TOML table being read; `done()` reports the keys nobody asked for."""

    def __init__(
        self, values: Mapping[str, Any], path: str, file: Path, lines: Mapping[str, int], report: Report
    ) -> None:
        """Made by `read_toml` and by `table`, `tables` and `members` of another table."""
        self.values, self.path, self.file, self._lines, self.report = values, path, file, lines, report
        self._seen: set[str] = set()

    def line(self, key: str = "") -> int:
        """Where the key stands, or else the table that should hold it."""
        path = ".".join(part for part in (self.path, key) if part)
        while path and path not in self._lines:
            path = path.rpartition(".")[0]
        return self._lines.get(path, 1 if self.values else 0)

    def wrong(self, key: str, what: str, mend: str) -> None:
        """Reports a mistake at this key."""
        self.report.add(self.file, self.line(key), what, mend)

    def value(self, key: str, kind: type | tuple[type, ...], default: Any, expected: str) -> Any:
        """The value if it is of that kind; a default of `...` makes the key required."""
        self._seen.add(key)
        if key not in self.values:
            if default is ...:
                self.wrong(key, f"{self._name(key)} is missing", f"add {key} = {expected}")
                return None
            return default
        found = self.values[key]
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            self.wrong(key, f"{self._name(key)} is {found!r}", f"write {expected}")
            return None if default is ... else default
        return found

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)

    def text(self, key: str, default: Any = ..., pattern: str = "", expected: str = '"a text"') -> Any:
        """A string, matching `pattern` in full when one is given."""
        found = self.value(key, str, default, expected)
        if isinstance(found, str) and key in self.values and pattern and not re.fullmatch(pattern, found):
            self.wrong(key, f"{self._name(key)} is {found!r}", f"write {expected}")
        return found

    def number(self, key: str, default: Any = ...) -> Any:
        """An integer or a finite float."""
        found = self.value(key, (int, float), default, "a number")
        if isinstance(found, float) and not math.isfinite(found):
            self.wrong(key, f"{self._name(key)} is {found}", "write a finite number")
            return None if default is ... else default
        return found

    def flag(self, key: str, default: Any = False) -> Any:
        """true or false."""
        return self.value(key, bool, default, "true or false")

    def choice(self, key: str, options: Collection[str], default: Any = ...) -> Any:
        """One of some words."""
        shown = ", ".join(sorted(options)) or "(there are none)"
        found = self.value(key, str, default, f"one of {shown}")
        if found is not None and key in self.values and found not in options:
            self.wrong(key, f"{self._name(key)} is {found!r}", f"write one of {shown}")
        return found

    def names(self, key: str, default: Any = ...) -> dict[str, str]:
        """A text in Korean, Chinese and English."""
        found = self.value(key, dict, default, '{ ko = "…", zh = "…", en = "…" }') or {}
        missing = [one for one in LANGUAGES if found and not (isinstance(found.get(one), str) and found[one].strip())]
        if missing:
            self.wrong(key, f"{self._name(key)} has no text in {', '.join(missing)}", f"add {missing[0]} = …")
        return {one: str(found.get(one, "")) for one in LANGUAGES}

    def words(self, key: str, default: Any = ...) -> tuple[str, ...]:
        """A list of strings."""
        found = self.value(key, list, default, 'a list of texts, ["…"]')
        if found and not all(isinstance(one, str) for one in found):
            self.wrong(key, f"{self._name(key)} holds something that is no text", 'write a list of texts, ["…"]')
            return ()
        return tuple(found or ())

    def numbers(self, key: str, count: int, default: Any = ...) -> tuple[float, ...] | None:
        """A list of exactly `count` numbers."""
        found = self.value(key, list, default, f"a list of {count} numbers")
        if not found:
            return None
        if len(found) != count or not all(_is_number(one) for one in found):
            self.wrong(key, f"{self._name(key)} is {found!r}", f"write a list of {count} numbers")
            return None
        return tuple(float(one) for one in found)

    def table(self, key: str, default: Any = ...) -> "Table":
        """A table inside this one; empty when absent and allowed."""
        found = self.value(key, dict, default, "a table") or {}
        return Table(found, self._name(key), self.file, self._lines, self.report)

    def tables(self, key: str) -> list["Table"]:
        """The members of an array of tables."""
        found = self.value(key, list, [], f"[[{key}]] tables") or []
        return [
            Table(one, f"{self._name(key)}.{index}", self.file, self._lines, self.report)
            for index, one in enumerate(found)
            if isinstance(one, dict)
        ]

    def members(self) -> Iterator[tuple[str, "Table"]]:
        """Every table in this one, by key; anything else is a problem."""
        for key in self.values:
            yield key, self.table(key)

    def done(self) -> None:
        """Reports every key that was not asked for."""
        known = ", ".join(sorted(self._seen))
        for key in self.values:
            if key not in self._seen:
                self.wrong(key, f"{self._name(key)} is no setting here", f"remove it or use one of {known}")


def read_toml(file: Path, report: Report) -> Table | None:
    """The file's root table, or None (reported) when it is absent or no TOML."""
    try:
        text = file.read_text("utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        report.add(file, 0, "the file is missing", "create it (docs/reference/city-package.md shows its form)")
    except UnicodeDecodeError as error:
        report.add(file, 0, f"not UTF-8: {error.reason} at byte {error.start}", "save the file as UTF-8")
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        end = len(file.read_text("utf-8").splitlines())
        report.add(file, int(at[1]) if at else end, f"no valid TOML: {error}", "mend the syntax at this place")
    else:
        return Table(values, "", file, key_lines(text), report)
    return None
