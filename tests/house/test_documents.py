"""Documents that lag behind the code fail here: links, the command line, plug-ins, examples, public docstrings."""

import argparse
import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from haechi import registry
from haechi.cli import parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")])
DOCUMENTS = [one for one in DOCUMENTS if "playbooks" not in one.parts]
MODULES = sorted(path for path in (ROOT / "src" / "haechi").rglob("*.py") if "templates" not in path.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), target


def commands(one: argparse.ArgumentParser, name: str = "haechi") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of the command line with its parser."""
    below = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, one
    for action in below:
        for word, inner in action.choices.items():
            yield from commands(inner, f"{name} {word}")


def test_the_command_line_is_documented_whole() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    for name, one in commands(parser()):
        assert f"`{name}" in text, name
        for action in one._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in text, f"{name} {option}"


@pytest.mark.parametrize("kind", ["adapter", "codec", "domain"])
def test_every_plug_in_is_in_the_list(kind: str) -> None:
    text = (ROOT / "docs/reference/plugins.md").read_text("utf-8")
    for name in registry.names(kind):
        assert f"`{name}`" in text, f"{kind} {name} is missing in docs/reference/plugins.md"


@pytest.mark.parametrize("path", [one for one in DOCUMENTS if ">>> " in one.read_text("utf-8")], ids=name_of)
def test_examples_in_documents_run(path: Path) -> None:
    result = doctest.testfile(str(path), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def public(path: Path) -> Iterator[str]:
    """Public classes and functions of a module without a docstring. What implements a port is described there."""
    for node in ast.parse(path.read_text("utf-8")).body:
        is_code = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if is_code and not node.name.startswith("_") and not ast.get_docstring(node):
            yield node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_public_says_what_its_signature_cannot(path: Path) -> None:
    assert not list(public(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_exports_exist(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    bound = {
        name.asname or name.name
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    bound |= {
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    bound |= {
        target.id
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    assert all(set(names) <= bound for names in exported)
