"""Reads and checks a whole city package: `load_city` for `app.py` before any port opens, `check` for `haechi check`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from haechi.core.errors import InvalidSettings
from haechi.services.cities.conduct import Around, check_conduct
from haechi.services.cities.contexts import read_contexts
from haechi.services.cities.domains import read_domain
from haechi.services.cities.facilities import read_facilities
from haechi.services.cities.links import Ways, read_devices, read_links
from haechi.services.cities.model import City, Domain, MapLayer, TypeDef
from haechi.services.cities.problems import Problem, Report
from haechi.services.cities.toml import LANGUAGES, Table, read_toml

LEVELS: Mapping[str, Mapping[str, str]] = {
    "attention": {"ko": "관심", "zh": "蓝色", "en": "Attention"},
    "caution": {"ko": "주의", "zh": "黄色", "en": "Caution"},
    "alert": {"ko": "경계", "zh": "橙色", "en": "Alert"},
    "serious": {"ko": "심각", "zh": "红色", "en": "Serious"},
}
ROLES = ("land", "water", "road", "building", "rail", "boundary", "label", "pipe", "green")


def check(path: Path, around: Around) -> list[Problem]:
    """Every mistake of the package, in order of file and line; empty when it is right."""
    return _read(path, around)[1]


def load_city(path: Path, around: Around) -> City:
    """The city; `InvalidSettings` lists every mistake when there is one, so that a broken city never runs."""
    city, problems = _read(path, around)
    if city is None or problems:
        listed = "\n".join(f"  {one}" for one in problems)
        raise InvalidSettings(
            f"the city package {path} has {len(problems)} mistake(s):\n{listed}\nMend them; `haechi check` tells more."
        )
    return city


def _read(path: Path, around: Around) -> tuple[City | None, list[Problem]]:
    report = Report(path)
    if not path.is_dir():
        report.add(path, 0, "no such folder", "give the folder of a city package, e.g. cities/gimpo")
        return None, report.problems
    table = read_toml(path / "city.toml", report)
    city = None if table is None else _city(path, table, around, report)
    return city, sorted(set(report.problems))


def _city(path: Path, table: Table, around: Around, report: Report) -> City:
    header = _header(table)
    domains = _domains(table, around.domains, report)
    layers = _layers(path, table)
    contexts = read_contexts(path, table)
    table.done()
    types: dict[str, TypeDef] = {}
    for domain in domains.values():
        for name, one in domain.types.items():
            if name in types:
                report.add(
                    domain.folder / "types.toml",
                    0,
                    f"type {name} is also defined by {types[name].domain}",
                    "rename one",
                )
            types[name] = one
    ways = Ways(around.adapters, around.codecs, around.settings_fault, around.carriers)
    links = read_links(path / "links", types, ways, report)
    found = read_facilities(path / "facilities", types, header["frame"], report)
    ways_in = read_devices(path / "devices.csv", links, found.types, report)
    check_conduct(path, domains, types, around, report)
    return City(
        **{
            **header,
            "frame": header["frame"] or (-180.0, -90.0, 180.0, 90.0),
            "centre": header["centre"] or (0.0, 0.0),
        },
        folder=path,
        domains=domains,
        map=layers,
        contexts=contexts,
        links=links,
        facilities=found.lines,
        facility_types=found.types,
        texts=_texts(path, domains, report),
        types=types,
        _entities=ways_in,
    )


def _header(table: Table) -> dict[str, Any]:
    languages = table.words("languages")
    for one in languages:
        if one not in LANGUAGES:
            table.wrong("languages", f"language {one!r} has no texts", f"use {', '.join(LANGUAGES)}")
    if table.values.get("languages") == []:
        table.wrong("languages", "languages is empty", "name at least one; the first is the default")
    frame = table.table("frame")
    sides = [frame.number(side) for side in ("west", "south", "east", "north")]
    if frame.value("srid", int, 4326, "4326") != 4326:
        frame.wrong("srid", "the frame is in another reference system", "convert it to WGS-84 and write srid = 4326")
    frame.done()
    complete = all(side is not None for side in sides)
    if complete and not (-180 <= sides[0] < sides[2] <= 180 and -90 <= sides[1] < sides[3] <= 90):
        table.wrong("frame", "the frame is empty or not in degrees", "west < east, south < north, WGS-84 degrees")
    centre = table.numbers("centre", 2)
    if complete and centre and not (sides[0] <= centre[0] <= sides[2] and sides[1] <= centre[1] <= sides[3]):
        table.wrong("centre", f"{list(centre)} lies outside the frame", "write [longitude, latitude] inside it")
    zone = table.text("time_zone", expected='an IANA name, e.g. "Asia/Seoul"')
    if zone is not None and not _zone_exists(zone):
        table.wrong("time_zone", f"{zone!r} is no time zone", 'write an IANA name, e.g. "Asia/Seoul"')
    return {
        "id": table.text("id", pattern="[a-z][a-z0-9_-]*", expected='small letters, e.g. "gimpo"') or "",
        "name": table.names("name"),
        "country": table.text("country", pattern="[A-Z]{2}", expected='two capital letters (ISO 3166), e.g. "KR"')
        or "",
        "time_zone": zone or "UTC",
        "languages": languages,
        "simulated": bool(table.flag("simulated")),
        "frame": tuple(float(side) for side in sides) if complete else None,
        "centre": centre,
        "zoom": float(table.number("zoom", 12.0) or 12.0),
        "levels": _levels(table.table("levels", {})),
    }


def _levels(table: Table) -> dict[str, Mapping[str, str]]:
    """The names of the four levels: Korea's crisis levels, China's warning colours, unless the city has its own."""
    found: dict[str, Mapping[str, str]] = {name: table.names(name, texts) for name, texts in LEVELS.items()}
    table.done()
    return found


def _zone_exists(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return False


def _domains(table: Table, folders: Mapping[str, Path], report: Report) -> dict[str, Domain]:
    domains: dict[str, Domain] = {}
    for name in table.words("domains"):
        if name not in folders:
            table.wrong("domains", f"no domain {name!r}", f"use {', '.join(sorted(folders))}")
        elif (domain := read_domain(name, folders[name], report)) is not None:
            domains[name] = domain
    return domains


def _layers(path: Path, table: Table) -> tuple[MapLayer, ...]:
    layers: list[MapLayer] = []
    for one in table.tables("map"):
        name = one.text("id", pattern="[a-z][a-z0-9_-]*", expected='small letters, e.g. "roads"') or ""
        file, role = one.text("file") or "", one.choice("role", ROLES) or ""
        layer = MapLayer(name, path / file, role, bool(one.flag("synthetic")), one.text("attribution", "") or "")
        one.done()
        if any(other.id == name for other in layers):
            one.wrong("id", f"layer {name!r} stands twice", "give it another id")
        _layer_file(one, path, layer)
        layers.append(layer)
    return tuple(layers)


def _layer_file(table: Table, path: Path, layer: MapLayer) -> None:
    if not layer.file.resolve().is_relative_to(path.resolve()):
        table.wrong("file", f"{layer.file} lies outside the package", "move it into the city's map folder")
    elif not layer.file.is_file():
        table.wrong("file", f"there is no file {layer.file.name!r} there", "add it or remove the layer")
    else:
        try:
            body = orjson.loads(layer.file.read_bytes())
        except orjson.JSONDecodeError as error:
            table.report.add(layer.file, 1, f"no JSON: {error}", "write a GeoJSON FeatureCollection")
            return
        if not isinstance(body, dict) or body.get("type") != "FeatureCollection":
            table.report.add(layer.file, 1, "no GeoJSON FeatureCollection", "write one")


def _texts(path: Path, domains: Mapping[str, Domain], report: Report) -> dict[str, dict[str, Any]]:
    texts: dict[str, dict[str, Any]] = {one: {} for one in LANGUAGES}
    for folder in [*(domain.folder for domain in domains.values()), path]:
        for file in sorted((folder / "locales").glob("*.toml")):
            if file.stem not in LANGUAGES:
                report.add(
                    file,
                    0,
                    f"{file.stem!r} is no language of Haechi",
                    f"name it {' or '.join(one + '.toml' for one in LANGUAGES)}",
                )
            elif (table := read_toml(file, report)) is not None:
                _merge(texts[file.stem], table.values)
    return texts


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
