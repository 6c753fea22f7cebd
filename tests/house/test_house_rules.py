"""What must stay true of the code, checked by a machine; the list of exceptions is empty and may only stay so."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "src" / "haechi", ROOT / "testbed" / "src" / "haechi_testbed"]
SOURCES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
EXCEPTIONS: frozenset[str] = frozenset()  # the ratchet: names may leave, none may come

FILE_LINES, FUNCTION_LINES, PARAMETERS, METHODS = 400, 60, 6, 5
WORDS = {"reading", "tag", "manager", "helper", "util", "utils", "helpers"}
CLOCKS = re.compile(
    r"\b(datetime\.now|datetime\.utcnow|time\.time|time\.time_ns|random\.(random|randint|choice)|uuid\.uuid1)\("
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_stays_below_its_limit_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the module's docstring says what it is for and who calls it"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_stays_below_its_limits(path: Path) -> None:
    for one in functions(path):
        assert one.end_lineno is not None
        assert one.end_lineno - one.lineno < FUNCTION_LINES, f"{one.name} is too long"
        arguments = [
            a.arg for a in (*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs) if a.arg not in {"self", "cls"}
        ]
        assert len(arguments) <= PARAMETERS, f"{one.name} takes {len(arguments)} parameters"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_use_the_agreed_words(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    for one in {*defined, path.stem}:
        words = set(re.sub(r"(?<!^)(?=[A-Z])", "_", one).lower().split("_"))
        assert not words & WORDS, f"{one} uses a word of the list in docs/understand/words.md"


@pytest.mark.parametrize("path", [p for p in SOURCES if "app" not in p.relative_to(ROOT).parts], ids=name_of)
def test_clock_and_chance_come_in_as_arguments(path: Path) -> None:
    found = CLOCKS.findall(path.read_text("utf-8"))
    if "haechi_testbed" in path.parts and path.name in {"clock.py", "cli.py"}:
        return  # where the testbed's own clock and chance come from
    assert not found, "take a Clock or a seeded generator as an argument"


def test_a_port_has_at_most_five_methods() -> None:
    tree = ast.parse((ROOT / "src/haechi/ports.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases):
            methods = [n for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
            assert len(methods) <= METHODS, f"{node.name} has {len(methods)} methods"


def test_the_ratchet_is_empty() -> None:
    assert not EXCEPTIONS


def test_the_platform_never_imports_the_testbed_nor_the_testbed_the_platform() -> None:
    for path in SOURCES:
        other = "haechi_testbed" if "haechi_testbed" not in path.parts else "haechi"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert other not in {one.split(".")[0] for one in modules}, f"{name_of(path)} imports {other}"


def test_no_tracked_text_names_a_registry_host() -> None:
    hosts = re.compile(r'"resolved": *"https?:|--(extra-)?index-url|^(url|registry) *= *"?https?:', re.MULTILINE)
    locks = [ROOT / "console/package-lock.json", ROOT / "tests/peers/opcua/package-lock.json"]
    for path in [*locks, ROOT / "constraints.txt", ROOT / "pyproject.toml"]:
        assert not hosts.search(path.read_text("utf-8")), name_of(path)


def test_no_two_test_files_share_a_name() -> None:
    names = Counter(path.name for folder in ("tests", "testbed/tests") for path in (ROOT / folder).rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == [], "pytest imports one of them for both"
