"""Loads the city of a run with everything its package is checked against, and makes of it what services want."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haechi import registry
from haechi.core.errors import InvalidSettings
from haechi.services.cities.model import City, Link
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan


def plans(city: City) -> dict[str, Mapper]:
    """A mapper for each link of the city."""
    attributes = {
        (kind.id, one.id): Attribute(one.unit, _datatype(one.datatype), one.low, one.high)
        for kind in city.types.values()
        for one in kind.attributes.values()
    }
    return {link.id: Mapper(_plan(city, link, attributes)) for link in city.links.values()}


def _plan(city: City, link: Link, attributes: Mapping[tuple[str, str], Attribute]) -> LinkPlan:
    codec = registry.create("codec", link.codec)(link.codec_settings)
    fields = tuple(FieldRule(one.field, one.attribute, one.unit, one.types) for one in link.maps)
    entities, types = city.entities_of(link.id), city.facility_types
    return LinkPlan(link.id, codec, fields, entities, types, attributes, link.unmapped == "ignore", city.id)


def _datatype(name: str) -> str:
    return "json" if name == "relationship" else name


def domain_folders() -> dict[str, Path]:
    """Where each domain's data lies."""
    return {name: registry.folder("domain", name) for name in registry.names("domain")}


def carries_commands(adapter: str) -> str:
    """How an adapter takes commands to devices (docs/reference/commands.md): "adapter", "settings" (where its link has
    `[settings.commands]`), or "" for not at all."""
    return str(registry.manifest("adapter", adapter).get("commands", ""))


def listens(adapter: str) -> bool:
    """Whether an adapter opens the port of its link; a poller connects to devices that have it."""
    return str(registry.manifest("adapter", adapter).get("role", "listener")) == "listener"


def link_settings(link: Link, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The adapter's settings of a link, with what the command line changed."""
    return {**link.settings, **overrides.get(link.id, {})}


def hastened(adapter: str, settings: Mapping[str, Any], speed: float) -> dict[str, Any]:
    """Those of a poller in a drill: it asks as much more often as time runs faster, so that it sees the same course."""
    if listens(adapter) or speed == 1.0:
        return dict(settings)

    def faster(given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, "period_s": given["period_s"] / speed} if "period_s" in given else dict(given)

    found = faster(settings)
    if isinstance(devices := settings.get("device"), list | tuple):
        found["device"] = [faster(one) for one in devices]
    return found


def check_overrides(city: City, overrides: Mapping[str, Mapping[str, Any]]) -> None:
    """`InvalidSettings` when `--set` names a link the city does not have."""
    for link in overrides:
        if link not in city.links:
            raise InvalidSettings(f"--set names link {link!r}; the city has {', '.join(sorted(city.links))}")
