"""Makes one entity of what several sources have of it (clause 4.5.5). Pure; used by the face."""

from collections.abc import Iterable, Mapping

from haechi.core.entity import Entity, Instance

_RANKS: Mapping[str, int] = {"exclusive": 3, "redirect": 3, "local": 2, "inclusive": 2, "auxiliary": 1}
_MERGED = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "attrs"})
Key = tuple[str, str | None]


def merged(found: Iterable[tuple[str, Entity]]) -> Entity:
    """One entity of several with the same id, each with the mode it came in by (`local` for this broker's own).

    Of instances with the same datasetId the one of a proxied source counts, else the most recent by observedAt, else by
    modifiedAt, of equals the first; an auxiliary source only adds what nobody else has.
    """
    every = list(found)
    assert every, "nothing to merge"
    if len(every) == 1:
        return every[0][1]
    first = every[0][1]
    entity: Entity = {"id": first["id"], "type": list(dict.fromkeys(name for _, one in every for name in one["type"]))}
    scopes = list(dict.fromkeys(one for _, each in every for one in each.get("scope") or ()))
    if scopes:
        entity["scope"] = scopes
    for name, choose in (("createdAt", min), ("modifiedAt", max)):
        instants = [one[name] for _, one in every if name in one]
        if instants:
            entity[name] = choose(instants)
    for name in dict.fromkeys(name for _, one in every for name in one if name not in _MERGED):
        entity[name] = next(one[name] for _, one in every if name in one)
    entity["attrs"] = _attributes(every)
    return entity


def _attributes(every: list[tuple[str, Entity]]) -> dict[str, list[Instance]]:
    chosen: dict[Key, tuple[int, Instance]] = {}
    for mode, one in every:
        rank = _RANKS[mode]
        for name, instances in one["attrs"].items():
            for instance in instances:
                key = (name, instance.get("datasetId"))
                known = chosen.get(key)
                if known is None or rank > known[0] or (rank == known[0] > 1 and _newer(instance, known[1])):
                    chosen[key] = (rank, instance)
    found: dict[str, list[Instance]] = {}
    for (name, _), (_, instance) in chosen.items():
        found.setdefault(name, []).append(instance)
    return found


def _newer(one: Instance, other: Instance) -> bool:
    if "observedAt" in one and "observedAt" in other:
        return bool(one["observedAt"] > other["observedAt"])
    return bool(one.get("modifiedAt", 0) > other.get("modifiedAt", 0))
