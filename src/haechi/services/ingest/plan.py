"""What ingest knows of one link: whose samples come in, what they mean and what is plausible. Made from the city by
`app.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from haechi.ports import Codec


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a type of entity says of one attribute; `low` and `high` in `unit`, inclusive."""

    unit: str | None = None
    datatype: str = "number"  # number | integer | boolean | text | json
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One `[[map]]` of a link: the device's `field` is `attribute`, sent in `unit`; `types` empty means any."""

    field: str
    attribute: str
    unit: str | None = None
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One link. `entities` maps (device, channel) to an entity; channel "" stands for any channel of the device."""

    link: str
    codec: Codec
    fields: tuple[FieldRule, ...]
    entities: Mapping[tuple[str, str], str]
    types: Mapping[str, str]  # entity -> type
    attributes: Mapping[tuple[str, str], Attribute]  # (type, attribute)
    ignore_unmapped: bool = False
    city: str = "city"
    skew_s: float = 10.0  # a device clock this far ahead of ours is still believed
    extra: Mapping[str, str] = field(default_factory=dict)
