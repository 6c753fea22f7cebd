"""Finds the twins: one folder here is one trade of the city, nothing else names it. For faults and running.

A twin's folder has `faults.py` (KINDS: its kinds of fault; DRIFTS: rules a drifting instrument of its may raise) and
`part.py` (NEEDS: the file in a city's testbed folder without which the city has no such trade; `join`: makes its Part).
"""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def names() -> list[str]:
    """Every folder that has a part, in the order of the alphabet."""
    found = (one.name for one in pkgutil.iter_modules(__path__) if one.ispkg)
    return sorted(name for name in found if find_spec(f"{__name__}.{name}.part") is not None)


def faults(name: str) -> ModuleType:
    """The twin's `faults.py`."""
    return import_module(f"{__name__}.{name}.faults")


def part(name: str) -> ModuleType:
    """The twin's `part.py`, imported only when it is asked for."""
    return import_module(f"{__name__}.{name}.part")
