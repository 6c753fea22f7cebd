"""What the platform counts under a word of its own is told on the console in the operator's language."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = json.loads((ROOT / "console/src/locales/en.json").read_text("utf-8"))  # the console's tests compare the others
# Where messages are refused or quarantined, and the calls that say for which reason.
PLACES = ("plugins/adapters", "plugins/codecs", "plugins/wire", "services/ingest", "core/mqtt")
CALLS = frozenset({"InvalidData", "BadFrame", "reject", "_skip", "skip", "_bug"})


def reasons(text: str) -> Iterator[str]:
    """Every word that a call of `text` gives as a reason."""
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call) and _name(call.func) in CALLS:
            said = [*call.args[_name(call.func) == "InvalidData" :], *(one.value for one in call.keywords)]
            for one in (inner for argument in said for inner in ast.walk(argument)):
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
                    yield one.value


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


@pytest.mark.parametrize("place", PLACES)
def test_every_reason_has_a_word(place: str) -> None:
    files = (ROOT / "src/haechi" / place).rglob("*.py")
    found = {one for path in files for one in reasons(path.read_text("utf-8"))}
    assert found
    assert sorted(one for one in found if f"reason.{one}" not in WORDS) == []
