"""Reads facilities/*.ndjson: the entities a city starts with, each checked against its type. Used by `city.py`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from haechi.core.errors import InvalidData
from haechi.core.units import factor_offset
from haechi.services.cities.domains import COMMON
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
Frame = tuple[float, float, float, float]
Where = tuple[Path, int]


def read_facilities(
    folder: Path, types: Mapping[str, TypeDef], frame: Frame | None, report: Report
) -> dict[str, tuple[Where, dict[str, Any]]]:
    """Every entity by URN with the line it stands on, in order of file name and line."""
    found: dict[str, tuple[Where, dict[str, Any]]] = {}
    files = sorted(folder.glob("*.ndjson"))
    if not files:
        report.add(folder, 0, "the city has no facilities", "add facilities/<domain>.ndjson with one entity a line")
    for file in files:
        for line, entity in _lines(file, report):
            urn = entity.get("id")
            if isinstance(urn, str) and urn in found:
                other, number = found[urn][0]
                report.add(
                    file,
                    line,
                    f"{urn} stands twice, first at {other.name}:{number}",
                    "remove one or give it another id",
                )
                continue
            _check(entity, types, frame, (file, line, report))
            if isinstance(urn, str):
                found[urn] = ((file, line), entity)
    _targets(found, types, report)
    return found


def _lines(file: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entity = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            report.add(file, number, f"no JSON: {error}", "write one entity as one JSON object on one line")
            continue
        if isinstance(entity, dict):
            yield number, entity
        else:
            report.add(file, number, "the line is no JSON object", "write one entity a line")


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
    names = entity.get("name", {}).get("languageMap") if isinstance(entity.get("name"), dict) else None
    if not isinstance(names, dict) or not all(isinstance(names.get(one), str) and names[one] for one in LANGUAGES):
        report.add(
            file,
            line,
            "name has no text in ko, zh and en",
            'write "name": {"languageMap": {"ko": …, "zh": …, "en": …}}',
        )
    scope = entity.get("scope", "/")
    if not all(isinstance(one, str) and one.startswith("/") for one in (scope if isinstance(scope, list) else [scope])):
        report.add(file, line, f"scope is {scope!r}", 'write a path like "/gimpo/janggi"')
    problem = _geometry(entity.get("location"), frame)
    if problem:
        report.add(file, line, problem, "write a GeoJSON geometry with longitude before latitude, WGS-84 degrees")


def _geometry(location: Any, frame: Frame | None) -> str:
    if not isinstance(location, dict) or location.get("type") not in _DEPTH:
        return "location is no GeoJSON geometry"
    positions = list(_positions(location.get("coordinates"), _DEPTH[location["type"]]))
    if not positions or None in positions:
        return f"the coordinates are those of no {location['type']}"
    west, south, east, north = frame or (-180.0, -90.0, 180.0, 90.0)
    outside = [one for one in positions if one and not (west <= one[0] <= east and south <= one[1] <= north)]
    return f"{list(outside[0])} lies outside the city's frame" if outside and outside[0] else ""


def _positions(coordinates: Any, depth: int) -> Iterator[tuple[float, float] | None]:
    if not isinstance(coordinates, list):
        yield None
    elif depth:
        for one in coordinates:
            yield from _positions(one, depth - 1)
    elif 2 <= len(coordinates) <= 3 and all(isinstance(one, int | float) for one in coordinates):
        yield float(coordinates[0]), float(coordinates[1])
    else:
        yield None


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
    if isinstance(content, int | float) and not isinstance(content, bool):
        number = content * factor + offset
        if (
            not (definition.low if definition.low is not None else number)
            <= number
            <= (definition.high if definition.high is not None else number)
        ):
            report.add(
                file,
                line,
                f"{name} is {content}, outside {definition.low} to {definition.high}",
                "mend the value or the range in types.toml",
            )


def _targets(found: Mapping[str, tuple[Where, dict[str, Any]]], types: Mapping[str, TypeDef], report: Report) -> None:
    for (file, line), entity in found.values():
        known = types.get(str(entity.get("type")))
        for name, definition in known.attributes.items() if known else ():
            value = entity.get(name)
            if definition.datatype != "relationship" or not isinstance(value, dict):
                continue
            targets = value.get("object", [])
            for target in targets if isinstance(targets, list) else [targets]:
                if target not in found:
                    report.add(
                        file,
                        line,
                        f"{name} points to {target!r}, which is no facility",
                        "mend the URN or add that facility",
                    )
