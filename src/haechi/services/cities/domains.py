"""Reads the folder of a domain: manifest, types. Used by `city.py`; what it defines, city files are checked against."""

from collections.abc import Mapping
from pathlib import Path

from haechi.core.units import UNITS
from haechi.services.cities.model import AttributeDef, Domain, TypeDef
from haechi.services.cities.problems import Report
from haechi.services.cities.toml import Table, read_toml

DATATYPES = ("number", "integer", "boolean", "text", "json", "relationship")
COMMON = ("id", "type", "scope", "name", "location", "description")  # every entity may carry these


def read_domain(name: str, folder: Path, report: Report) -> Domain | None:
    """The domain, as far as it can be read; None when it has no manifest."""
    manifest = read_toml(folder / "manifest.toml", report)
    if manifest is None:
        return None
    if manifest.text("id", pattern="[a-z][a-z0-9_]*", expected='"a_word"') not in (name, None):
        manifest.wrong("id", f"the id differs from the folder's name {name!r}", f'write id = "{name}"')
    names, icon = manifest.names("name"), manifest.text("icon", "circle")
    colour = manifest.value("colour", int, ..., "0 to 7")
    if colour is not None and not 0 <= colour <= 7:
        manifest.wrong("colour", f"colour is {colour}", "write 0 to 7, an index into the console's palette")
    manifest.done()
    types: Mapping[str, TypeDef] = {}
    if (table := read_toml(folder / "types.toml", report)) is not None:
        types = {key: _type(key, name, member) for key, member in table.members()}
    return Domain(name, names, icon or "circle", colour or 0, folder, types)


def _type(name: str, domain: str, table: Table) -> TypeDef:
    if not name[:1].isupper():
        table.wrong("", f"type {name!r} starts with a small letter", "name types as NGSI-LD does: WaterPressureSensor")
    names, icon = table.names("name"), table.text("icon", "circle")
    model = table.text("model", pattern=r"own|https://\S+", expected='an address or "own"')
    attributes = {key: _attribute(key, member) for key, member in table.table("attributes", {}).members()}
    table.done()
    return TypeDef(name, domain, names, model or "own", icon or "circle", attributes)


def _attribute(name: str, table: Table) -> AttributeDef:
    if name in COMMON:
        table.wrong("", f"attribute {name!r} is common to all types", "remove it here")
    names = table.names("name")
    datatype = table.choice("datatype", DATATYPES, "number")
    unit = table.choice("unit", UNITS, None) if datatype in ("number", "integer") else None
    bounds = table.numbers("range", 2, None)
    if bounds and bounds[0] >= bounds[1]:
        table.wrong("range", f"range is {list(bounds)}", "write [lowest, highest]")
    period_s, stuck_s = table.number("period_s", None), table.number("stuck_s", None)
    for key, value in (("period_s", period_s), ("stuck_s", stuck_s)):
        if value is not None and value <= 0:
            table.wrong(key, f"{key} is {value}", "write seconds above 0")
    table.done()
    low, high = bounds or (None, None)
    return AttributeDef(name, names, datatype or "number", unit, low, high, period_s, stuck_s)
