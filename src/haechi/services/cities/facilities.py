"""Reads facilities/*.ndjson: the entities a city starts with, each checked against its type. Used by `city.py`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from haechi.core.errors import InvalidData
from haechi.core.units import factor_offset
from haechi.services.cities.domains import COMMON
from haechi.services.cities.lines import Lines
from haechi.services.cities.model import AttributeDef, TypeDef
from haechi.services.cities.problems import Report
from haechi.services.cities.toml import LANGUAGES

_URN = re.compile(r"urn:ngsi-ld:([A-Za-z][A-Za-z0-9]*):([a-z0-9_-]+):([A-Za-z0-9._~-]+)")
_DEPTH = {"Point": 0, "LineString": 1, "MultiPoint": 1, "Polygon": 2, "MultiLineString": 2, "MultiPolygon": 3}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "text": (str,),
    "json": (dict, list, str, int, float, bool),
}
NUMBERS = (int, float)  # a tuple: `int | float` is made anew at each look, and a city has a million
Frame = tuple[float, float, float, float]
WORLD: Frame = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, slots=True)
class Found:
    """The entities of a city, and the type of each by its URN, in the same order."""

    lines: Lines = field(default_factory=Lines)
    types: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    """What is known so far. `targets`: what relationships point to, looked for once every entity is known."""

    types: Mapping[str, TypeDef]
    frame: Frame | None
    report: Report
    files: list[Path]
    found: Found = field(default_factory=Found)
    targets: list[tuple[Path, int, str, str]] = field(default_factory=list)

    def relations(self, type_id: str) -> list[str]:
        """The attributes of a type that point to other entities."""
        known = self.types.get(type_id)
        return [name for name, one in known.attributes.items() if one.datatype == "relationship"] if known else []


def read_facilities(folder: Path, types: Mapping[str, TypeDef], frame: Frame | None, report: Report) -> Found:
    """Every entity, in order of file name and line; one that stands twice is read once."""
    known = _Known(types, frame, report, sorted(folder.glob("*.ndjson")))
    if not known.files:
        report.add(folder, 0, "the city has no facilities", "add facilities/<domain>.ndjson with one entity a line")
    for file in known.files:
        _read_file(file, known)
    for file, line, name, target in known.targets:
        if target not in known.found.types:
            what = f"{name} points to {target!r}, which is no facility"
            report.add(file, line, what, "mend the URN or add that facility")
    return known.found


def _read_file(file: Path, known: _Known) -> None:
    found, report = known.found, known.report
    content = file.read_bytes()
    found.lines.file(content)
    relations = {one: known.relations(one) for one in known.types}
    types = {one: one for one in known.types}  # one text for each type, not one for each entity
    for line, (start, end) in enumerate(_spans(content), 1):
        entity = _entity(content[start:end], (file, line, report))
        if entity is None:
            continue
        urn, type_id = entity.get("id"), str(entity.get("type"))
        if isinstance(urn, str) and urn in found.types:
            what = f"{urn} stands twice, first at {_first(urn, known)}"
            report.add(file, line, what, "remove one or give it another id")
            continue
        _check(entity, known.types, known.frame, (file, line, report))
        if isinstance(urn, str):
            found.types[urn] = types.get(type_id, type_id)
            found.lines.add(start, end)
            for name in relations.get(type_id, ()):
                known.targets += [(file, line, name, one) for one in _targets(entity.get(name))]


def _spans(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each line begins and ends."""
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(content)


def _entity(line: bytes, at: "_At") -> dict[str, Any] | None:
    file, number, report = at
    if not line.strip():
        return None
    try:
        entity = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        report.add(file, number, f"no JSON: {error}", "write one entity as one JSON object on one line")
        return None
    if not isinstance(entity, dict):
        report.add(file, number, "the line is no JSON object", "write one entity a line")
        return None
    return entity


def _first(urn: str, known: _Known) -> str:
    """File and line of an entity that was found before."""
    file, line = known.found.lines.where(list(known.found.types).index(urn))
    return f"{known.files[file].name}:{line}"


def _targets(value: Any) -> list[str]:
    found = value.get("object", []) if isinstance(value, dict) else []
    return found if isinstance(found, list) else [found]


_At = tuple[Path, int, Report]


