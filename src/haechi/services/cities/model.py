"""The city as the platform knows it once its package was found right. Used by `app.py` and everything it joins."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Names = Mapping[str, str]  # language -> text, always ko, zh and en
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class AttributeDef:
    """One attribute of a type. `unit` is what the platform stores; `low` and `high` (in it) bound what is plausible."""

    id: str
    name: Names
    datatype: str  # number, integer, boolean, text, json, relationship
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    period_s: float | None = None  # expected between two observations; None: it is not observed
    stuck_s: float | None = None  # unchanged for longer than this is not believable; None: it may stand still


@dataclass(frozen=True, slots=True)
class TypeDef:
    """One type of entity, in one domain."""

    id: str
    domain: str
    name: Names
    model: str  # address of the Smart Data Model, or "own"
    icon: str
    attributes: Mapping[str, AttributeDef]


@dataclass(frozen=True, slots=True)
class Domain:
    """One trade of the city: its types, and the folder with its rules and playbooks."""

    id: str
    name: Names
    icon: str
    colour: int  # 0-7, an index into the console's palette
    folder: Path
    types: Mapping[str, TypeDef]


@dataclass(frozen=True, slots=True)
class MapLayer:
    """One layer of the base map."""

    id: str
    file: Path
    role: str
    synthetic: bool
    attribution: str


@dataclass(frozen=True, slots=True)
class FieldMap:
    """What a field of a payload means. An empty `types` means every type that has the attribute.

    A writable one takes setpoints: verified when a value within `tolerance` (in the attribute's unit; None: equal)
    comes back before `timeout_s`; if not, and `undo` says so, the value before is written back.
    """

    field: str
    attribute: str
    unit: str | None
    types: frozenset[str]
    writable: bool = False
    tolerance: float | None = None
    timeout_s: float = TIMEOUT_S
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """One way in: which adapter listens where, what decodes its payloads and how fields map."""

    id: str
    adapter: str
    codec: str
    unmapped: str  # "quarantine" or "ignore"
    settings: Mapping[str, Any]
    codec_settings: Mapping[str, Any]
    maps: tuple[FieldMap, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """One row of devices.csv: samples of `device` on `channel` (empty: any) over `link` belong to `entity`."""

    device: str
    channel: str
    link: str
    entity: str


@dataclass(frozen=True, slots=True)
class City:
    """A city package without mistakes. `facilities` are entities in NGSI-LD concise form, in file order, each parsed
    when it is asked for; `facility_types`: URN -> type, in the same order."""

    id: str
    name: Names
    country: str
    time_zone: str
    languages: tuple[str, ...]
    simulated: bool
    frame: tuple[float, float, float, float]  # west, south, east, north; WGS-84 degrees
    centre: tuple[float, float]
    zoom: float
    levels: Mapping[str, Names]  # attention, caution, alert, serious: what this city calls them
    folder: Path
    domains: Mapping[str, Domain]
    map: tuple[MapLayer, ...]
    links: Mapping[str, Link]
    facilities: Sequence[Mapping[str, Any]]
    facility_types: Mapping[str, str]
    contexts: Mapping[str, Any]  # URL -> JSON-LD document: the @contexts that need no download
    texts: Mapping[str, Mapping[str, Any]]  # language -> what locales/<lang>.toml of domains and city say, merged
    types: Mapping[str, TypeDef]
    _entities: Mapping[tuple[str, str, str], str] = field(repr=False)  # link, device, channel

    @property
    def devices(self) -> Iterator[Device]:
        """The rows of devices.csv, in their order."""
        for (link, device, channel), entity in self._entities.items():
            yield Device(device, channel, link, entity)

    def entity_of(self, link: str, device: str, channel: str) -> str | None:
        """The entity a sample belongs to: its exact channel first, then the row of its device without a channel."""
        found = self._entities.get((link, device, channel))
        return found if found is not None or not channel else self._entities.get((link, device, ""))

    def entities_of(self, link: str) -> "EntitiesOf":
        """The entities of one link by device and channel."""
        return EntitiesOf(link, self._entities)

    def attribute(self, type_id: str, attribute: str) -> AttributeDef | None:
        """Unit, range, datatype and period of an attribute of a type; None when the city's domains do not define it."""
        found = self.types.get(type_id)
        return None if found is None else found.attributes.get(attribute)

    def field_maps(self, link: str, type_id: str) -> Mapping[str, FieldMap]:
        """For entities of this type on this link: field of the payload -> what it means. The first that fits wins."""
        attributes = self.types[type_id].attributes if type_id in self.types else {}
        maps: dict[str, FieldMap] = {}
        for one in self.links[link].maps:
            if one.attribute in attributes and (not one.types or type_id in one.types):
                maps.setdefault(one.field, one)
        return maps


class EntitiesOf(Mapping[tuple[str, str], str]):
    """What one link sees of devices.csv: (device, channel) -> entity. Keeps nothing of its own."""

    def __init__(self, link: str, entities: Mapping[tuple[str, str, str], str]) -> None:
        self._link, self._entities = link, entities

    def __getitem__(self, key: tuple[str, str]) -> str:
        return self._entities[self._link, *key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((device, channel) for link, device, channel in self._entities if link == self._link)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def type_of(entity: str) -> str:
    """The type in a URN (`urn:ngsi-ld:Pipe:gimpo:17` -> `Pipe`); empty when it has no such form."""
    parts = entity.split(":", 3)
    return parts[2] if len(parts) == 4 and parts[:2] == ["urn", "ngsi-ld"] else ""
