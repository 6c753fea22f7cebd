"""Reads playbooks/<id>.<lang>.md (docs/reference/playbooks.md) and names every mistake. Used by `haechi check` and
`app.py`."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haechi.core.errors import InvalidSettings
from haechi.services.cities.problems import Problem, Report

PHASES = ("assess", "warn", "dispatch", "handle", "verify", "close", "evaluate")
LANGUAGES = ("ko", "zh", "en")
Names = Mapping[str, str]

_FENCE = "+++"
_FILE = re.compile(r"(?P<id>[a-z0-9][a-z0-9_.-]*)\.(?P<language>[a-z]{2})\.md")
_HEADING = re.compile(r"##\s+(?P<text>.*?)\s*\{#(?P<phase>[^}\s]*)\}\s*")
_STEP = re.compile(r"(?:\d+[.)]|[-*])\s+\[[ xX]?\]\s+(?P<text>.*?)(?:\s*\{#(?P<id>[^}\s]*)(?P<more>[^}]*)\})?\s*")
_STEP_ID = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NOWHERE = Path("\0")  # no file lies below it: problems keep the path they were found at


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a procedure."""

    id: str
    phase: str
    mandatory: bool
    text: Names


@dataclass(frozen=True, slots=True)
class Playbook:
    """A procedure in all languages."""

    id: str
    name: Names
    steps: tuple[Step, ...]
    version: str = ""
    source: str = ""


@dataclass(slots=True)
class _Line:
    """A step as one language's file has it."""

    id: str
    phase: str
    mandatory: bool
    text: str
    number: int


@dataclass(slots=True)
class _Page:
    """One file, read."""

    file: Path
    meta: dict[str, Any] = field(default_factory=dict)
    steps: list[_Line] = field(default_factory=list)


def load_playbooks(folders: Sequence[Path]) -> dict[str, Playbook]:
    """Every playbook by id; in a later folder (the city's) the same id wins. `InvalidSettings` lists every mistake."""
    report = Report(_NOWHERE)
    books: dict[str, Playbook] = {}
    for folder in folders:
        books.update(read_playbooks(folder, report))
    if report.problems:
        raise InvalidSettings("\n".join(str(one) for one in sorted(report.problems)))
    return books


def problems(path: Path) -> list[Problem]:
    """Every mistake in the playbooks of a folder, in order of file and line."""
    report = Report(_NOWHERE)
    read_playbooks(path, report)
    return sorted(report.problems)


def read_playbooks(folder: Path, report: Report) -> dict[str, Playbook]:
    """The playbooks that could be read; what could not is in the report. A folder that is not there holds none."""
    pages: dict[str, dict[str, _Page]] = {}
    for file in sorted(folder.glob("*.md")):
        name = _FILE.fullmatch(file.name)
        if name is None:
            report.add(
                file,
                0,
                "the file name names no playbook and language",
                "name it <id>.<lang>.md, e.g. water.burst.ko.md",
            )
        elif (page := _page(file, report)) is not None:
            pages.setdefault(name["id"], {})[name["language"]] = page
    books = (_merged(id, languages, folder, report) for id, languages in pages.items())
    return {one.id: one for one in books if one is not None}


def _page(file: Path, report: Report) -> _Page | None:
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        report.add(file, 0, f"not UTF-8: {error.reason} at byte {error.start}", "save the file as UTF-8")
        return None
    if not lines or lines[0].strip() != _FENCE or _FENCE not in (one.strip() for one in lines[1:]):
        report.add(file, 1, "no front matter", 'begin the file with +++, name = "…", +++')
        return None
    end = next(number for number, line in enumerate(lines[1:], 1) if line.strip() == _FENCE)
    page = _Page(file)
    try:
        page.meta = tomllib.loads("\n".join(lines[1:end]))
    except tomllib.TOMLDecodeError as error:
        report.add(file, 2, f"the front matter is no valid TOML: {error}", "mend the syntax between the +++ lines")
        return None
    _meta(page, report)
    _steps(page, lines, end + 1, report)
    return page


