"""Reads links/<link>.toml and devices.csv: the ways in, and whose samples come in on them. Used by `city.py`."""

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haechi.core.errors import InvalidData
from haechi.core.units import factor_offset
from haechi.services.cities.model import TIMEOUT_S, FieldMap, Link, TypeDef
from haechi.services.cities.problems import Report
from haechi.services.cities.toml import Table, read_toml

HEADER = ["device", "channel", "link", "entity"]
ANYTHING_GOES = frozenset({"json", "text", "boolean"})


@dataclass(frozen=True, slots=True)
class Ways:
    """What links may name: adapters and codecs (None: nobody can say), and who knows what is wrong with settings."""

    adapters: Collection[str] | None = None
    codecs: Collection[str] | None = None
    settings_fault: Callable[[str, str, Mapping[str, Any]], str] | None = None
    carriers: Mapping[str, str] | None = None  # adapters that carry commands, how


def read_links(folder: Path, types: Mapping[str, TypeDef], ways: Ways, report: Report) -> dict[str, Link]:
    """All links by id (the file's stem)."""
    links: dict[str, Link] = {}
    for file in sorted(folder.glob("*.toml")):
        if (table := read_toml(file, report)) is not None:
            links[file.stem] = _link(file.stem, table, types, ways)
    if not links:
        report.add(folder, 0, "the city has no link", "add links/<link>.toml: without one nothing can come in")
    return links


def _link(name: str, table: Table, types: Mapping[str, TypeDef], ways: Ways) -> Link:
    adapter, settings = _plug_in(table, ("adapter", "settings"), ways.adapters, ways)
    codec, codec_settings = _plug_in(table, ("codec", "codec_settings"), ways.codecs, ways)
    unmapped = table.choice("unmapped", ("quarantine", "ignore"), "quarantine")
    maps = tuple(_map(one, types) for one in table.tables("map"))
    if not maps:
        table.wrong("map", f"link {name!r} maps no field", "add a [[map]] with field and attribute")
    _twice(table, maps)
    if any(one.writable for one in maps):
        _carried(table, adapter, ways)
    table.done()
    return Link(name, adapter, codec, unmapped or "quarantine", settings, codec_settings, maps)


def _carried(table: Table, adapter: str, ways: Ways) -> None:
    """Whether setpoints can reach the link's devices at all."""
    if ways.carriers is None:
        return
    if adapter not in ways.carriers:
        table.wrong("map", f"adapter {adapter!r} carries no commands", f"remove writable or use {_some(ways.carriers)}")
    if ways.carriers.get(adapter) == "settings" and "commands" not in table.table("settings", {}).values:
        table.wrong("map", "its devices would not hear of setpoints", "add [settings.commands], see sample.toml")


def _plug_in(
    table: Table, keys: tuple[str, str], known: Collection[str] | None, ways: Ways
) -> tuple[str, Mapping[str, Any]]:
    """The plug-in a link names and its settings, which the plug-in itself reads."""
    kind, key = keys
    name = table.text(kind, expected=f"the name of a {kind}") if known is None else table.choice(kind, known)
    settings = table.table(key, {}).values
    if name and ways.settings_fault is not None and (known is None or name in known):
        fault = ways.settings_fault(kind, name, settings)
        if fault:
            named = re.search(r"`\$\.(\w+)", fault)
            setting = named[1] if named else fault.partition(":")[0].removeprefix(f"{key}.")
            what, _, mend = fault.partition("; ")
            table.wrong(f"{key}.{setting}", what, mend or f"see the {kind}'s sample.toml or documentation")
    return name or "", settings


def _map(table: Table, types: Mapping[str, TypeDef]) -> FieldMap:
    field, attribute = table.text("field"), table.text("attribute")
    unit, wanted = table.text("unit", None), table.words("types", [])
    setpoint = _setpoint(table)
    table.done()
    for one in wanted:
        if one not in types:
            table.wrong("types", f"no domain of the city has a type {one!r}", f"use one of {_some(types)}")
    targets = [types[one] for one in (wanted or types) if one in types and attribute in types[one].attributes]
    if attribute and not targets:
        of = " of " + ", ".join(wanted) if wanted else ""
        table.wrong(
            "attribute", f"no type{of} has an attribute {attribute!r}", "use an attribute that types.toml defines"
        )
    for target in targets if unit else ():
        _unit(table, unit, target, str(attribute))
    return FieldMap(field or "", attribute or "", unit, frozenset(wanted), *setpoint)