def _check(entity: dict[str, Any], types: Mapping[str, TypeDef], frame: Frame | None, at: _At) -> None:
    file, line, report = at
    type_id = entity.get("type")
    known = types.get(type_id) if isinstance(type_id, str) else None
    urn = _URN.fullmatch(str(entity.get("id", "")))
    if urn is None:
        report.add(file, line, f"id is {entity.get('id')!r}", "write urn:ngsi-ld:<Type>:<city>:<name>")
    elif urn[1] != type_id:
        report.add(file, line, f"the id says {urn[1]}, type says {type_id!r}", "make them the same")
    if known is None:
        report.add(
            file, line, f"no domain of the city has a type {type_id!r}", "mend the type or add its domain to city.toml"
        )
    _check_common(entity, frame, at)
    for name, value in entity.items():
        if name in COMMON or known is None:
            continue
        definition = known.attributes.get(name)
        if definition is None:
            report.add(file, line, f"{known.id} has no attribute {name!r}", "mend the name or define it in types.toml")
        else:
            _check_value(name, value, definition, at)


def _check_common(entity: dict[str, Any], frame: Frame | None, at: _At) -> None:
    file, line, report = at
    if not _named(entity.get("name")):
        report.add(
            file,
            line,
            "name has no text in ko, zh and en",
            'write "name": {"languageMap": {"ko": …, "zh": …, "en": …}}',
        )
    scope = entity.get("scope", "/")
    scopes = scope if isinstance(scope, list) else [scope]
    if scopes != ["/"] and not all(isinstance(one, str) and one.startswith("/") for one in scopes):
        report.add(file, line, f"scope is {scope!r}", 'write a path like "/gimpo/janggi"')
    problem = _geometry(entity.get("location"), frame)
    if problem:
        report.add(file, line, problem, "write a GeoJSON geometry with longitude before latitude, WGS-84 degrees")


def _named(name: Any) -> bool:
    names = name.get("languageMap") if isinstance(name, dict) else None
    if not isinstance(names, dict):
        return False
    for language in LANGUAGES:
        text = names.get(language)
        if not text or not isinstance(text, str):
            return False
    return True


def _geometry(location: Any, frame: Frame | None) -> str:
    if not isinstance(location, dict) or location.get("type") not in _DEPTH:
        return "location is no GeoJSON geometry"
    positions = list(_positions(location.get("coordinates"), _DEPTH[location["type"]]))
    if not positions or None in positions:
        return f"the coordinates are those of no {location['type']}"
    west, south, east, north = frame or WORLD
    for one in positions:
        if one is not None and not (west <= one[0] <= east and south <= one[1] <= north):
            return f"{list(one)} lies outside the city's frame"
    return ""


def _positions(coordinates: Any, depth: int) -> Iterator[tuple[float, float] | None]:
    if not isinstance(coordinates, list):
        yield None
    elif depth:
        for one in coordinates:
            yield from _positions(one, depth - 1)
    elif 2 <= len(coordinates) <= 3 and all(map(_is_number, coordinates)):
        yield float(coordinates[0]), float(coordinates[1])
    else:
        yield None


def _is_number(value: Any) -> bool:
    return isinstance(value, NUMBERS)


def _check_value(name: str, value: Any, definition: AttributeDef, at: _At) -> None:
    file, line, report = at
    if definition.datatype == "relationship":
        target = value.get("object") if isinstance(value, dict) else None
        if not isinstance(target, str | list):
            report.add(file, line, f"{name} is no relationship", f'write "{name}": {{"object": "urn:…"}}')
        return
    wrapped = isinstance(value, dict) and "value" in value and definition.datatype != "json"
    content = value["value"] if wrapped else value
    if not isinstance(content, _KINDS[definition.datatype]) or (
        isinstance(content, bool) and definition.datatype in ("number", "integer")
    ):
        report.add(file, line, f"{name} is {content!r}", f"write a {definition.datatype}")
        return
    code = value.get("unitCode") if wrapped else None
    factor, offset = 1.0, 0.0
    if code is not None:
        try:
            factor, offset = factor_offset(code, definition.unit or code)
        except InvalidData as error:
            report.add(file, line, f"{name}: {error}", f"use a unit like {definition.unit}")
            return
    if isinstance(content, NUMBERS) and not isinstance(content, bool):
        number = content * factor + offset
        low, high = definition.low, definition.high
        if (low is not None and number < low) or (high is not None and number > high):
            report.add(
                file,
                line,
                f"{name} is {content}, outside {definition.low} to {definition.high}",
                "mend the value or the range in types.toml",
            )
