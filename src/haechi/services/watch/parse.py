"""Reads rules/*.toml and names every mistake with its file, line and mend. Used by `haechi check` and by `app.py`.

The form is docs/reference/rules.md.
"""

import re
import string
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from haechi.core.alarm import LEVELS
from haechi.core.errors import InvalidSettings
from haechi.core.times import SECOND
from haechi.services.cities.problems import Problem, Report
from haechi.services.cities.toml import Table, read_toml
from haechi.services.watch.conditions import Wrong, read_condition
from haechi.services.watch.hours import DAYS, Hours, Window
from haechi.services.watch.rules import Condition, Flagged, LevelRule, Provenance, Rule, Scope, Silence, Stuck, leaves

PLACEHOLDERS = ("name", "place", "value", "unit", "limit", "rate", "level")
_NOWHERE = Path("\0")  # no file lies below it: problems keep the path they were found at
_ID = "[a-z0-9][a-z0-9_.-]*"


def load_rules(path: Path, domain: str = "", zone: str = "UTC") -> list[Rule]:
    """Every rule in a folder of TOML files (or one file). `domain` is for rules that name none, `zone` the city's
    time zone.

    `InvalidSettings` lists every mistake. A folder that is not there holds no rules.
    """
    report = Report(_NOWHERE)
    rules = read_rules(path, report, domain, zone)
    if report.problems:
        raise InvalidSettings("\n".join(str(one) for one in sorted(report.problems)))
    return rules


def problems(path: Path, domain: str = "") -> list[Problem]:
    """Every mistake in the rules of a folder (or one file), in order of file and line."""
    report = Report(_NOWHERE)
    read_rules(path, report, domain, "UTC")
    return sorted(report.problems)


def city_rules(folders: Sequence[tuple[Path, str]], zone: str) -> list[Rule]:
    """The rules in force: (folder, domain) pairs, the city's own last; a later rule replaces one with the same id."""
    merged: dict[str, Rule] = {}
    for path, domain in folders:
        merged.update({one.id: one for one in load_rules(path, domain, zone)})
    return [one for one in merged.values() if one.enabled]


def read_rules(path: Path, report: Report, domain: str, zone: str) -> list[Rule]:
    """The rules that could be read; what could not is in the report."""
    files = [path] if path.is_file() else sorted(path.glob("*.toml"))
    rules: dict[str, Rule] = {}
    for file in files:
        root = read_toml(file, report)
        for table in root.tables("rule") if root is not None else ():
            rule = _rule(table, domain, zone)
            if rule is not None and rule.id in rules:
                table.wrong(
                    "id", f"rule {rule.id!r} is there twice", f"rename one; the other is in {rules[rule.id].source}"
                )
            elif rule is not None:
                rules[rule.id] = rule
        if root is not None:
            root.done()
    return list(rules.values())


def _rule(table: Table, domain: str, zone: str) -> Rule | None:
    before = len(table.report.problems)
    id = table.text("id", pattern=_ID, expected='a word like "water.pressure_low"')
    attribute = table.text("attribute") or "?"
    name, text = table.names("name"), table.names("text")
    _placeholders(table, text)
    levels = _levels(table, attribute)
    suppress = _condition(table, "suppress", attribute)
    maintenance = table.flag("maintenance", all(_about_sensor(one.when) for one in levels))
    provenance, valid_from = _provenance(table.table("provenance", {}))
    rule = Rule(
        id=id or "?",
        name=name,
        text=text,
        domain=table.text("domain", default=domain or ...) or domain,
        scope=_scope(table.table("entities")),
        attribute=attribute,
        levels=levels,
        any_quality=table.choice("quality", ("good", "any"), "good") == "any",
        hours=Hours(_windows(table), valid_from, zone),
        suppress=suppress,
        playbook=table.text("playbook", None),
        group=table.text("group", "rule"),
        maintenance=maintenance,
        enabled=table.flag("enabled", True),
        provenance=provenance,
        source=str(table.file),
        line=table.line("id"),
    )
    table.done()
    return rule if len(table.report.problems) == before else None