def _setpoint(table: Table) -> tuple[bool, float | None, float, bool]:
    """writable, tolerance, timeout_s, undo."""
    writable, tolerance = table.flag("writable"), table.number("tolerance", None)
    timeout_s, undo = table.number("timeout_s", TIMEOUT_S), table.flag("undo")
    if not writable:
        for key in ("tolerance", "timeout_s", "undo"):
            if key in table.values:
                table.wrong(key, f"{key} is for setpoints", "add writable = true or remove it")
    if tolerance is not None and tolerance < 0:
        table.wrong("tolerance", f"tolerance is {tolerance}", "write a number in the attribute's unit, 0 or more")
    if not 1 <= timeout_s <= 3600:
        table.wrong("timeout_s", f"timeout_s is {timeout_s}", "write 1 to 3600 seconds")
    return bool(writable), tolerance, float(timeout_s), bool(undo)


def _unit(table: Table, unit: str, target: TypeDef, attribute: str) -> None:
    known = target.attributes[attribute]
    if known.unit is None:
        if known.datatype not in ANYTHING_GOES:
            table.wrong("unit", f"{target.id}.{attribute} has no unit", "remove unit here or add one to types.toml")
        return
    try:
        factor_offset(unit, known.unit)
    except InvalidData as error:
        table.wrong(
            "unit", f"{target.id}.{attribute} is kept in {known.unit}: {error}", f"use a unit like {known.unit}"
        )


def _twice(table: Table, maps: tuple[FieldMap, ...]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(maps):
        for name in one.types or ("",):
            if (one.field, name) in seen:
                table.wrong(
                    f"map.{index}", f"field {one.field!r} is mapped twice", "keep one, or name other types in each"
                )
            seen.add((one.field, name))


def _some(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:12]) + (" …" if len(shown) > 12 else "")


_At = tuple[Path, int, Report]
Ids = dict[tuple[str, str, str], str]  # link, device, channel -> entity


def read_devices(file: Path, links: Mapping[str, Link], entities: Collection[str], report: Report) -> Ids:
    """The rows of devices.csv, in their order. `entities`: the URN of every facility."""
    devices: Ids = {}
    same = {one: one for one in (*entities, *links)}  # texts that are there already: a row keeps none of its own
    names: dict[str, str] = {}
    try:
        rows = csv.reader(file.read_text("utf-8").splitlines(), strict=True)
        if next(rows, None) != HEADER:
            report.add(file, 1, "the first line is not the header", f"write {','.join(HEADER)}")
            return {}
        for line, row in enumerate(rows, 2):
            if (cells := _cells(file, line, row, report)) is None:
                continue
            device, channel, link, entity = cells
            _known(link, entity, (links, entities), (file, line, report))
            key = same.get(link, link), names.setdefault(device, device), channel
            if key in devices:
                report.add(file, line, f"{device!r} channel {channel!r} stands twice on {link!r}", "remove one")
            devices[key] = same.get(entity, entity)
    except FileNotFoundError:
        report.add(file, 0, "the file is missing", f"create it with the first line {','.join(HEADER)}")
    except (UnicodeDecodeError, csv.Error) as error:
        report.add(file, 0, f"no CSV in UTF-8: {error}", "save it as comma-separated UTF-8 text")
    return devices


def _known(link: str, entity: str, known: tuple[Mapping[str, Link], Collection[str]], at: _At) -> None:
    links, entities = known
    file, line, report = at
    if link not in links:
        report.add(file, line, f"no link {link!r}", f"use one of {_some(links)}")
    if entity not in entities:
        report.add(file, line, f"no facility {entity!r}", "add it to facilities/*.ndjson or mend the URN")


def _cells(file: Path, line: int, row: list[str], report: Report) -> tuple[str, str, str, str] | None:
    if not any(row):
        return None
    if len(row) != len(HEADER):
        report.add(file, line, f"{len(row)} columns", f"write exactly {','.join(HEADER)}")
        return None
    device, channel, link, entity = (cell.strip() for cell in row)
    if not device or not link or not entity:
        report.add(file, line, "device, link or entity is empty", "fill it in (only channel may be empty)")
        return None
    return device, channel, link, entity
