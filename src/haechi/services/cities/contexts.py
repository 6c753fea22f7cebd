"""The @contexts a city brings along, so that no name needs the internet. Used by `load_city`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from haechi.services.cities.toml import Table


def read_contexts(path: Path, table: Table) -> Mapping[str, Any]:
    """URL -> document, of the tables `[[context]]` (`url`, `file`) of city.toml."""
    found: dict[str, Any] = {}
    for one in table.tables("context"):
        url = one.text("url", pattern="https?://.+", expected='the URL clients name, e.g. "https://…/context.jsonld"')
        file = path / (one.text("file") or "")
        one.done()
        if url is None:
            continue
        if url in found:
            one.wrong("url", f"{url} stands twice", "keep one")
        document = _read(one, path, file)
        if document is not None:
            found[url] = document
    return found


def _read(table: Table, path: Path, file: Path) -> Any:
    if not file.resolve().is_relative_to(path.resolve()):
        table.wrong("file", f"{file} lies outside the package", "move it into the city's folder contexts")
    elif not file.is_file():
        table.wrong("file", f"there is no file {file.name!r} there", "add it or remove the context")
    else:
        try:
            document = orjson.loads(file.read_bytes())
        except orjson.JSONDecodeError as error:
            table.report.add(file, 1, f"no JSON: {error}", "write a JSON-LD document")
            return None
        if isinstance(document, dict) and "@context" in document:
            return document
        table.report.add(file, 1, "no JSON object with an @context", "write a JSON-LD document")
    return None
