"""What is wrong in a city package, where, and what to do. Used by the readers beside it and by `haechi check`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. `file` as the operator would type it, `line` from 1 (0: the file as a whole or its absence)."""

    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        """`file:line: what; mend`, the form editors and CI turn into a link."""
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class ProblemLike(Protocol):
    """What a checker of rules or playbooks returns: anything with these four."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def what(self) -> str: ...
    @property
    def mend(self) -> str: ...


@dataclass(slots=True)
class Report:
    """Collects problems while a package is read; reading goes on as far as it makes sense."""

    root: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, file: Path, line: int, what: str, mend: str) -> None:
        """Notes one mistake of a file inside or outside the package's folder."""
        shown = file.relative_to(self.root) if file.is_relative_to(self.root) else file
        self.problems.append(Problem(str(shown), line, what, mend))

    def extend(self, found: Sequence[ProblemLike]) -> None:
        """Takes over what a checker of rules or playbooks found."""
        for one in found:
            self.add(Path(one.file), one.line, one.what, one.mend)
