"""`haechi new`: writes the folder of a new plug-in or city from `haechi/app/templates`, with a case that fails
until it is filled."""

import argparse
import re
from pathlib import Path

from haechi import registry
from haechi.core.errors import Conflict, InvalidSettings

TEMPLATES = Path(__file__).parent.parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
_NEXT = {
    "adapter": "write cases/ from recorded frames, then adapter.py until `pytest tests/conformance -k {name}` is green",
    "detector": "write score() until `pytest tests/conformance -k {name}` is green",
    "domain": "name its types in types.toml, then `haechi check` a city that lists it",
    "city": "fill city.toml until `haechi check {path}` finds no mistakes",
}


def new(arguments: argparse.Namespace) -> int:
    """Writes the files and says what to do next."""
    if not _NAME.fullmatch(arguments.name):
        raise InvalidSettings(
            f"{arguments.name!r}: a name is lower-case letters, digits and _, and starts with a letter"
        )
    base = arguments.into or _home(arguments.kind)
    target = base / (f"{arguments.name}.py" if arguments.kind == "detector" else arguments.name)
    if target.exists():
        raise Conflict(f"{target} exists already; choose another name or --into")
    for path in write(arguments.kind, arguments.name, target):
        print(path)
    print("next: " + _NEXT[arguments.kind].format(name=arguments.name, path=target))
    return 0


def _home(kind: str) -> Path:
    return Path("cities") if kind == "city" else registry.ROOT / registry.KINDS[kind]


def write(kind: str, name: str, target: Path) -> list[Path]:
    """Copies the template of a kind, with NAME and Name filled in; returns the files written."""
    source = TEMPLATES / kind
    written = []
    for path in sorted(source.rglob("*.tmpl")):
        place = target if kind == "detector" else target / str(path.relative_to(source)).removesuffix(".tmpl")
        place.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8").replace("NAME", name).replace("Name", name.title().replace("_", ""))
        place.write_text(text, "utf-8")
        written.append(place)
    return written
