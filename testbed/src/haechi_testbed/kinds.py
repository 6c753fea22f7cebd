"""What a kind of fault is: who applies it and which alarms show it. For each twin's faults.py, runner and score."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `signs`: rules that count as its detection; `effects`: rules that may follow, not false.

    A rule is named by how it begins (`water.inflow_`) or, with a leading underscore, by how it ends (`_stuck`).
    """

    layer: str  # the twin's name, or device: who applies it
    signs: tuple[str, ...]
    effects: tuple[str, ...]
