"""Checks rules and playbooks of domains and city against each other and against the types there are. Used by `city.py`.

What a rule or a playbook looks like is known above (watch, incidents); their checkers come in as functions.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from haechi.services.cities.model import Domain, TypeDef
from haechi.services.cities.problems import ProblemLike, Report

Checker = Callable[[Path, str], Sequence[ProblemLike]]  # a folder and the domain it belongs to, "" for the city's own


class RuleLike(Protocol):
    """What is asked of a rule: `haechi.services.watch.Rule` has it."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def playbook(self) -> str | None: ...
    @property
    def scope(self) -> Any: ...
    def attributes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Around:
    """What a city is checked against besides its own files; `app.py` fills it from the registry and the services.

    `settings_fault(kind, name, given)` says what is wrong with an adapter's or codec's settings ("": nothing),
    `rule_problems(folder, domain)` checks a folder of rules, `playbook_problems(folder)` one of playbooks,
    `rules(folder, domain)` reads one without mistakes, so that its types, attributes and playbooks are checked against
    the whole city. None leaves that out.
    """

    domains: Mapping[str, Path]
    adapters: Collection[str] | None = None
    codecs: Collection[str] | None = None
    settings_fault: Callable[[str, str, Mapping[str, Any]], str] | None = None
    rule_problems: Checker | None = None
    playbook_problems: Callable[[Path], Sequence[ProblemLike]] | None = None
    rules: Callable[[Path, str], Sequence[RuleLike]] | None = None
    carriers: Mapping[str, str] | None = None  # adapters that carry commands, and how: "adapter" or "bus"


Folder = tuple[Path, str]


def check_conduct(
    city: Path, domains: Mapping[str, Domain], types: Mapping[str, TypeDef], around: Around, report: Report
) -> None:
    """Reports every mistake in rules and playbooks, and every rule that names what the city does not have."""
    folders: list[Folder] = [(domain.folder, name) for name, domain in domains.items()]
    folders.append((city, ""))
    playbooks = {
        file.name.split(".md")[0].rpartition(".")[0] for one, _ in folders for file in one.glob("playbooks/*.md")
    }
    for folder, domain in folders:
        if around.playbook_problems is not None and (folder / "playbooks").is_dir():
            report.extend(around.playbook_problems(folder / "playbooks"))
        if not (folder / "rules").is_dir():
            continue
        found = around.rule_problems(folder / "rules", domain) if around.rule_problems is not None else ()
        report.extend(found)
        if around.rules is not None and not found:
            for rule in around.rules(folder / "rules", domain):
                _against_city(rule, types, playbooks, report)


def _against_city(rule: RuleLike, types: Mapping[str, TypeDef], playbooks: Collection[str], report: Report) -> None:
    file = Path(rule.source.rpartition(":")[0] if rule.source.rpartition(":")[2].isdigit() else rule.source)
    if rule.playbook is not None and rule.playbook not in playbooks:
        report.add(file, rule.line, f"rule {rule.id}: no playbook {rule.playbook!r}", "write it or name another one")
    for name in sorted(rule.scope.types):
        if name not in types:
            report.add(file, rule.line, f"rule {rule.id}: no domain of the city has a type {name!r}", "mend the type")
            continue
        for attribute in rule.attributes():
            if attribute not in types[name].attributes:
                mend = "use an attribute that types.toml defines"
                report.add(file, rule.line, f"rule {rule.id}: {name} has no attribute {attribute!r}", mend)
