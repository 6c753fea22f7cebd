"""The lines of the published table: ours, the peer or limit of the same run, the ratio, the goal, reached or not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

WIDTHS = (3, 62, 14, 14, 7, 18, 8)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. `peer` None: nothing to compare with (`note` says why); `reached` None: the figure has no goal."""

    row: str
    what: str
    ours: float
    unit: str = ""
    peer: float | None = None
    goal: str = ""
    reached: bool | None = None
    note: str = ""


def heading() -> str:
    return _columns(("", "figure", "ours", "peer or limit", "ratio", "goal", "reached")) + "\n" + "-" * 132


def shown(line: Line) -> str:
    ratio = "" if not line.peer else f"{line.ours / line.peer:.2f}"
    peer = "" if line.peer is None else _number(line.peer)
    reached = {True: "yes", False: "NO", None: ""}[line.reached]
    ours = f"{_number(line.ours)} {line.unit}".strip()
    text = _columns((line.row, line.what, ours, peer, ratio, line.goal, reached))
    return text + (f"\n      {line.note}" if line.note else "")


def _columns(cells: Iterable[str]) -> str:
    first, what, *rest = zip(cells, WIDTHS, strict=True)
    left = f"{first[0]:<{first[1]}} {what[0]:<{what[1]}}"
    return left + "".join(f" {cell:>{width}}" for cell, width in rest)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def alone(measure: Callable[[], Iterable[Line]]) -> None:
    """Prints the table of one measurement."""
    print(heading(), flush=True)
    for line in measure():
        print(shown(line), flush=True)
