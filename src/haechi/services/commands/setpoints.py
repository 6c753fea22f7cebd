"""What of the city may be written, and in which words its devices want it. Made from the city; used by the desk."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from haechi.core.errors import InvalidData
from haechi.core.units import convert, symbol
from haechi.services.cities.model import AttributeDef, City, Device, FieldMap, type_of

Value = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Setpoint:
    """One attribute of one entity that a device takes. `unit`, `low`, `high`, `tolerance` are the attribute's."""

    entity: str
    attribute: str
    link: str
    device: str
    channel: str
    field: str
    datatype: str  # number, integer, boolean, text
    unit: str | None
    device_unit: str | None
    low: float | None
    high: float | None
    tolerance: float | None
    timeout_s: float
    undo: bool

    def check(self, value: Any) -> Value:
        """The value as it will be compared; `InvalidData` says what may be written."""
        if self.datatype == "boolean":
            return self._of(value, bool, "true or false")
        if self.datatype == "text":
            return self._of(value, str, "a text")
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (self.datatype == "integer" and value != math.floor(value)):
            raise InvalidData(f"{self.attribute} is {value!r}; write a {self._kind()}", "bad_value")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            span = f"from {low:g} to {high:g} {symbol(self.unit)}".rstrip()
            raise InvalidData(f"{self.attribute} = {value} is not plausible; write one {span}", "bad_value")
        return float(value)

    def _kind(self) -> str:
        return "whole number" if self.datatype == "integer" else "number"

    def _of(self, value: Any, kind: type[bool] | type[str], wanted: str) -> Value:
        if not isinstance(value, kind):
            raise InvalidData(f"{self.attribute} is {value!r}; write {wanted}", "bad_value")
        return value

    def for_device(self, value: Value) -> Value:
        """The value in the device's unit."""
        if self.datatype == "integer" and self.device_unit in (None, self.unit):
            return int(value)
        if isinstance(value, bool | str) or self.unit is None or self.device_unit is None:
            return value
        return convert(value, self.unit, self.device_unit)

    def restorable(self, value: Any) -> Value | None:
        """The value if it may be written back, else None."""
        try:
            return self.check(value)
        except InvalidData:
            return None


def is_met(wanted: Value, found: Any, tolerance: float | None) -> bool:
    """Whether an observed value is the wanted one; numbers within the tolerance (None: 1e-6 of the value)."""
    if isinstance(wanted, bool | str) or isinstance(found, bool) or not isinstance(found, int | float):
        return type(found) is type(wanted) and bool(found == wanted)
    allowed = 1e-6 * max(1.0, abs(wanted)) if tolerance is None else tolerance
    return abs(found - wanted) <= allowed + 1e-9 * abs(wanted)  # so that 0.1 off is within 0.1 for floats too


Setpoints = Mapping[tuple[str, str], Setpoint]


def setpoints(city: City) -> dict[tuple[str, str], Setpoint]:
    """By (entity, attribute). Where two devices could take one, the first row of devices.csv does."""
    found: dict[tuple[str, str], Setpoint] = {}
    taken: dict[tuple[str, str], list[tuple[FieldMap, AttributeDef]]] = {}  # by link and type
    if not any(one.writable for link in city.links.values() for one in link.maps):
        return found
    for device in city.devices:
        key = device.link, type_of(device.entity)
        if key not in taken:
            taken[key] = list(_taken(city, *key))
        for one, known in taken[key]:
            found.setdefault((device.entity, one.attribute), _setpoint(device, one, known))
    return found


def _taken(city: City, link: str, type_id: str) -> Iterator[tuple[FieldMap, AttributeDef]]:
    """What entities of a type can be told over a link."""
    for one in city.field_maps(link, type_id).values():
        known = city.attribute(type_id, one.attribute)
        if one.writable and known is not None and known.datatype in ("number", "integer", "boolean", "text"):
            yield one, known


def _setpoint(device: Device, one: FieldMap, known: AttributeDef) -> Setpoint:
    return Setpoint(
        entity=device.entity,
        attribute=one.attribute,
        link=device.link,
        device=device.device,
        channel=device.channel,
        field=one.field,
        datatype=known.datatype,
        unit=known.unit,
        device_unit=one.unit,
        low=known.low,
        high=known.high,
        tolerance=one.tolerance,
        timeout_s=one.timeout_s,
        undo=one.undo,
    )
