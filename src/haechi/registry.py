"""Finds plug-ins by what lies in the tree (and by entry points outside it); imports none until it is asked for.

An adapter is a folder `plugins/adapters/<name>/` with `manifest.toml` and `adapter.py`; a codec, detector or
notifier is one
module; a domain is a folder of data. Outside packages register a folder or module under the group `haechi.plugins` with
the name `<kind>.<name>`.
"""

import importlib
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from haechi.core.errors import InvalidSettings

ROOT = Path(__file__).parent / "plugins"
KINDS = {
    "adapter": "adapters",
    "codec": "codecs",
    "detector": "detectors",
    "notifier": "notifiers",
    "domain": "domains",
}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, in the tree and outside, sorted."""
    folder = ROOT / KINDS[kind]
    modules = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    folders = {path.parent.name for path in folder.glob("*/manifest.toml")}
    return tuple(sorted(modules | folders | set(_outside(kind))))


def _outside(kind: str) -> dict[str, str]:
    prefix = kind + "."
    points = _entry_points()
    return {point.name[len(prefix) :]: point.value for point in points if point.name.startswith(prefix)}


@cache
def _entry_points() -> EntryPoints:
    return entry_points(group="haechi.plugins")  # reads the metadata of every installed package: 15 ms


def folder(kind: str, name: str) -> Path:
    """Where a folder plug-in lies: its manifest, samples, cases and data."""
    path = ROOT / KINDS[kind] / name
    if path.is_dir():
        return path
    outside = _outside(kind).get(name)
    if outside is None:
        raise InvalidSettings(f"no {kind} named {name!r}; there are: {', '.join(names(kind)) or 'none'}")
    return Path(str(importlib.import_module(outside).__file__)).parent


def manifest(kind: str, name: str) -> dict[str, Any]:
    """The manifest of a folder plug-in."""
    return tomllib.loads((folder(kind, name) / "manifest.toml").read_text("utf-8"))


def create(kind: str, name: str) -> Callable[..., Any]:
    """The plug-in's `create` function; imports it now. `InvalidSettings` names the plug-ins there are."""
    if name not in names(kind):
        raise InvalidSettings(f"no {kind} named {name!r}; there are: {', '.join(names(kind)) or 'none'}")
    module = _outside(kind).get(name) or _inside(kind, name)
    maker: Callable[..., Any] = importlib.import_module(module).create
    return maker


def settings_fault(kind: str, name: str, given: Mapping[str, Any]) -> str:
    """What is wrong with these settings of an adapter or codec, "" when nothing; opens nothing.

    A codec is made with them; an adapter's are read by `read` of its module `settings`, where it has one.
    """
    try:
        if kind == "codec":
            create(kind, name)(given)
        else:
            module = (_outside(kind).get(name) or _inside(kind, name)).rpartition(".")[0] + ".settings"
            if find_spec(module) is not None:
                importlib.import_module(module).read(given)
    except InvalidSettings as error:
        return str(error)
    return ""


def _inside(kind: str, name: str) -> str:
    base = f"haechi.plugins.{KINDS[kind]}.{name}"
    return f"{base}.{kind}" if (ROOT / KINDS[kind] / name).is_dir() else base
