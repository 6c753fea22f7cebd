"""Which registrations an operation concerns, and how far (clause 5.12). Pure; used by the face and by registration
subscriptions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.pattern import matching as pattern_matching
from haechi.services.registrations.model import EntityInfo, Information, Registration


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operation is about, in internal names; empty members restrict nothing."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    pattern: str | None = None
    attributes: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Part:
    """What of an operation concerns one RegistrationInfo; empty members restrict nothing. `ids` and `pattern`: the
    operation's narrowed to what the source may have."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    pattern: str | None = None
    attributes: frozenset[str] = frozenset()


def parts(registration: Registration, wanted: Wanted) -> list[Part]:
    """One per RegistrationInfo that matches; empty when the registration does not."""
    if registration.datasets and wanted.datasets and registration.datasets.isdisjoint(wanted.datasets):
        return []
    found = []
    for one in registration.information:
        part = _part(one, wanted)
        if part is not None and part not in found:
            found.append(part)
    return found


def matching_information(registration: Registration, wanted: Sequence[Wanted]) -> list[int]:
    """Places of the RegistrationInfo elements that match any of these."""
    return [
        place
        for place, one in enumerate(registration.information)
        if any(_part(one, each) is not None for each in wanted)
    ]


def _part(information: Information, wanted: Wanted) -> Part | None:
    attributes = information.attributes or wanted.attributes
    if information.attributes and wanted.attributes:
        attributes = information.attributes & wanted.attributes
        if not attributes:
            return None
    if not information.entities:
        return Part(wanted.ids, wanted.types, wanted.pattern, attributes)
    fitting = [one for one in information.entities if _fits(one, wanted)]
    if not fitting:
        return None
    return Part(_ids(fitting, wanted), _types(fitting, wanted), _pattern(fitting, wanted), attributes)


def _fits(one: EntityInfo, wanted: Wanted) -> bool:
    if wanted.types and one.types and set(wanted.types).isdisjoint(one.types):
        return False
    if wanted.ids:
        return any(one.holds(id) for id in wanted.ids)
    if wanted.pattern is not None and one.ids:
        return any(pattern_matching(wanted.pattern, one.ids))
    return True  # two patterns are taken to have something in common


def _ids(fitting: Sequence[EntityInfo], wanted: Wanted) -> tuple[str, ...]:
    if wanted.ids:
        return tuple(id for id in wanted.ids if any(one.holds(id) for one in fitting))
    if not all(one.ids for one in fitting):
        return ()
    ids = tuple(dict.fromkeys(id for one in fitting for id in one.ids))
    if wanted.pattern is None:
        return ids
    return tuple(id for id, fits in zip(ids, pattern_matching(wanted.pattern, ids), strict=True) if fits)


def _types(fitting: Sequence[EntityInfo], wanted: Wanted) -> tuple[str, ...]:
    registered = dict.fromkeys(name for one in fitting for name in one.types)
    return tuple(name for name in wanted.types if name in registered) or tuple(registered)


def _pattern(fitting: Sequence[EntityInfo], wanted: Wanted) -> str | None:
    if wanted.pattern is not None or wanted.ids:
        return wanted.pattern
    patterns = {one.pattern for one in fitting}
    return patterns.pop() if len(patterns) == 1 else None


def covers(registration: Registration, id: str, types: Iterable[str] | None, attribute: str | None) -> bool:
    """Whether the source may have that attribute of that entity. `types` None: nobody knows them; `attribute` None: an
    entity without any."""
    wanted = Wanted((id,), tuple(types or ()), None, frozenset({attribute} if attribute else ()))
    return any(_part(one, wanted) is not None and (attribute or not one.attributes) for one in registration.information)


def concerns(registration: Registration, id: str, types: Iterable[str] | None) -> bool:
    """Whether the source may have anything of that entity."""
    wanted = Wanted((id,), tuple(types or ()))
    return any(_part(one, wanted) is not None for one in registration.information)


def kept(registration: Registration, entity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of an entity that a source answered with, what its registration says that it has; None: nothing. A pattern says
    whom to ask, not what may be answered: two patterns may have more in common than either shows (clause 5.12)."""
    fitting = [
        one
        for one in registration.information
        if not one.entities
        or any(
            (not info.ids or entity["id"] in info.ids)
            and (not info.types or not set(info.types).isdisjoint(entity["type"]))
            for info in one.entities
        )
    ]
    if not fitting:
        return None
    if any(not one.attributes for one in fitting):
        return dict(entity)
    allowed = frozenset(name for one in fitting for name in one.attributes)
    return {**entity, "attrs": {name: many for name, many in entity["attrs"].items() if name in allowed}}
