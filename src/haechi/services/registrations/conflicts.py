"""Which registrations exclude each other and what is held here (clauses 4.3.6.3, 5.9.2.4). Pure; used by the face."""

from collections.abc import Iterable, Mapping
from typing import Any

from haechi.services.registrations.matching import Wanted, concerns, covers, parts
from haechi.services.registrations.model import PROXIED, Registration


def overlapping(new: Registration, others: Iterable[Registration]) -> Registration | None:
    """The first other registration that claims for itself what the new one would proxy, or the other way round: what is
    exclusive has one source; redirects may overlap each other."""
    if new.mode not in PROXIED:
        return None
    for other in others:
        if other.id != new.id and other.mode in PROXIED and "exclusive" in (new.mode, other.mode) and _meet(new, other):
            return other
    return None


def _meet(one: Registration, other: Registration) -> bool:
    exclusive, second = (one, other) if one.mode == "exclusive" else (other, one)
    return any(
        parts(second, Wanted((id,), entity.types, None, each.attributes))
        for each in exclusive.information
        for entity in each.entities
        for id in entity.ids
    )


def holds(registration: Registration, entity: Mapping[str, Any]) -> bool:
    """Whether an entity stored here has what a proxied registration says is elsewhere."""
    if registration.mode == "redirect" and not entity["attrs"]:
        return concerns(registration, entity["id"], entity["type"])
    return any(covers(registration, entity["id"], entity["type"], name) for name in entity["attrs"])