def _meta(page: _Page, report: Report) -> None:
    if not isinstance(page.meta.get("name"), str) or not page.meta["name"].strip():
        report.add(page.file, 2, "the playbook has no name", 'add name = "…" between the +++ lines')
    for key, value in page.meta.items():
        if key not in {"name", "version", "source"} or not isinstance(value, str):
            report.add(
                page.file,
                2,
                f"{key} = {value!r} is no text of a playbook",
                "use only name, version and source, as texts",
            )


def _steps(page: _Page, lines: Sequence[str], start: int, report: Report) -> None:
    phase, open_step = "handle", False
    for number, line in enumerate(lines[start:], start + 1):
        if line.startswith("## "):
            phase, open_step = _phase(page, line, number, phase, report), False
        elif (step := _STEP.fullmatch(line)) is not None:
            page.steps.append(_step(page, step, number, phase, report))
            open_step = True
        elif open_step and line.startswith((" ", "\t")) and line.strip():
            page.steps[-1].text += " " + line.strip()
        else:
            open_step = open_step and not line.strip()
    if not page.steps:
        report.add(page.file, 0, "the playbook has no step", "write steps as `1. [ ] text {#id}`")


def _phase(page: _Page, line: str, number: int, phase: str, report: Report) -> str:
    heading = _HEADING.fullmatch(line)
    if heading is None or heading["phase"] not in PHASES:
        found = f"{heading['phase']!r}" if heading is not None else "none"
        report.add(
            page.file,
            number,
            f"the heading names no phase ({found})",
            f"end it with {{#…}}, one of {', '.join(PHASES)}",
        )
        return phase
    return heading["phase"]


def _step(page: _Page, found: re.Match[str], number: int, phase: str, report: Report) -> _Line:
    id, more = found["id"] or "", (found["more"] or "").split()
    if not _STEP_ID.fullmatch(id):
        report.add(
            page.file, number, f"the step has no id ({id!r})", "end it with {#id}: small letters, digits, - and _"
        )
    elif any(one.id == id for one in page.steps):
        report.add(page.file, number, f"step {id!r} is there twice", "give one of them another id")
    if set(more) - {"optional"}:
        report.add(page.file, number, f"{' '.join(more)!r} means nothing in a step", "write {#id} or {#id optional}")
    return _Line(id, phase, "optional" not in more, found["text"].strip(), number)


def _merged(id: str, pages: Mapping[str, _Page], folder: Path, report: Report) -> Playbook | None:
    missing = [one for one in LANGUAGES if one not in pages]
    for language in missing:
        report.add(folder / f"{id}.{language}.md", 0, f"playbook {id!r} is not there in {language}", "write it")
    if missing:
        return None
    first = pages[LANGUAGES[0]]
    same = [_same(first, pages[language], report) for language in pages if language != LANGUAGES[0]]
    if not all(same):
        return None
    steps = tuple(
        Step(
            line.id, line.phase, line.mandatory, {language: page.steps[number].text for language, page in pages.items()}
        )
        for number, line in enumerate(first.steps)
    )
    names = {language: str(page.meta.get("name", "")) for language, page in pages.items()}
    return Playbook(id, names, steps, str(first.meta.get("version", "")), str(first.meta.get("source", "")))


def _same(first: _Page, other: _Page, report: Report) -> bool:
    """Whether both languages have the same steps; names the first that differs."""
    lacking = Counter(one.id for one in first.steps) - Counter(one.id for one in other.steps)
    if lacking:
        report.add(
            other.file,
            0,
            f"step {next(iter(lacking))!r} of {first.file.name} is not here",
            "translate it, with the same id",
        )
        return False
    for one in other.steps:
        position = other.steps.index(one)
        twin = first.steps[position] if position < len(first.steps) else None
        if twin is None or (twin.id, twin.phase, twin.mandatory) != (one.id, one.phase, one.mandatory):
            what = f"step {one.id!r} differs from step {position + 1} of {first.file.name} in id, phase or `optional`"
            report.add(other.file, one.number, what, "give both files the same steps in the same order and phases")
            return False
    return True