def _about_sensor(condition: Condition) -> bool:
    return all(isinstance(one, Silence | Stuck | Flagged) for one in leaves(condition))


def _placeholders(table: Table, text: Mapping[str, str]) -> None:
    for language, template in text.items():
        try:
            names = [name for _, name, spec, conversion in string.Formatter().parse(template) if name is not None]
        except ValueError as error:
            table.wrong("text", f"text.{language}: {error}", "write a literal brace twice: {{ or }}")
            continue
        for name in names:
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
                table.wrong("text", f"text.{language} uses {{{name}}}", f"use only {known}")


def _levels(table: Table, attribute: str) -> tuple[LevelRule, ...]:
    levels: list[LevelRule] = []
    for word, one in table.table("levels").members():
        if word not in LEVELS:
            one.wrong("", f"{word!r} is no level", f"use {', '.join(LEVELS)}")
            continue
        when = _condition(one, "when", attribute, required=True)
        clear = _condition(one, "clear", attribute)
        spans = [_span(one, key) for key in ("for_s", "clear_for_s")]
        one.done()
        if when is not None:
            levels.append(LevelRule(LEVELS[word], when, clear, *spans))
    if not levels and "levels" in table.values and not table.values["levels"]:
        table.wrong("levels", "the rule has no level", "add [rule.levels.caution] with when = { … }")
    return tuple(sorted(levels, key=lambda one: -one.level))


def _span(table: Table, key: str) -> int:
    seconds = table.number(key, 0)
    if seconds < 0:
        table.wrong(key, f"{key} is {seconds}", "write 0 or more seconds")
    return int(seconds * SECOND)


def _condition(table: Table, key: str, attribute: str, required: bool = False) -> Condition | None:
    written = table.value(key, dict, ... if required else None, "a condition such as { above = 5.0 }")
    if written is None:
        return None
    try:
        return read_condition(written, attribute)
    except Wrong as wrong:
        table.wrong(key, wrong.what, wrong.mend)
        return None


def _scope(table: Table) -> Scope:
    types, ids, scopes = (_words(table, key) for key in ("type", "ids", "scope"))
    if not types and not ids:
        table.wrong("", "entities names neither type nor ids", 'write entities = { type = "…" }')
    if wrong := [one for one in scopes if not re.fullmatch(r"(/[^/\s]+)+", one)]:
        table.wrong("scope", f"scope {wrong[0]!r} is no path", 'write it like "/gimpo/janggi"')
    table.done()
    return Scope(frozenset(types), frozenset(ids), scopes)


def _words(table: Table, key: str) -> tuple[str, ...]:
    found = table.value(key, (str, list), [], "a text or a list of texts")
    if isinstance(found, str):
        return (found,)
    return table.words(key, [])


def _windows(table: Table) -> tuple[Window, ...]:
    written = table.value("active", (dict, list), [], '{ from = "22:00", to = "06:00" } or a list of such')
    windows = []
    for one in [written] if isinstance(written, dict) else written:
        try:
            windows.append(_window(one))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            mend = f'write {{ from = "22:00", to = "06:00", days = [{", ".join(f"{d!r}" for d in DAYS[:2])}] }}'
            table.wrong("active", f"active {one!r} cannot be read: {error}", mend)
    return tuple(windows)


def _window(written: Mapping[str, Any]) -> Window:
    if extra := set(written) - {"from", "to", "days"}:
        raise ValueError(f"{', '.join(sorted(extra))} means nothing here")
    days = frozenset(DAYS.index(one) for one in written.get("days", DAYS))
    return Window(_clock(written["from"]), _clock(written["to"]), days)


def _clock(text: str) -> time:
    return time() if text == "24:00" else time.fromisoformat(text)


def _provenance(table: Table) -> tuple[Provenance, date | None]:
    clause, version, approved_by = (table.text(key, "") or "" for key in ("clause", "version", "approved_by"))
    valid_from = table.value("valid_from", date, None, "a date, 2026-01-01 without quotes")
    table.done()
    return Provenance(clause, version, approved_by, str(valid_from or "")), valid_from
