"""Linked entity retrieval (clause 4.5.23): the entities that relationships lead to, inline or beside. Used by entity
consumption."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.entity import KINDS, Entity
from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld.representation import Linked, View, shown

DEEPEST = 10
MOST = 10_000  # linked entities one answer may hold
_LINKS = frozenset({"Relationship", "ListRelationship"})
Load = Callable[[Sequence[str]], Awaitable[Mapping[str, Entity]]]


@dataclass(frozen=True, slots=True)
class Join:
    """`form` is inline, flat or empty; `level` how many links are followed; `contained`: ids that are not fetched,
    because the client has them."""

    form: str = ""
    level: int = 1
    contained: frozenset[str] = frozenset()


async def fetch(entities: Sequence[Entity], view: View, join: Join, load: Load) -> dict[str, Entity]:
    """Every entity that the view of the answer can lead to, by id; one look-up per level."""
    found: dict[str, Entity] = {one["id"]: one for one in entities}
    frontier = [(one, view) for one in entities]
    for _ in range(join.level if join.form else 0):
        links = [(id, inner) for one, outer in frontier for id, inner in _links(one, outer)]
        wanted = list(dict.fromkeys(id for id, _ in links if id not in found and id not in join.contained))
        if len(found) + len(wanted) > MOST:
            raise InvalidData(f"the answer would hold more than {MOST} linked entities; ask for less", "too_complex")
        found.update(await load(wanted) if wanted else {})
        frontier = [(found[id], inner) for id, inner in links if id in found and id not in join.contained]
    return found


def _links(entity: Entity, view: View) -> Iterator[tuple[str, View]]:
    for name, instances in entity["attrs"].items():
        if not view.shows(name):
            continue
        targets = [one.get(KINDS[one["type"]]) for one in view.of_datasets(instances) if one["type"] in _LINKS]
        inner = view.inside(name) if targets else view
        for target in targets:
            yield from ((str(id), inner) for id in (target if isinstance(target, list) else [target]))


def inline(entities: Sequence[Entity], view: View, join: Join, found: Mapping[str, Entity]) -> list[dict[str, Any]]:
    """The entities with those they lead to inside their relationships (clause 4.5.23.2)."""
    documents = []
    for entity in entities:
        linked = Linked(found, join.level, join.contained | {entity["id"]})
        documents.append(shown(entity, view.with_linked(linked)))
    return documents


def flat(
    entities: Sequence[Entity], view: View, join: Join, found: Mapping[str, Entity]
) -> list[tuple[Entity, dict[str, Any]]]:
    """The entities and after them, once each, those they lead to (clause 4.5.23.3), with their documents."""
    answer = {one["id"]: (one, shown(one, view)) for one in entities}
    frontier = [(one, view) for one in entities]
    for _ in range(join.level):
        following = [(id, inner) for one, outer in frontier for id, inner in _links(one, outer)]
        frontier = []
        for id, inner in following:
            if id in found and id not in answer and id not in join.contained:
                answer[id] = (found[id], shown(found[id], inner))
                frontier.append((found[id], inner))
    return list(answer.values())
